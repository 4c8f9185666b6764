"""A client that asks for a flood, tells how to take its session up, and reads until it is stopped."""

import asyncio
import json
import sys

from tests.stress.link import link


async def main(port: int) -> None:
    """Read until somebody stops this process."""
    opened = await link(port)
    login = await opened.ask("login", "login_response", resumable=True)
    await opened.ask("agent_request", "agent_output", message="flood")
    print(json.dumps(login), flush=True)  # noqa: T201  # to the scenario
    await opened.lost


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
