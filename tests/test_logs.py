"""The log: the server's own lines are written whatever an agent does to logging, and nobody's words pass for one."""

import asyncio
import io
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agentsocket.telemetry.log_lines import LineFormatter
from tests.support import PATIENCE
from tests.test_process import ended, started, talking

MEDDLERS = {
    "dictConfig": "logging.config.dictConfig({'version': 1})",
    "dictConfig with handlers": (
        "logging.config.dictConfig({'version': 1, 'root': {'level': 'CRITICAL', 'handlers': ['nowhere']},"
        " 'handlers': {'nowhere': {'class': 'logging.NullHandler'}}})"
    ),
    "fileConfig": "logging.config.fileConfig(str(pathlib.Path(__file__).with_name('log.ini')))",
    "disable": "logging.disable(logging.CRITICAL)",
    "the root's level": "logging.getLogger().setLevel(logging.CRITICAL)",
    "basicConfig": "logging.basicConfig(force=True, handlers=[logging.NullHandler()])",
    "shutdown": "logging.shutdown()",
    "everybody's handlers": (
        "[(each.handlers.clear(), each.setLevel(60), setattr(each, 'disabled', True)) for name in"
        " ['', *logging.root.manager.loggerDict] for each in [logging.getLogger(name)]]"
    ),
    "the records": "logging.setLogRecordFactory(None)",
    "stderr": "sys.stderr.close()",
}

INI = """
[loggers]
keys=root
[handlers]
keys=
[formatters]
keys=
[logger_root]
level=CRITICAL
handlers=
"""

RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR) [\w.]+:")


AGENT = """
import logging, logging.config, pathlib, sys
AT_THE_START

async def agent(message):
    exec(message)
    raise ValueError("the reason")
"""


async def test_the_server_goes_on_logging_whatever_an_agent_does_to_logging(tmp_path: Path) -> None:
    (tmp_path / "log.ini").write_text(INI)
    (tmp_path / "meddling.py").write_text(AGENT.replace("AT_THE_START", MEDDLERS["dictConfig"]))
    failed = []
    async with started(tmp_path, "--port", "0", "--agent", "meddling:agent") as process:
        async with talking(process) as peer:
            for meddler in ["None", *MEDDLERS.values()]:
                await peer.request(meddler)
                failed.append(await peer.expect("error"))
        process.terminate()
        code, _, log = await ended(process)
    assert code == 0
    for error in failed:
        assert f"error_id={error['error_id']}" in log
    assert log.count("ValueError: the reason") == len(failed)
    assert "agentsocket: shutting down" in log


async def test_what_agents_log_is_written_and_has_the_ids_of_their_task(tmp_path: Path) -> None:
    (tmp_path / "talkative.py").write_text(
        "import logging\nasync def agent(message):\n"
        "    logging.getLogger('mine').warning('my own word')\n    return ''\n"
    )
    async with started(tmp_path, "--port", "0", "--agent", "talkative:agent") as process:
        async with talking(process) as peer:
            task_id = await peer.request("go")
            await peer.expect("agent_response")
        process.terminate()
        _, _, log = await ended(process)
    (line,) = [line for line in log.splitlines() if "my own word" in line]
    assert f"task={task_id}" in line
    assert "WARNING mine:" in line


async def test_what_python_itself_would_write_of_agents_passes_for_no_line_either(tmp_path: Path) -> None:
    (tmp_path / "unheard.py").write_text(
        "import logging, threading, warnings\n"
        "class Bad:\n    def __del__(self):\n        raise ValueError('of nobody' + forged)\n"
        "def fail():\n    raise ValueError('of a thread' + forged)\n"
        f"forged = {FORGED!r}\n"
        "async def agent(message):\n"
        "    thread = threading.Thread(target=fail)\n    thread.start()\n    thread.join()\n"
        "    Bad()\n    warnings.warn('a warning' + forged)\n"
        "    quiet = logging.getLogger('quiet')\n    quiet.propagate = False\n"
        "    quiet.error('of no handler' + forged)\n    return ''\n"
    )
    async with started(tmp_path, "--port", "0", "--agent", "unheard:agent") as process:
        async with talking(process) as peer:
            await peer.ask("go")
        process.terminate()
        _, _, log = await ended(process)
    for text in ("of nobody", "of a thread", "a warning", "of no handler"):
        assert text in log
    assert not [line for line in log.split("\n") if line and not (line.startswith("  ") or RECORD.match(line))]
    assert not [line for line in log.split("\n") if line.startswith("2026-01-01")]
    assert "\x1b" not in log


