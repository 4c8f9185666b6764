"""The process: how it starts, how it is told to stop, and how it ends."""

import gc

gc.disable()  # nothing that is imported is garbage, and to look for some takes a tenth of the start

import asyncio
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from agentsocket.agent.loader import AgentNotLoadable, load_agents
from agentsocket.agent.neighbours import make_way
from agentsocket.banner import banner
from agentsocket.env_file import read_env_file
from agentsocket.server import AgentServer
from agentsocket.settings import Settings, SettingsError, load_settings, oddities, program
from agentsocket.telemetry import logs
from agentsocket.telemetry.watchdog import Watchdog

gc.freeze()
gc.enable()

logger = logging.getLogger("agentsocket")

THREADS = "agent-thread"
"""How the names of the threads that run synchronous agents begin."""

RESISTANCE = 0.05
"""Seconds that a task or a thread has to end when all is over."""

GC_THRESHOLDS = (20_000, 5, 5)
"""For ``gc.set_threshold``: a session is some hundred objects, so the default of 700 looks after every few of them."""

RESERVED_DESCRIPTORS = 64
"""Open files that are not connections: the listener, logs, what agents open."""


def main() -> int:
    """Run the server until it is told to stop.

    Returns:
        The exit code: 0 after SIGINT or SIGTERM, 1 if the address cannot be listened on, 2 if a setting is wrong or the
        agent cannot be loaded.
    """
    make_way()
    try:
        settings = _read_settings()
        settings = _fit_to_descriptors(settings)
        server = AgentServer(settings, load_agents(settings.agent))
        logs.hold()
        loop_factory = _uvloop() if settings.uvloop else None
    except (SettingsError, AgentNotLoadable) as exc:
        logger.debug("cannot start", exc_info=exc)
        logs.flush()
        print(f"{program()}: {exc}", file=sys.stderr)
        return 2
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_run(settings, server))


async def _run(settings: Settings, server: AgentServer) -> int:
    threads = ThreadPoolExecutor(settings.max_threads, THREADS)
    asyncio.get_running_loop().set_default_executor(threads)
    asyncio.get_running_loop().set_exception_handler(logs.LoopErrors())
    told = asyncio.Event()
    _on_signal(told.set)
    try:
        await server.start()
    except OSError as exc:
        where = f"{settings.host}:{settings.port}"
        print(f"{program()}: cannot listen on {where}: {exc.strerror or exc}", file=sys.stderr)
        return 1
    print(banner(settings, server.port), flush=True)
    # What is there now stays: the collector need not look at it again each time that sessions come and go.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with Watchdog(settings.block_warning):
        await told.wait()
        await _shut_down(server)
    threads.shutdown(wait=False, cancel_futures=True)
    await _leave_behind()
    return 0


async def _shut_down(server: AgentServer) -> None:
    """Shut down; a second signal skips what that waits for."""
    logger.info("shutting down")
    shutdown = asyncio.create_task(server.shut_down())
    _on_signal(shutdown.cancel)
    await asyncio.wait([shutdown])
    if shutdown.cancelled():
        server.abort()
    else:
        shutdown.result()


def _on_signal(callback: Callable[[], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, callback)


async def _leave_behind() -> None:
    """End the process now if an agent resists: neither a thread nor a coroutine that does not want to can be ended."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        _, tasks = await asyncio.wait(tasks, timeout=RESISTANCE)
    for thread in _threads():
        thread.join(RESISTANCE)
    if tasks or _threads():
        logger.warning("%d tasks and %d threads of agents still run: ending without them", len(tasks), len(_threads()))
        logs.flush()
        sys.stdout.flush()
        os._exit(0)


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]


def _uvloop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415  # it is not in requirements.txt
    except ImportError as exc:
        raise SettingsError(
            '--uvloop: it is not installed; it comes with the extra [uvloop], pip install ".[uvloop]"'
        ) from exc
    return uvloop.new_event_loop


def _read_settings() -> Settings:
    env_file = read_env_file(sys.argv[1:], os.environ)
    settings = load_settings(sys.argv[1:], os.environ)
    logs.configure(settings.log_level)
    if env_file is not None:
        # Before what it names is run: WS_AGENT may stand in it.
        print(env_file, flush=True)
    for oddity in oddities(os.environ):
        logger.warning("%s", oddity)
    return settings


def _fit_to_descriptors(settings: Settings) -> Settings:
    """Raise the limit of open files, and stay below it: a server that has none left cannot even say so."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = hard - RESERVED_DESCRIPTORS
    if 0 < room < settings.max_connections:
        logger.warning("only %d files may be open: %d connections at most", hard, room)
        return settings.model_copy(update={"max_connections": room})
    return settings


if __name__ == "__main__":
    sys.exit(main())
