"""A client that comes back after every break, and holds the server to what it promises about that."""

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.stress.agent import pieces
from tests.stress.link import link

IMPATIENCE = 1.5
"""Seconds of silence after which a client whose tasks run gives its link up."""


@dataclass(frozen=True)
class Saying:
    """What the agent is asked to say: so many pieces of at most this size, one every ``pause`` seconds."""

    seed: int
    count: int
    size: int
    pause: float

    @property
    def message(self) -> str:
        """The request."""
        return f"say {self.seed} {self.count} {self.size} {self.pause}"

    @property
    def text(self) -> str:
        """The agent's own text."""
        return "".join(pieces(self.seed, self.count, self.size))


class ResumingClient:
    """Runs a few tasks over links that break, and notes everything that is not as promised."""

    def __init__(self, port: int, seed: int, sayings: list[Saying]) -> None:
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        """How often it came back: lossless, or with a gap that was told."""
        self._port, self._random = port, random.Random(seed)
        self._requests = {f"request {saying.seed}": saying for saying in sayings}
        self._session: dict[str, Any] | None = None
        self._last_seq = 0
        self._task_ids: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._answers: dict[str, str | None] = {}
        self._finished = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Go on until each task has ended, then log out."""
        while not self._finished.done():
            with contextlib.suppress(OSError):  # TimeoutError is one
                await self._live()
            await asyncio.sleep(self._random.uniform(0, 0.2))  # a client's back-off
        self._check()

    async def _live(self) -> None:
        """Connect, take the session up, send what was not confirmed, and listen until the link breaks."""
        opened = await link(self._port, self._hear)
        try:
            async with asyncio.timeout(IMPATIENCE):
                await opened.ask("login", "login_response", **self._credentials())
            for request_id, saying in self._requests.items():
                if request_id not in self._task_ids:
                    opened.send("agent_request", message=saying.message, request_id=request_id)
            received = -1
            while opened.received > received and not (opened.lost.done() or self._finished.done()):
                received = opened.received
                ends = [opened.lost, self._finished]
                await asyncio.wait(ends, timeout=IMPATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if self._finished.done():
                async with asyncio.timeout(IMPATIENCE):
                    await opened.ask("logout", "logout_response")
        finally:
            opened.transport.abort()
            await opened.lost

    def _credentials(self) -> dict[str, Any]:
        if self._session is None:
            return {"resumable": True}
        return {name: self._session[name] for name in ("session_id", "resume_token")} | {"last_seq": self._last_seq}

    def _hear(self, event: str, data: dict[str, Any]) -> None:
        if event == "login_response":
            self._take_up(data)
        elif data.get("seq") != self._last_seq + 1:
            self.wrong.append(f"after frame {self._last_seq} came {data.get('seq')}, {event}: {data}"[:200])
        else:
            self._last_seq = data["seq"]
            self._take(event, data)
        if self._finished.done() or set(self._requests) != set(self._task_ids):
            return
        if set(self._task_ids.values()) <= set(self._answers):
            self._finished.set_result(None)

    def _take_up(self, login: dict[str, Any]) -> None:
        if self._session is None:
            self._session = login
        elif login["lossless"]:
            self.counts["lossless"] += 1
        else:
            self.counts["gap"] += 1
            self._last_seq = login["last_seq"]
            for task in login["tasks"]:
                self._texts[task["task_id"]] = task["output"]
                # The end of one that was never confirmed follows once it is asked for again.
                if task["status"] != "running" and task["task_id"] in self._task_ids.values():
                    self._answers[task["task_id"]] = task.get("response")

    def _take(self, event: str, data: dict[str, Any]) -> None:
        task_id = data.get("task_id", "")
        if event == "agent_request_received":
            if self._task_ids.setdefault(data["request_id"], task_id) != task_id:
                self.wrong.append(f"{data['request_id']} was started twice")
        elif task_id in self._answers:
            self.wrong.append(f"{event} after the end of its task")
        elif event == "agent_output":
            self._texts[task_id] = self._texts.get(task_id, "") + data["output"]
        elif event == "agent_response":
            self._answers[task_id] = data["response"]
        elif event != "logout_response":
            self.wrong.append(f"{event}: {data}"[:200])

    def _check(self) -> None:
        for request_id, saying in self._requests.items():
            task_id = self._task_ids[request_id]
            for what, text in (("answer", self._answers[task_id]), ("text", self._texts.get(task_id))):
                if text != saying.text:
                    self.wrong.append(f"the {what} of {request_id} is not what the agent said: {text!r:.60}")