async def test_a_process_that_an_agent_has_forked_can_still_log(tmp_path: Path) -> None:
    (tmp_path / "forking.py").write_text(
        "import logging, multiprocessing\n"
        "def child():\n    logging.getLogger('child').warning('from the child')\n"
        "async def agent(message):\n"
        "    process = multiprocessing.get_context('fork').Process(target=child)\n"
        "    process.start()\n    process.join()\n    return str(process.exitcode)\n"
    )
    async with started(tmp_path, "--port", "0", "--agent", "forking:agent") as process:
        async with talking(process) as peer:
            answer = await peer.ask("go")
        process.terminate()
        _, _, log = await ended(process)
    assert (answer, "from the child" in log) == ("0", True), log


async def test_nobody_waits_for_a_reader_of_the_log_that_stands_still(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        "import logging\n"
        "async def agent(message):\n"
        "    for number in range(5000):\n        logging.getLogger('loud').warning('%s', 'x' * 1000)\n"
        "    return 'done'\n"
    )
    async with started(tmp_path, "--port", "0", "--agent", "loud:agent") as process:  # which reads some 128 kB ahead
        async with talking(process) as peer, asyncio.timeout(PATIENCE):
            assert await peer.ask("go") == "done"
            assert await peer.ask("again") == "done"
        process.terminate()
        code, _, log = await ended(process)
    assert code == 0
    (lost,) = re.findall(r"… (\d+) lines of the log are lost here", log)
    assert int(lost) + log.count("WARNING loud") == 10_000


FORGED = "so\n2026-01-01 00:00:00,000 INFO agentsocket: forged\r\x1b[2K\u2028\u202e" + "x" * 100_000


@pytest.mark.parametrize("logged", ["message", "message and trace", "group", "cause", "note", "syntax", "f-string"])
def test_what_somebody_says_passes_for_no_line_and_floods_none(logged: str) -> None:
    text = written(lambda logger: log_forged(logger, logged))
    records = [line for line in text.splitlines() if RECORD.match(line)]
    assert len(records) == 1
    assert all(line.startswith("  ") for line in text.splitlines() if line not in records)
    assert len(text) < 20_000
    assert text.replace("\n", "").isprintable()


def log_forged(logger: logging.Logger, how: str) -> None:
    failure: Exception = ValueError(FORGED)
    match how:
        case "message":
            logger.warning("a peer says %s", FORGED)
            return
        case "f-string":
            logger.warning(f"an agent says {FORGED}")  # noqa: G004  # as agents do
            return
        case "group":
            failure = ExceptionGroup(FORGED, [ValueError(FORGED), ExceptionGroup("inner", [KeyError(FORGED)])])
        case "cause":
            failure = RuntimeError("outer")
            failure.__cause__ = ValueError(FORGED)
        case "note":
            failure.add_note(FORGED)
        case "syntax":
            failure = SyntaxError(FORGED, ("file.py", 1, 1, FORGED))
    logger.error("failed with %s", failure, exc_info=failure)


def test_a_traceback_stays_readable() -> None:
    def fails() -> None:
        raise ValueError("the\nreason")

    def log(logger: logging.Logger) -> None:
        try:
            fails()
        except ValueError:
            logger.exception("failed")

    lines = written(log).splitlines()
    assert lines[1] == "  Traceback (most recent call last):"
    assert lines[-1] == "  ValueError: the\\nreason"
    assert '    raise ValueError("the\\nreason")' in [line[2:] for line in lines]


def test_where_the_server_is_a_part_of_a_program_that_programs_logging_is_left_alone() -> None:
    logger = logging.getLogger("agentsocket.task")
    assert type(logger) is logging.Logger
    assert logger.propagate
    assert not logging.getLogger("agentsocket").handlers


def written(log: Callable[[logging.Logger], None]) -> str:
    """Return what a logger writes with the server's format."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    logger = logging.Logger("agentsocket.task")  # noqa: LOG001  # one that nobody else has
    logger.addHandler(handler)
    log(logger)
    return stream.getvalue()
