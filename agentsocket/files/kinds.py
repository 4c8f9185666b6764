"""What a file is called, and of which type it is said to be: somebody's words, made harmless."""

import re
from collections.abc import Collection
from typing import Final

NAMELESS: Final = "file"

NAME_SIZE, SUFFIX_SIZE = 255, 32
"""Bytes of a name, which a file system takes, and of what of its end is kept where it is cut."""

UNKNOWN_TYPE: Final = "application/octet-stream"

ALL: Final = "all"
"""Stands for every media type."""

PART: Final = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"
TYPE: Final = re.compile(f"{PART}/{PART}")
"""RFC 6838, section 4.2, in lower case."""

SHOWN: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Pictures that a browser may show in place: no scripts, no markup in them."""


def clean_name(name: str) -> str:
    """Return a name without folders, control characters and dots at its ends; ``file`` where nothing is left."""
    last = re.split(r"[/\\]", name)[-1]
    return _cut("".join(char for char in last if char.isprintable()).strip(" .")) or NAMELESS


def _cut(name: str) -> str:
    data = name.encode()
    if len(data) <= NAME_SIZE:
        return name
    dot, suffix = name.rpartition(".")[1:]
    end = (dot + suffix).encode()
    end = end if dot and len(end) <= SUFFIX_SIZE else b""
    return (data[: NAME_SIZE - len(end)].decode(errors="ignore") + end.decode()).strip(" .")


def suffix_of(name: str) -> str:
    """Return the end of a clean name, as it may stand in a path: ``.csv``, or nothing."""
    match = re.search(r"\.[A-Za-z0-9]{1,16}$", name)
    return match[0] if match else ""


def clean_type(media_type: str) -> str:
    """Return a media type in lower case, without parameters; that of unknown bytes where it is none."""
    bare = media_type.partition(";")[0].strip().lower()
    return bare if TYPE.fullmatch(bare) else UNKNOWN_TYPE


def is_shown(media_type: str) -> bool:
    """Whether a browser may show it in place; everything else it is to save."""
    return media_type in SHOWN or media_type.startswith(("audio/", "video/"))


def is_accepted(media_type: str, types: Collection[str]) -> bool:
    """Whether a clean media type is one of these, which may be such as ``image/*``."""
    return ALL in types or media_type in types or f"{media_type.partition('/')[0]}/*" in types
