"""Any order of login, request, cancel, answer, logout, break, resume and nonsense: the model knows each answer."""

import asyncio
import contextlib
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="installed by requirements-dev.txt")

from hypothesis import HealthCheck, Phase, settings  # noqa: E402  # after it is known to be there
from hypothesis import strategies as st  # noqa: E402
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule  # noqa: E402

from agentsocket.agent.contract import Turn  # noqa: E402
from agentsocket.protocol.events import InputRequired  # noqa: E402
from tests.support import Scripted, serving  # noqa: E402
from tests.wire import Opcode, frame, text, upgraded  # noqa: E402

T = TypeVar("T")
Event = tuple[str, dict[str, Any]]

UNKNOWN = "0" * 16

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
nonsense = st.one_of(
    st.text(max_size=50),
    json_values.map(json.dumps),
    st.builds(
        lambda event, data: json.dumps({"event": event, "data": data}),
        st.sampled_from(["agent_request", "cancel_request", "input_response", "reboot"]),
        json_values,
    ),
).filter(lambda message: '"message"' not in message and '"task_id"' not in message)


async def asks(_: str, turn: Turn) -> str:
    return json.dumps(await turn.ask(InputRequired(prompt="?")))


async def fails(_: str, __: Turn) -> str:
    raise ValueError("told to")


