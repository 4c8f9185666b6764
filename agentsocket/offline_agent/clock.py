"""The time, here and elsewhere."""

import re
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from agentsocket.offline_agent.tool import ToolError, quoted

_PLACES: Final = {
    place: zone
    for zone, places in {
        "UTC": "utc, gmt, zulu",
        "Africa/Cairo": "cairo, egypt",
        "Africa/Casablanca": "casablanca, morocco",
        "Africa/Johannesburg": "johannesburg, cape town, south africa",
        "Africa/Lagos": "lagos, nigeria",
        "Africa/Nairobi": "nairobi, kenya",
        "America/Anchorage": "anchorage, alaska",
        "America/Argentina/Buenos_Aires": "buenos aires, argentina",
        "America/Bogota": "bogota, bogotá, colombia",
        "America/Caracas": "caracas, venezuela",
        "America/Chicago": "chicago, houston, dallas, austin, new orleans, cst, central time",
        "America/Denver": "denver, salt lake city, mst, mountain time",
        "America/Halifax": "halifax",
        "America/Lima": "lima, peru",
        "America/Los_Angeles":
            "los angeles, san francisco, seattle, san diego, las vegas, california, l.a., pst, pdt, pacific time",
        "America/Mexico_City": "mexico city",
        "America/New_York":
            "new york, new york city, nyc, boston, washington, washington dc, miami, atlanta, philadelphia, est, edt, "
            "eastern time",
        "America/Phoenix": "phoenix",
        "America/Santiago": "santiago, chile",
        "America/Sao_Paulo": "sao paulo, são paulo, rio de janeiro, brasilia",
        "America/Toronto": "toronto, montreal, ottawa",
        "America/Vancouver": "vancouver",
        "Asia/Bangkok": "bangkok, thailand",
        "Asia/Dhaka": "dhaka, bangladesh",
        "Asia/Dubai": "dubai, abu dhabi",
        "Asia/Ho_Chi_Minh": "ho chi minh city, saigon, hanoi, vietnam",
        "Asia/Hong_Kong": "hong kong",
        "Asia/Jakarta": "jakarta",
        "Asia/Jerusalem": "jerusalem, tel aviv, israel",
        "Asia/Karachi": "karachi, lahore, pakistan",
        "Asia/Kathmandu": "kathmandu, nepal",
        "Asia/Kolkata": "kolkata, mumbai, delhi, new delhi, bangalore, bengaluru, chennai, hyderabad, india",
        "Asia/Kuala_Lumpur": "kuala lumpur, malaysia",
        "Asia/Manila": "manila, philippines",
        "Asia/Riyadh": "riyadh, saudi arabia",
        "Asia/Seoul": "seoul, south korea, korea",
        "Asia/Shanghai": "shanghai, beijing, shenzhen, china",
        "Asia/Singapore": "singapore",
        "Asia/Taipei": "taipei, taiwan",
        "Asia/Tehran": "tehran, iran",
        "Asia/Tokyo": "tokyo, osaka, kyoto, japan, jst",
        "Atlantic/Reykjavik": "reykjavik, iceland",
        "Australia/Brisbane": "brisbane",
        "Australia/Melbourne": "melbourne",
        "Australia/Perth": "perth",
        "Australia/Sydney": "sydney, canberra",
        "Europe/Amsterdam": "amsterdam, netherlands",
        "Europe/Athens": "athens, greece",
        "Europe/Belgrade": "belgrade, serbia",
        "Europe/Berlin": "berlin, munich, hamburg, frankfurt, cologne, germany",
        "Europe/Brussels": "brussels, belgium",
        "Europe/Bucharest": "bucharest, romania",
        "Europe/Budapest": "budapest, hungary",
        "Europe/Copenhagen": "copenhagen, denmark",
        "Europe/Dublin": "dublin, ireland",
        "Europe/Helsinki": "helsinki, finland",
        "Europe/Istanbul": "istanbul, ankara, turkey",
        "Europe/Kyiv": "kyiv, kiev, ukraine",
        "Europe/Lisbon": "lisbon, portugal",
        "Europe/London": "london, manchester, edinburgh, england, scotland, britain, united kingdom, uk",
        "Europe/Madrid": "madrid, barcelona, spain",
        "Europe/Moscow": "moscow, saint petersburg, st petersburg, st. petersburg",
        "Europe/Oslo": "oslo, norway",
        "Europe/Paris": "paris, lyon, marseille, france",
        "Europe/Prague": "prague",
        "Europe/Rome": "rome, milan, naples, italy",
        "Europe/Sofia": "sofia, bulgaria",
        "Europe/Stockholm": "stockholm, sweden",
        "Europe/Vienna": "vienna, austria",
        "Europe/Warsaw": "warsaw, poland",
        "Europe/Zurich": "zurich, zürich, geneva, basel, bern, switzerland",
        "Pacific/Auckland": "auckland, wellington, new zealand",
        "Pacific/Honolulu": "honolulu, hawaii",
    }.items()
    for place in places.split(", ")
}  # fmt: skip

PLACE: Final = (
    r"(?:the )?(?:" + "|".join(re.escape(name) for name in sorted(_PLACES, key=len, reverse=True)) + r")(?!\w)"
)
"""Any well-known place, as part of a pattern."""


def current_time(place: str = "") -> str:
    """Tell the time and date in a place, or where this program runs.

    Args:
        place: A well-known city or country, or any IANA time zone such as "Europe/Paris"; empty for the local time.
    """
    place = place.strip(" .")
    if place.lower() in {"", "here"}:
        now, where = datetime.now().astimezone(), "where I run"
    else:
        zone = _zone(place)
        now, where = datetime.now(zone), f"in {_spelled(place, zone)}"
    return f"It is {now:%H:%M} on {now:%A}, {now.day} {now:%B %Y}, {where} ({_zone_of(now)})."


def _zone(place: str) -> ZoneInfo:
    try:
        return ZoneInfo(_PLACES.get(place.lower().removeprefix("the ")) or _listed(place))
    except ZoneInfoNotFoundError:
        raise ToolError(
            "This machine has no time zone data, so I can tell only its own local time; "
            "the Python package tzdata would bring the others."
        ) from None


def _listed(place: str) -> str:
    # Only a name from the list is ever opened: a zone's name is a path below the zone data.
    wanted = place.lower().replace(" ", "_")
    zones = sorted(available_timezones())
    if not zones:
        raise ZoneInfoNotFoundError
    for zone in zones:
        if wanted in {zone.lower(), zone.lower().rpartition("/")[2]}:
            return zone
    raise ToolError(
        f"I know no city or time zone called {quoted(place)}; an IANA name such as Europe/Paris always works."
    )


def _spelled(place: str, zone: ZoneInfo) -> str:
    if "/" in place or place.lower() == zone.key.lower():
        return zone.key
    if not place.islower():
        return place
    return place.upper() if len(place) <= len("nyc") else place.title()


def _zone_of(now: datetime) -> str:
    offset = f"UTC{now:%z}"[:-2] + ":" + f"{now:%z}"[3:5]
    name = now.tzname() or ""
    if name == "UTC":
        return name
    return f"{name}, {offset}" if name[:1].isalpha() else offset
