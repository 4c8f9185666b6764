"""The scenarios by name, with the goals of their figures."""

from types import MappingProxyType
from typing import Final

from bench import scenarios
from bench.figures import Figure, Scenario, ratio, value
from bench.servers import BARE, SERVER

SCENARIOS: Final = MappingProxyType(
    {
        "burst": Scenario(
            "burst: one client, 50,000 outputs",
            scenarios.burst,
            {
                "rate": Figure("frames/s", 0, (ratio("≥", 4),)),
                "cpu": Figure("CPU, µs a frame", 2, (ratio("≤", 0.3),)),
                "resumable rate": Figure("resumable: frames/s", 0, (ratio("≥", 2.5),), against="rate"),
                "resumable cpu": Figure("resumable: CPU, µs a frame", 2, against="cpu"),
            },
            rounds=7,
        ),
        "pacing": Scenario(
            "pacing: 500 sessions, 50 outputs/s each",
            scenarios.pacing,
            {
                "cpu": Figure("CPU, µs a frame", 1, (ratio("≤", 1),)),
                "p50": Figure("delay p50, ms", 3, (ratio("≤", 1.2),)),
                "p99": Figure("delay p99, ms", 2, (value("≤", 5),)),
            },
        ),
        "round-trip": Scenario(
            "round trip: one request after the other",
            scenarios.round_trip,
            {
                "rate": Figure("requests/s", 0, (ratio("≥", 0.85),)),
                "cpu": Figure("CPU, µs a request", 1),
            },
            rounds=7,
        ),
        "idle": Scenario(
            "idle: 2,000 sessions",
            scenarios.idle,
            {"memory": Figure("memory, kB a session", 1, (value("≤", 25),))},
            rounds=3,
        ),
        "cancel": Scenario(
            "cancel: 200 of 500 tasks",
            scenarios.cancel,
            {
                "p50": Figure("delay p50, ms", 3, (ratio("≤", 1.3),)),
                "p99": Figure("delay p99, ms", 2, (value("≤", 5),)),
            },
            rounds=3,
        ),
        "start": Scenario(
            "start: a process, to its first client",
            scenarios.start,
            {
                "accept": Figure("to a connection, ms", 0),
                "login": Figure("to a login, ms", 0, (ratio("≤", 1.9), value("≤", 150))),
            },
            rounds=9,
        ),
        "connect": Scenario(
            "connect and login",
            scenarios.connect,
            {
                "alone": Figure("one after another, logins/s", 0, (ratio("≥", 0.9),)),
                "crowd": Figure("50 at once, logins/s", 0, (ratio("≥", 0.9),)),
                "cpu": Figure("50 at once, CPU, µs a login", 0),
                "p99": Figure("50 at once, p99, ms", 1),
            },
        ),
        "mixed": Scenario(
            "mixed: 20 clients beside one that bursts",
            scenarios.mixed,
            {
                "p50": Figure("round trip p50, ms", 2),
                "p99": Figure("round trip p99, ms", 2),
                "slowest": Figure("slowest round trip, ms", 1, (value("≤", 10),)),
            },
            rounds=3,
        ),
        "growth": Scenario(
            "growth: pacing with ever more sessions",
            scenarios.growth,
            {
                **{f"cpu {count}": Figure(f"CPU, µs a frame, {count:,}", 1) for count in (100, 500, 1000, 2000)},
                "growth": Figure("2,000 sessions to 100", 2, (value("≤", 1.2),)),
            },
            rounds=2,
            peers=(SERVER, BARE),
        ),
        "client": Scenario(
            "client: the burst, received",
            scenarios.client,
            {"rate": Figure("frames/s", 0, (ratio("≥", 0.5),))},
            peers=(SERVER, BARE),
        ),
    }
)
