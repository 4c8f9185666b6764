"""The client's command, as a shell sees it: what it prints where, and its exit code."""

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.client.whereabouts import described
from agentsocket.protocol.events import (
    AgentData,
    AgentOutput,
    AgentReasoning,
    AgentResponse,
    InputRequired,
    ToolCall,
    ToolProgress,
    ToolResult,
)
from agentsocket.server import AgentServer
from agentsocket.settings import Settings
from tests.client_process import ClientProcess, client_process
from tests.person import at_terminal
from tests.scripted_server import listening
from tests.support import PATIENCE, Scripted, serving

COMMAND = str(Path(__file__).parent.parent / "websocket_client_example.py")


INHERITED = {name: value for name, value in os.environ.items() if not name.startswith("WS_")}


@contextlib.asynccontextmanager
async def command(
    *arguments: str, environment: dict[str, str] | None = None, folder: Path | None = None, **streams: int
) -> AsyncIterator[ClientProcess]:
    """Run the command; it does not outlive the test."""
    settings = {**INHERITED, **(environment or {})}
    async with (
        client_process(*arguments, environment=settings, folder=folder, **streams) as process,
        asyncio.timeout(PATIENCE),
    ):
        yield process


async def outcome(
    *arguments: str, typed: str = "", folder: Path | None = None, **environment: str
) -> tuple[int | None, str, str]:
    """Run the command to its end; return its exit code and what it printed."""
    async with command(*arguments, environment=environment, folder=folder) as process:
        return printed_by(process, await process.communicate(typed.encode()))


