"""The process: how it starts, how it is told to stop, and how it ends."""

import gc

gc.disable()  # nothing that is imported is garbage, and to look for some takes a tenth of the start

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from agentsocket.agent.loader import AgentNotLoadable, load
from agentsocket.agent.neighbours import make_way
from agentsocket.banner import banner
from agentsocket.containment import exits, forks
from agentsocket.containment.leaving import Departure
from agentsocket.containment.stopping import stop
from agentsocket.containment.threads import Threads
from agentsocket.conversations.contract import StoreError
from agentsocket.descriptors import fit_to_descriptors
from agentsocket.env_file import read_env_file
from agentsocket.server import AgentServer
from agentsocket.settings import Settings, SettingsError, load_settings, oddities, program
from agentsocket.signals import STOPS, note_signals, on_hangup
from agentsocket.telemetry import logs
from agentsocket.telemetry.watchdog import Watchdog

gc.freeze()
gc.enable()

logger = logging.getLogger("agentsocket")

RESISTANCE = 0.1
"""Seconds that what still runs on the loop has to end when all is over."""

GC_THRESHOLDS = (20_000, 5, 5)
"""For ``gc.set_threshold``: a session is some hundred objects, so the default of 700 looks after every few of them."""


def main() -> NoReturn:
    """Run the server until it is told to stop, then end the process.

    The exit code is 0 after SIGINT, SIGTERM and their like, 1 if the address cannot be listened on, 2 if a setting is
    wrong or the agent cannot be loaded.
    """
    note_signals()
    departure = Departure()
    departure.leave(_serve(departure))


def _serve(departure: Departure) -> int:
    make_way()
    try:
        settings = _read_settings()
        settings = fit_to_descriptors(settings)
        agents, hook = load(settings.agent, settings.auth)
        server = AgentServer(settings, agents, hook)
        logs.hold()
        loop = _uvloop() if settings.uvloop else asyncio.new_event_loop()
    except (SettingsError, AgentNotLoadable) as exc:
        logger.debug("cannot start", exc_info=exc)
        logs.flush()
        print(f"{program()}: {exc}", file=sys.stderr)
        return 2
    # Nothing of the server runs there: it is for what agents and libraries do, to_thread() and looking up names.
    loop.set_default_executor(Threads(settings.max_threads, "to-thread"))
    loop.set_exception_handler(logs.LoopErrors())
    told = asyncio.Event()
    _on_signal(settings, departure, loop, told.set)
    on_hangup(loop, server.reload_certificate)
    return exits.run(loop, _run(settings, server, told, departure))


async def _run(settings: Settings, server: AgentServer, told: asyncio.Event, departure: Departure) -> int:
    try:
        await server.start()
    except StoreError as exc:
        print(f"{program()}: --store {settings.store}: {exc}", file=sys.stderr)
        return 2
    except OSError as exc:
        where = f"{settings.host}:{settings.port}"
        print(f"{program()}: cannot listen on {where}: {exc.strerror or exc}", file=sys.stderr)
        return 1
    forks.keep_apart(asyncio.get_running_loop(), {server.port}, {*STOPS, signal.SIGHUP})
    _say(banner(settings, server.addresses))
    # What is there now stays: the collector need not look at it again each time that sessions come and go.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with Watchdog(settings.block_warning):
        await told.wait()
        await _shut_down(settings, server, departure)
    await _leave_behind(server)
    return 0


def _say(text: str) -> None:
    """Print, if anybody listens: whoever read it may have gone, and an agent may have closed it."""
    try:
        print(text, flush=True)
    except Exception as exc:  # noqa: BLE001  # an agent may have put anything in its place
        logger.warning("nothing can be printed: %s", exc)


async def _shut_down(settings: Settings, server: AgentServer, departure: Departure) -> None:
    """Shut down; a second signal skips what that waits for."""
    tasks = len(server.manager.running)
    waits = f": waiting for {tasks} running tasks, {settings.shutdown_grace:g} s at most; a second Ctrl-C ends it now"
    logger.info("shutting down%s", waits if tasks and settings.shutdown_grace else "")
    shutdown = asyncio.create_task(server.shut_down())
    _on_signal(settings, departure, asyncio.get_running_loop(), shutdown.cancel)
    await asyncio.wait([shutdown])
    if shutdown.cancelled():
        server.abort()
    else:
        shutdown.result()


def _on_signal(
    settings: Settings, departure: Departure, loop: asyncio.AbstractEventLoop, then: Callable[[], object]
) -> None:
    """Do this on the loop. But the end is near from the signal on, though an agent blocks the loop."""

    def handle(*_: object) -> None:
        departure.signal(settings.shutdown_grace)
        loop.call_soon_threadsafe(then)

    for number in STOPS:
        signal.signal(number, handle)


async def _leave_behind(server: AgentServer) -> None:
    """Stop what agents have left on the loop. What resists is left behind: the loop does not run on."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        stop(task, RESISTANCE)
    if tasks:
        _, tasks = await asyncio.wait(tasks, timeout=RESISTANCE)
    await asyncio.wait([asyncio.create_task(asyncio.get_running_loop().shutdown_asyncgens())], timeout=RESISTANCE)
    busy = server.manager.threads.busy
    if tasks or busy:
        logger.warning("%d tasks and %d threads of agents still run: ending without them", len(tasks), busy)
    logs.flush()


def _uvloop() -> asyncio.AbstractEventLoop:
    try:
        return exits.uvloop_factory()()
    except ImportError as exc:
        raise SettingsError(
            '--uvloop: it is not installed; it comes with the extra [uvloop], pip install ".[uvloop]"'
        ) from exc


def _read_settings() -> Settings:
    env_file = read_env_file(sys.argv[1:], os.environ)
    settings = load_settings(sys.argv[1:], os.environ)
    logs.configure(settings.log_level)
    if env_file is not None:
        # Before what it names is run: WS_AGENT may stand in it.
        _say(str(env_file))
    for oddity in oddities(os.environ):
        logger.warning("%s", oddity)
    return settings


if __name__ == "__main__":
    main()