class Conversation(RuleBasedStateMachine):
    """One client, its session, and what it has to hear."""

    @initialize()
    def start(self) -> None:
        """Start a server, and connect."""
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.agents: list[Scripted] = []
        self.login: dict[str, Any] | None = None
        self.heard: list[Event] = []
        """The frames of the session, which are numbered from 1 on where it is resumable."""
        self.running: dict[str, str | None] = {}
        """The tasks that run, and the input that each of them waits for."""
        self.known = [UNKNOWN]
        self.run(self._start())

    async def _start(self) -> None:
        limits = {"rate_limit": None, "max_errors": None, "max_tasks": 3}
        self.server = await self.stack.enter_async_context(serving(self._create, **limits))
        await self._connect()

    def _create(self) -> Scripted:
        self.agents.append(Scripted(ask=asks, fail=fails))
        return self.agents[-1]

    async def _connect(self) -> None:
        self.link = contextlib.AsyncExitStack()
        self.wire = await self.link.enter_async_context(upgraded(self.server.port))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it on the machine's own loop."""
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        """Hold that nothing is left, whatever has happened."""
        if hasattr(self, "runner"):
            self.run(self._stop())
            self.runner.close()

    async def _stop(self) -> None:
        await self.link.aclose()
        await self.stack.aclose()
        assert not self.server.manager.sessions
        assert not self.server.manager.running
        assert all(agent.closed == 1 for agent in self.agents)

    def send(self, event: str, **data: Any) -> None:
        """Send a frame."""
        self.wire.send(text(event, **data))

    def hear(self, event: str) -> dict[str, Any]:
        """Return the data of the next frame, which is this one, and the next of its session."""
        name, data = self.run(self.wire.receive_event())
        assert name == event, (name, data)
        if self.login is not None and event != "login_response":
            self.heard.append((name, data))
            assert data.get("seq") == (len(self.heard) if self.resumable else None)
        return data

    def refused(self, code: str, **fields: Any) -> None:
        """Hear this error."""
        data = self.hear("error")
        assert {name: value for name, value in data.items() if name not in {"message", "seq"}} == {
            "code": code,
            **fields,
        }

    @property
    def resumable(self) -> bool:
        """Whether the session is."""
        return self.login is not None and "resume_token" in self.login

    @rule(resumable=st.booleans())
    def log_in(self, *, resumable: bool) -> None:
        """A login opens a session, unless there is one."""
        self.send("login", resumable=resumable)
        if self.login is not None:
            self.refused("already_logged_in")
        else:
            login = self.hear("login_response")
            assert ("resume_token" in login) == resumable
            self.login, self.heard = login, []

    @rule(message=st.sampled_from(["hello", "park", "ask", "fail"]))
    def request(self, message: str) -> None:
        """A request is confirmed, and does what it says; above the limit it is refused."""
        self.send("agent_request", message=message, request_id="mine" * (len(self.running) == 3))
        if self.login is None or len(self.running) == 3:
            code = "not_logged_in" if self.login is None else "too_many_tasks"
            self.refused(code, **({"request_id": "mine"} if len(self.running) == 3 else {"request_id": ""}))
            return
        task_id = self.hear("agent_request_received")["task_id"]
        assert task_id not in self.known
        self.known.append(task_id)
        match message:
            case "hello":
                assert self.hear("agent_response")["response"] == "hello"
            case "fail":
                assert self.hear("error")["code"] == "agent_failed"
            case "ask":
                self.running[task_id] = self.hear("input_required")["input_id"]
            case _:
                self.running[task_id] = None

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A cancel stops a task that runs, and no other."""
        task_id = data.draw(st.sampled_from(self.known))
        self.send("cancel_request", task_id=task_id)
        if self.login is None:
            self.refused("not_logged_in")
        elif task_id in self.running:
            del self.running[task_id]
            assert self.hear("task_cancelled")["task_id"] == task_id
        else:
            self.refused("unknown_task", task_id=task_id)

    @rule(data=st.data(), response=json_values.filter(lambda value: value == value), right=st.booleans())  # noqa: PLR0124
    def answer(self, data: st.DataObject, response: Any, *, right: bool) -> None:
        """An answer goes to the input that waits for it."""
        task_id = data.draw(st.sampled_from(self.known))
        input_id = self.running.get(task_id) if right else UNKNOWN
        self.send("input_response", task_id=task_id, input_id=input_id or UNKNOWN, response=response)
        if self.login is None:
            self.refused("not_logged_in")
        elif task_id not in self.running:
            self.refused("unknown_task", task_id=task_id)
        elif not input_id or input_id == UNKNOWN:
            self.refused("unknown_input")
        else:
            del self.running[task_id]
            assert self.hear("agent_response")["task_id"] == task_id

    @rule()
    def log_out(self) -> None:
        """A logout ends each task first, then the session."""
        self.send("logout")
        if self.login is None:
            self.refused("not_logged_in")
            return
        assert {self.hear("task_cancelled")["task_id"] for _ in self.running} == set(self.running)
        self.hear("logout_response")
        self.login, self.running = None, {}

    @rule(message=nonsense)
    def talk_nonsense(self, message: str) -> None:
        """What is no frame is refused, and changes nothing."""
        self.wire.send(frame(Opcode.TEXT, message.encode(errors="replace")))
        assert self.hear("error")["code"] in {"invalid_json", "invalid_frame", "unknown_event"}

    @rule(data=st.data())
    def break_and_come_back(self, data: st.DataObject) -> None:
        """A session that can be taken up says again what came after the number that its client names."""
        self.wire.reset()
        self.run(self.link.aclose())
        self.run(self._connect())
        if not self.resumable or self.login is None:
            self.login, self.running = None, {}
            return
        last_seq = data.draw(st.integers(0, len(self.heard)))
        credentials = {name: self.login[name] for name in ("session_id", "resume_token")}
        self.send("login", **credentials, last_seq=last_seq)
        response = self.hear("login_response")
        assert (response["lossless"], response["last_seq"]) == (True, len(self.heard))
        running = [task["task_id"] for task in response["tasks"] if task["status"] == "running"]
        assert sorted(running) == sorted(self.running)
        again = [self.run(self.wire.receive_event()) for _ in self.heard[last_seq:]]
        assert again == self.heard[last_seq:]

    @precondition(lambda self: self.resumable)
    @rule(wrong=st.sampled_from(["session_id", "resume_token", "last_seq"]))
    def resume_wrongly(self, wrong: str) -> None:
        """Whoever cannot say what the session is gets nothing, and the session stays where it is."""
        assert self.login is not None
        right = {name: self.login[name] for name in ("session_id", "resume_token")} | {"last_seq": 0}
        wrongly = {**right, wrong: 2**40 if wrong == "last_seq" else UNKNOWN}
        event, data = self.run(self._login_elsewhere(wrongly))
        assert (event, data["code"]) == ("error", "invalid_frame" if wrong == "last_seq" else "session_not_found")

    async def _login_elsewhere(self, login: dict[str, Any]) -> Event:
        async with upgraded(self.server.port) as wire:
            wire.send(text("login", **login))
            return await wire.receive_event()


# Not shrunk: that takes minutes, and what is found can be repeated as it is.
quick = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),  # they measure the machine
)
thorough = settings(quick, max_examples=2000, stateful_step_count=60, derandomize=False, print_blob=True)


def test_a_conversation_of_any_order_has_the_answers_that_the_protocol_promises() -> None:
    hypothesis.stateful.run_state_machine_as_test(Conversation, settings=quick)


@pytest.mark.long
def test_so_have_many_of_them() -> None:
    hypothesis.stateful.run_state_machine_as_test(Conversation, settings=thorough)