async def outcome_of_python(*arguments: str, typed: str, **environment: str) -> tuple[int | None, str, str]:
    """Do the same in a Python of its own, which reads this environment as it starts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, COMMAND, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={**INHERITED, **environment}
    )
    async with asyncio.timeout(PATIENCE):
        return printed_by(process, await process.communicate(typed.encode()))


def printed_by(process: ClientProcess | Process, printed: tuple[bytes, bytes]) -> tuple[int | None, str, str]:
    out, err = printed
    return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")


@contextlib.asynccontextmanager
async def screen() -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
    """Have a terminal for what a command prints: what the command gets, and what a person reads."""
    seen, shown = pty.openpty()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(seen, "rb", 0)
    )
    try:
        yield shown, reader
    finally:
        transport.close()
        os.close(shown)


@contextlib.asynccontextmanager
async def agent_at(agent: Scripted, **settings: Any) -> AsyncIterator[str]:
    async with serving(lambda: agent, **settings) as server:
        yield f"ws://127.0.0.1:{server.port}"


async def tool(_: str, turn: Turn) -> str:
    await turn.emit(AgentOutput(output="Let me look."))
    await turn.emit(ToolCall(tool_name="time", tool_kwargs={"city": "Tokyo"}))
    await turn.emit(ToolResult(tool_name="time", tool_output="noon"))
    return "It is noon."


async def fail(_: str, _turn: Turn) -> str:
    raise ValueError


HOSTILE = "\x1b[2Jred\x07 \x9b31m\u202etxt\r\x7f\tok\n"


async def hostile(_: str, turn: Turn) -> str:
    await turn.emit(ToolCall(tool_name=HOSTILE, tool_kwargs={HOSTILE: HOSTILE}))
    await turn.emit(ToolResult(tool_name=HOSTILE, tool_output=HOSTILE))
    await turn.emit(AgentOutput(output=HOSTILE))
    return HOSTILE


async def approve(_: str, turn: Turn) -> str:
    question = InputRequired(prompt="Delete?", kind="approval", tool_name="delete", tool_kwargs={"all": True})
    return f"approved: {json.dumps(await turn.ask(question))}"


async def name(_: str, turn: Turn) -> str:
    return f"hello {await turn.ask(InputRequired(prompt='Your name?'))}"


async def test_the_answer_goes_to_stdout_and_the_tool_calls_to_stderr() -> None:
    async with agent_at(Scripted(tool=tool)) as uri:
        code, out, err = await outcome("tool", "--uri", uri)
    assert (code, out) == (0, "It is noon.\n")
    assert err == '-> time {"city": "Tokyo"}\n<- time "noon"\n'


async def test_uri_and_token_come_from_the_environment_too() -> None:
    async with agent_at(Scripted(), auth_token="secret") as uri:
        assert await outcome("hi", WS_URI=uri, WS_AUTH_TOKEN="secret") == (0, "hi\n", "")
        assert await outcome("hi", "--uri", uri, "--token", "secret", WS_URI="ws://127.0.0.1:1") == (0, "hi\n", "")


async def test_a_person_sees_the_text_as_it_comes_and_not_twice() -> None:
    agent = Scripted()

    async def talk(_: str, turn: Turn) -> str:
        for piece in ("one ", "\x1b[3", "2mtwo "):
            await turn.emit(AgentOutput(output=piece))
        await agent.run("park", turn)
        await turn.emit(AgentOutput(output="three"))
        return "one \x1b[32mtwo three"

    agent.scripts["talk"] = talk
    async with (
        agent_at(agent) as uri,
        screen() as (terminal, seen),
        command("talk", "--uri", uri, stdout=terminal) as process,
    ):
        assert await seen.readuntil(b"two ") == b"one two "
        agent.gate.set()
        assert await seen.readline() == b"three\r\n"
        assert await process.wait() == 0


async def test_a_person_sees_an_answer_that_was_not_streamed_below_what_was() -> None:
    async with (
        agent_at(Scripted(tool=tool)) as uri,
        screen() as (terminal, seen),
        command("tool", "--uri", uri, stdout=terminal) as process,
    ):
        assert await seen.readline() == b"Let me look.\r\n"
        assert await seen.readline() == b"It is noon.\r\n"
        assert await process.wait() == 0


async def test_a_person_sees_no_empty_lines_between_the_tools_and_the_text() -> None:
    async def look(_: str, turn: Turn) -> str:
        await turn.emit(ToolCall(tool_name="look", tool_kwargs={}))
        for piece in ("\n", "\nIt is", "\n\nnoon."):
            await turn.emit(AgentOutput(output=piece))
        return "It is\n\nnoon."

    async with (
        agent_at(Scripted(look=look)) as uri,
        screen() as (terminal, seen),
        command("look", "--uri", uri, stdout=terminal) as process,
    ):
        assert [await seen.readline() for _ in range(3)] == [b"It is\r\n", b"\r\n", b"noon.\r\n"]
        assert await process.wait() == 0


async def test_a_pipe_gets_exactly_the_answer_and_gets_it_once() -> None:
    async def talk(_: str, turn: Turn) -> str:
        await turn.emit(AgentOutput(output="It is "))
        await turn.emit(AgentOutput(output="noon."))
        return "It is noon."

    async with agent_at(Scripted(talk=talk)) as uri:
        assert await outcome("talk", "--uri", uri) == (0, "It is noon.\n", "")


async def test_a_failed_task_is_told_with_the_id_of_its_details() -> None:
    async with agent_at(Scripted(fail=fail)) as uri:
        code, out, err = await outcome("fail", "--uri", uri)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: .* \(agent_failed\), error id [0-9a-f]{8}\n", err)


async def test_colours_and_progress_in_what_a_tool_says_are_no_commands_and_its_last_state() -> None:
    async def build(_: str, turn: Turn) -> str:
        await turn.emit(ToolCall(tool_name="make", tool_kwargs={}))
        output = {"stdout": "\x1b[32m10%\r100%\x1b[0m", "title": "\x1b]0;mine\x07x"}
        await turn.emit(ToolResult(tool_name="make", tool_output=output))
        return "\x1b[1mdone\x1b[0m"

    async with agent_at(Scripted(build=build)) as uri:
        assert await outcome("build", "--uri", uri) == (
            0,
            "done\n",
            '-> make {}\n<- make {"stdout": "100%", "title": "x"}\n',
        )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252:strict"])
@pytest.mark.parametrize("options", [["say höher → 宽"], []], ids=["one", "conversation"])
async def test_what_standard_output_has_no_characters_for_is_replaced(encoding: str, options: list[str]) -> None:
    async with agent_at(Scripted()) as uri:
        code, out, err = await outcome_of_python(
            *options, "--uri", uri, typed="say höher → 宽\n", PYTHONIOENCODING=encoding, PYTHONUTF8="0"
        )
    assert code == 0
    assert out.endswith("her ? ?\n")
    assert "Traceback" not in err


@pytest.mark.parametrize("message", ["fail", "tool"])
async def test_an_error_is_one_line_on_stderr_and_exit_code_1(message: str) -> None:
    async with agent_at(Scripted(fail=fail), auth_token="secret") as uri:
        code, out, err = await outcome(message, "--uri", uri, "--token", "secret" if message == "fail" else "wrong")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


async def test_a_refused_token_is_told_with_the_flag_that_names_another() -> None:
    async with agent_at(Scripted(), auth_token="secret") as uri:
        for options in (["hi"], []):
            code, _, err = await outcome(*options, "--uri", uri, "--token", "wr0ng")
            assert code == 1
            assert "(authentication_failed); --token or WS_AUTH_TOKEN" in err
            assert "wr0ng" not in err


# ---- Which server, and which agent -----------------------------------------------------------------------------------


async def test_the_agent_is_chosen_by_its_name_and_for_a_wrong_one_those_that_there_are_are_told() -> None:
    async def greet(_: str, _turn: Turn) -> str:
        return "at the desk"

    agents = {"shop": Scripted, "desk": lambda: Scripted(hello=greet)}
    async with AgentServer(Settings(host="127.0.0.1", port=0, shutdown_grace=0), agents) as server:
        uri = f"ws://127.0.0.1:{server.port}"
        assert await outcome("hello", "--uri", uri, "--agent", "desk") == (0, "at the desk\n", "")
        assert await outcome("--uri", uri, "--agent", "desk", typed="hello") == (0, "at the desk\n", "")
        code, _, err = await outcome("hello", "--uri", uri, "--agent", "typo")
    assert code == 1
    assert "shop, desk" in err


async def test_what_the_agent_is_to_know_is_given_as_json_or_text() -> None:
    async def params(_: str, turn: Turn) -> str:
        return json.dumps(dict(turn.context.params))

    given = [
        "locale=fr",
        "n=3",
        'deep={"a": [null]}',
        "empty=",
        "eq=a=b",
        "nan=NaN",
        "big=1e999",
        "locale=de",
        'half="\\ud800"',
    ]
    async with agent_at(Scripted(params=params)) as uri:
        options = [word for one in given for word in ("--param", one)]
        code, out, err = await outcome("params", "--uri", uri, *options)
        assert (code, err) == (0, "")
        assert json.loads(out) == {
            "locale": "de",
            "n": 3,
            "deep": {"a": [None]},
            "empty": "",
            "eq": "a=b",
            "nan": "NaN",
            "big": "1e999",
            "half": '"\\ud800"',
        }
        assert await outcome("--uri", uri, "--param", "a=true", typed="params") == (0, '{"a": true}\n', "")
        for wrong in ("locale", "=fr"):
            code, _, err = await outcome("params", "--uri", uri, "--param", wrong)
            assert code == 2
            assert "NAME=VALUE" in err


async def test_a_command_gives_the_token_and_no_shell_reads_it() -> None:
    async with agent_at(Scripted(), auth_token="se$HOME cret") as uri:
        for how in (["hi"], []):
            options = [*how, "--uri", uri, "--token-command", "echo 'se$HOME cret'"]
            assert await outcome(*options, typed="hi", WS_AUTH_TOKEN="wrong") == (0, "hi\n", "")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("false", "gave no token (exit code 1)"),
        ("true", "gave no token (exit code 0)"),
        (
            "sh -c 'echo partly; echo one >&2; echo log in first >&2; exit 3'",
            "gave no token (exit code 3): log in first",
        ),
        ("/no/such/command", "cannot be run"),
        ("echo 'open", "cannot be read"),
        ("", "is empty"),
    ],
)
async def test_a_command_that_gives_no_token_is_one_line_and_exit_code_1(line: str, told: str) -> None:
    for how in (["hi"], []):
        code, out, err = await outcome(*how, "--uri", "ws://127.0.0.1:1", "--token-command", line)
        assert (code, out) == (1, "")
        assert told in err
        assert err.startswith("error: --token-command ")
        assert err.count("\n") == 1
        assert "partly" not in err


async def test_a_token_that_is_no_text_is_one_line_and_exit_code_1() -> None:
    code, out, err = await outcome("hi", "--uri", "ws://127.0.0.1:1", "--token", os.fsdecode(b"\xff"))
    assert (code, out, err) == (1, "", "error: A token is text, and this one has no UTF-8.\n")


async def test_the_server_that_a_file_env_describes_is_found_with_its_token(tmp_path: Path) -> None:
    async with agent_at(Scripted(), auth_token="secret") as uri:
        file = tmp_path / ".env"
        file.write_text(f"# mine\nWS_HOST=0.0.0.0\nWS_PORT={uri.rpartition(':')[2]}\nWS_AUTH_TOKEN='secret'\n")
        assert await outcome("hi", folder=tmp_path) == (0, "hi\n", "")
        assert await outcome(typed="hi\n", folder=tmp_path) == (0, "hi\n", "")
        file.write_text(f"WS_HOST=198.51.100.1\nWS_PORT=1\nWS_URI={uri}\nWS_AUTH_TOKEN=secret\n")
        assert await outcome("hi", folder=tmp_path) == (0, "hi\n", "")
        assert (await outcome("hi", folder=tmp_path, WS_AUTH_TOKEN="other"))[0] == 1
        file.rename(tmp_path / "mine").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "mine").read_bytes())
        assert await outcome("hi", folder=tmp_path, WS_ENV_FILE="mine") == (0, "hi\n", "")


@pytest.mark.parametrize("file", [b"\xff\xfeW\x00S\x00", b"\x80\x81=\xff"], ids=["UTF-16", "no text"])
async def test_a_file_env_that_cannot_be_read_is_told_in_a_line_and_passed_over(tmp_path: Path, file: bytes) -> None:
    (tmp_path / ".env").write_bytes(file)
    async with agent_at(Scripted()) as uri:
        code, out, err = await outcome("hi", "--uri", uri, folder=tmp_path)
    assert (code, out) == (0, "hi\n")
    assert err == "warning: .env cannot be read, and is passed over\n"


@pytest.mark.parametrize(
    ("environment", "file", "uri"),
    [
        ({}, {}, "ws://localhost:8765"),
        ({}, {"WS_PORT": "9000"}, "ws://localhost:9000"),
        ({"WS_PORT": "9001"}, {"WS_PORT": "9000"}, "ws://localhost:9001"),
        ({"WS_PORT": ""}, {"WS_PORT": "9000"}, "ws://localhost:9000"),
        ({"WS_PORT": "tcp://10.0.0.1:8765"}, {}, "ws://localhost:8765"),
        ({"WS_PORT": "tcp://10.0.0.1:8765"}, {"WS_PORT": "9000"}, "ws://localhost:9000"),
        ({"WS_PORT": "0"}, {}, "ws://localhost:8765"),
        ({}, {"WS_HOST": "0.0.0.0"}, "ws://localhost:8765"),
        ({}, {"WS_HOST": "::"}, "ws://localhost:8765"),
        ({}, {"WS_HOST": "::1"}, "ws://[::1]:8765"),
        ({}, {"WS_HOST": "10.0.0.5", "WS_TLS_CERT": "c.pem", "WS_TLS_KEY": "k.pem"}, "wss://10.0.0.5:8765"),
        ({}, {"WS_BASE_PATH": "/agent/"}, "ws://localhost:8765/agent"),
        ({"WS_HOST": "other"}, {"WS_URI": "wss://example.org/x", "WS_PORT": "1"}, "wss://example.org/x"),
        ({"WS_URI": "ws://one"}, {"WS_URI": "ws://two"}, "ws://one"),
        ({}, {"WS_URI": None, "WS_PORT": None}, "ws://localhost:8765"),
    ],
)
def test_the_address_is_read_from_what_the_server_itself_is_told(
    environment: dict[str, str], file: dict[str, str | None], uri: str
) -> None:
    assert described(environment, file).uri == uri


def test_the_token_of_a_file_goes_to_the_server_described_and_to_this_machine_and_nowhere_else() -> None:
    found = described({}, {"WS_HOST": "example.org", "WS_AUTH_TOKEN": " secret\n"})
    assert found.token_for("ws://example.org:8765") == "secret"
    assert found.token_for("ws://127.0.0.1:9000") == "secret"
    assert found.token_for("ws://elsewhere.example:8765") is None
    assert found.token_for("ws://[") is None
    assert described({"WS_AUTH_TOKEN": "mine"}, {}).token_for("ws://elsewhere.example:8765") == "mine"


async def test_a_server_that_is_not_there_is_one_line_on_stderr_and_exit_code_1() -> None:
    async with listening() as line:
        uri = line.uri
    for address in (uri, "nonsense"):
        code, out, err = await outcome("hi", "--uri", address)
        assert (code, out) == (1, "")
        assert err.startswith(f"error: No agent server answers at {address}")
        assert err.count("\n") == 1


async def test_json_prints_every_frame_on_a_line_of_its_own() -> None:
    async with agent_at(Scripted(tool=tool)) as uri:
        code, out, err = await outcome("tool", "--json", "--uri", uri)
    assert (code, err) == (0, "")
    assert [json.loads(line)["event"] for line in out.splitlines()] == [
        "login_response",
        "agent_request_received",
        "agent_output",
        "tool_call",
        "tool_result",
        "agent_response",
    ]
    assert json.loads(out.splitlines()[-1])["data"]["response"] == "It is noon."


async def count(limit: str, turn: Turn) -> str:
    for number in range(int(limit)):
        await turn.emit(AgentOutput(output=f"{number} "))
    return limit


async def test_a_reader_that_has_seen_enough_ends_the_command_without_a_word() -> None:
    async with agent_at(Scripted(count=count)) as uri:
        command = f"{sys.executable} {COMMAND} --uri {uri} --json 'count 2000' | head -n 1"
        process = await asyncio.create_subprocess_shell(command, stdout=PIPE, stderr=PIPE)
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    assert json.loads(out)["event"] == "login_response"
    assert err == b""


async def test_nothing_an_agent_says_reaches_the_terminal_as_a_command() -> None:
    async with agent_at(Scripted(hostile=hostile)) as uri:
        for options, typed in ((["hostile"], ""), (["hostile", "--json"], ""), ([], "hostile\n")):
            code, out, err = await outcome(*options, "--uri", uri, typed=typed)
            assert code == 0
            assert all(char.isprintable() or char in "\n\t" for char in out + err)
            assert "ok" in out


async def test_json_says_the_same_as_the_frame_did() -> None:
    async with agent_at(Scripted(hostile=hostile)) as uri:
        _, out, _ = await outcome("hostile", "--json", "--uri", uri)
    assert json.loads(out.splitlines()[-1])["data"]["response"] == HOSTILE


async def test_ctrl_c_cancels_the_task_first_and_exits_130() -> None:
    async with listening() as line, command("park", "--uri", line.uri) as process:
        wire = await line.wires.get()
        await wire.expect("login")
        await wire.send("login_response", session_id="s", status="success")
        await wire.accept("t1")
        await wire.send("tool_call", task_id="t1", tool_name="wait", tool_kwargs={})
        await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert await wire.expect("cancel_request") == {"task_id": "t1"}
        await wire.socket.wait_closed()
        assert wire.socket.close_code == 1000
        assert await process.wait() == 130


async def test_a_conversation_answers_line_by_line_and_ends_with_its_input() -> None:
    async with agent_at(Scripted(tool=tool, fail=fail)) as uri:
        code, out, err = await outcome("--uri", uri, typed="hello\n\nfail\nsay twice\ntool")
    assert code == 0
    assert out == "hello\ntwice\nsay twice\nLet me look.\nIt is noon.\n"
    assert "error: " in err


async def test_ctrl_c_in_a_conversation_stops_the_task_and_not_the_program() -> None:
    agent = Scripted()
    async with agent_at(agent) as uri, command("--uri", uri) as process:
        process.stdin.write(b"park\n")
        await agent.parked.wait()
        process.send_signal(signal.SIGINT)
        await agent.cancelled.wait()
        assert b"Stopped." in await process.stderr.readuntil(b"Stopped.\n")
        process.send_signal(signal.SIGINT)
        await process.stderr.readuntil(b"Ctrl-D leaves.\n")
        process.stdin.write(b"hello\n")
        assert await process.stdout.readline() == b"hello\n"
        process.stdin.close()
        assert await process.wait() == 0


@pytest.mark.parametrize(("typed", "approved"), [(b"y\n", "true"), (b"\n", "false"), (b"never\n", "false")])
async def test_an_approval_is_asked_for_on_the_terminal(typed: bytes, approved: str) -> None:
    keyboard, stdin = pty.openpty()
    try:
        async with (
            agent_at(Scripted(approve=approve)) as uri,
            command("approve", "--uri", uri, stdin=stdin) as process,
        ):
            shown = await process.stderr.readuntil(b"[y/N] ")
            assert b'Delete? delete {"all": true}' in shown
            os.write(keyboard, typed)
            assert await process.stdout.readline() == f"approved: {approved}\n".encode()
            assert await process.wait() == 0
    finally:
        os.close(keyboard)
        os.close(stdin)


async def test_a_question_is_answered_on_the_terminal() -> None:
    keyboard, stdin = pty.openpty()
    try:
        async with agent_at(Scripted(name=name)) as uri, command("name", "--uri", uri, stdin=stdin) as process:
            await process.stderr.readuntil(b"> ")
            os.write(keyboard, b"Ada\n")
            assert (await process.communicate())[0] == b"hello Ada\n"
    finally:
        os.close(keyboard)
        os.close(stdin)


async def test_without_a_terminal_an_approval_is_denied_and_a_question_told_so() -> None:
    async with agent_at(Scripted(approve=approve, name=name)) as uri:
        _, denied, _ = await outcome("approve", "--uri", uri)
        _, told, _ = await outcome("name", "--uri", uri)
    assert '"approved": false' in denied
    assert "not a terminal" in denied
    assert "not a terminal" in told


# ---- More than text --------------------------------------------------------------------------------------------------


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def more(_: str, turn: Turn) -> AgentResponse:
    await turn.emit(AgentReasoning(reasoning="Let me think.\n\x1b[2J"))
    await turn.emit(ToolProgress(progress=1, total=4, message="first\x1b[2J"))
    await turn.emit(AgentData(name="chart", data={"a": "\x1b[2J1"}))
    await turn.emit(AgentData(name="typing", data=True, transient=True))
    for name in ("plot.png", "../plot.png"):
        await turn.send_file(b"abc", name=name, media_type="image/png")
    return AgentResponse(response="Done.", result=[1])


async def test_beside_the_answer_a_pipe_is_told_of_data_and_files_alone() -> None:
    async with agent_at(Scripted(more=more)) as uri:
        code, out, err = await outcome("more", "--uri", uri)
    assert (code, out) == (0, "Done.\n")
    assert err == 'chart: {"a": "1"}\n' + 2 * "file: plot.png (image/png, 3 bytes)\n"


async def test_files_are_saved_and_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "plot.png").write_text("mine")
    async with agent_at(Scripted(more=more)) as uri:
        code, out, err = await outcome("more", "--uri", uri, "--save-files", str(tmp_path))
    assert (code, out) == (0, "Done.\n")
    assert contents_of(tmp_path) == {"plot.png": b"mine", "plot (2).png": b"abc", "plot (3).png": b"abc"}
    for number in (2, 3):
        assert f"saved: {tmp_path}/plot ({number}).png (image/png, 3 bytes)\n" in err


async def test_a_file_that_cannot_be_saved_is_an_error_beside_the_answer(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with agent_at(Scripted(more=more)) as uri:
        code, out, err = await outcome("more", "--uri", uri, "--save-files", str(tmp_path / "file"))
    assert (code, out) == (1, "Done.\n")
    assert err.count("error: plot.png (image/png, 3 bytes): The file could not be saved") == 2


async def test_what_a_hostile_server_calls_a_file_stays_in_the_folder(tmp_path: Path) -> None:
    async with listening() as line:
        where = ("--uri", line.uri, "--save-files", str(tmp_path / "files"))
        async with command("x", *where) as process:
            wire = await line.wires.get()
            await wire.expect("login")
            await wire.send("login_response", session_id="s", status="success")
            await wire.accept("t1")
            file = {"file_id": "f", "name": "../../x\x1b[2J", "media_type": "a\nb", "size": 1, "url": "/files/1"}
            await wire.send("agent_file", task_id="t1", **file)
            await wire.send("agent_response", task_id="t1", response="Done.")
            out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"Done.\n")
    assert err.startswith(b"error: ../../x (a b, 1 byte): ")
    assert contents_of(tmp_path) == {}


async def test_files_are_attached(tmp_path: Path) -> None:
    async def read(_: str, turn: Turn) -> str:
        return ", ".join([f"{file.name}={(await file.read()).decode()}" for file in turn.attachments])

    for name in "ab":
        (tmp_path / name).write_text(name.upper())
    attached = [argument for name in "ab" for argument in ("--attach", str(tmp_path / name))]
    async with agent_at(Scripted(read=read)) as uri:
        assert await outcome("read", "--uri", uri, *attached) == (0, "a=A, b=B\n", "")
        assert await outcome("--uri", uri, *attached, typed="read\nread\n") == (0, "a=A, b=B\n", "+ a\n+ b\n")
        code, out, err = await outcome("read", "--uri", uri, "--attach", str(tmp_path / "c"))
    assert (code, out) == (1, "")
    assert err == f"error: {tmp_path}/c: No such file or directory\n"


async def test_a_person_sees_thoughts_and_progress_go_by(tmp_path: Path) -> None:
    agent = Scripted()

    async def think(_: str, turn: Turn) -> str:
        for piece in ("Let me ", "\x1b[3", "1mthink."):
            await turn.emit(AgentReasoning(reasoning=piece))
        await turn.emit(ToolProgress(progress=1, total=4, message="first"))
        await agent.run("park", turn)
        await turn.emit(AgentOutput(output="Done."))
        return "Done."

    agent.scripts["think"] = think
    (tmp_path / "a.txt").write_text("A")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm", "LANG": "C.UTF-8"}
    async with (
        agent_at(agent) as uri,
        at_terminal(uri, "think", "--attach", str(tmp_path / "a.txt"), environment=environment) as person,
    ):
        await person.sees("Let me think.", "25 % · first")
        assert person.display.styles("Let me think.") == {"2"}
        assert "sending a.txt: 1 byte of 1 byte" in person.display.raw
        agent.gate.set()
        await person.sees("Done.")
        assert await person.process.wait() == 0
    assert person.display.text.split() == ["Let", "me", "think.", "Done."]
    assert person.display.styles("Done.") == {""}
