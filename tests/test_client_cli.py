"""The client's command, as a shell sees it: what it prints where, and its exit code."""

import asyncio
import contextlib
import json
import os
import pty
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput, InputRequired, ToolCall, ToolResult
from tests.scripted_server import listening
from tests.support import PATIENCE, Scripted, serving

COMMAND = str(Path(__file__).parent.parent / "websocket_client_example.py")


@contextlib.asynccontextmanager
async def command(
    *arguments: str, stdin: int = PIPE, environment: dict[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run the command; it does not outlive the test."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WS_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        COMMAND,
        *arguments,
        stdin=stdin,
        stdout=PIPE,
        stderr=PIPE,
        env={**inherited, **(environment or {})},
    )
    try:
        async with asyncio.timeout(PATIENCE):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def outcome(*arguments: str, typed: str = "", **environment: str) -> tuple[int | None, str, str]:
    """Run the command to its end; return its exit code and what it printed."""
    async with command(*arguments, environment=environment) as process:
        out, err = await process.communicate(typed.encode())
        return process.returncode, out.decode(), err.decode()


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


@pytest.mark.parametrize("message", ["fail", "tool"])
async def test_an_error_is_one_line_on_stderr_and_exit_code_1(message: str) -> None:
    async with agent_at(Scripted(fail=fail), auth_token="secret") as uri:
        code, out, err = await outcome(message, "--uri", uri, "--token", "secret" if message == "fail" else "wrong")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


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
            assert "red" in out


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
        assert process.stderr is not None
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
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
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
            assert process.stdout is not None
            assert process.stderr is not None
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
            assert process.stderr is not None
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
