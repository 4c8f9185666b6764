"""An agent that does to its process whatever the message's first word says. It is served in a process of its own."""

import argparse
import asyncio
import atexit
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

KEPT: list[Any] = []
HOUR = 3600.0


async def exits() -> None:
    await asyncio.sleep(0)
    sys.exit(3)


async def interrupts() -> None:
    raise KeyboardInterrupt


def sleep() -> None:
    time.sleep(HOUR)


def exit_code(pid: int) -> str:
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


class Agent:
    async def run(self, message: str, _: Any) -> str:
        return str(await getattr(self, message, self.echo)())

    async def echo(self) -> str:
        return "echo"

    # ---- Exits: what is awaited, then what is not

    async def gather(self) -> None:
        await asyncio.gather(exits(), asyncio.sleep(HOUR))

    async def group(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(interrupts())
            group.create_task(asyncio.sleep(HOUR))

    async def wait_for(self) -> None:
        await asyncio.wait_for(exits(), HOUR)

    async def future(self) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, KeyboardInterrupt())
        await future

    async def thread(self) -> None:
        await asyncio.to_thread(argparse.ArgumentParser().parse_args, ["--no-such-flag"])

    async def task(self) -> None:
        KEPT.append(asyncio.create_task(exits()))
        await asyncio.sleep(HOUR)

    async def callback(self) -> None:
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        await asyncio.sleep(HOUR)

    async def timer(self) -> None:
        asyncio.get_running_loop().call_later(0.01, sys.exit, 3)
        await asyncio.sleep(HOUR)

    async def done_callback(self) -> None:
        KEPT.append(asyncio.create_task(asyncio.sleep(0)))
        KEPT[-1].add_done_callback(lambda _: sys.exit(3))
        await asyncio.sleep(HOUR)

    async def reader(self) -> None:
        loop, (end, other) = asyncio.get_running_loop(), socket.socketpair()
        end.setblocking(False)  # noqa: FBT003  # Python's own
        other.send(b"x")

        def read() -> None:
            loop.remove_reader(end)
            sys.exit(3)

        loop.add_reader(end, read)
        KEPT.extend((end, other))
        await asyncio.sleep(HOUR)

    async def caught(self) -> str:
        try:
            await asyncio.create_task(exits())
        except SystemExit:
            await asyncio.sleep(0.1)  # longer than it takes to see that somebody awaited it
        return "caught"

    async def stops_the_loop(self) -> str:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        return "still here"

    async def left_behind(self) -> str:
        KEPT.append(asyncio.create_task(exits()))
        return "done before"

    # ---- Forks

    async def terminated(self) -> str:
        codes = set()
        for _ in range(10):
            process = multiprocessing.Process(target=sleep)
            process.start()
            process.terminate()
            process.join()
            codes.add(process.exitcode)
        return str(codes)

    async def terminated_in_a_thread(self) -> str:
        return await asyncio.to_thread(asyncio.run, self.terminated())

    async def interrupted(self) -> str:
        process = multiprocessing.Process(target=sleep)
        process.start()
        os.kill(process.pid or 0, signal.SIGINT)
        process.join()
        return "ended" if process.exitcode in {1, -signal.SIGINT} else str(process.exitcode)

    async def pool(self) -> str:
        with ProcessPoolExecutor(2) as pool:
            there = await asyncio.get_running_loop().run_in_executor(pool, os.getpid)
        return "elsewhere" if there != os.getpid() else "here"

    async def forked_exit(self) -> str:
        if pid := os.fork():
            return exit_code(pid)
        sys.exit(7)

    async def forked_return(self) -> str:
        if pid := os.fork():
            await asyncio.sleep(0.05)
            return exit_code(pid)
        return "a second answer"

    async def forked_in_a_thread(self) -> str:
        def fork() -> str:
            return exit_code(pid) if (pid := os.fork()) else "a second answer"

        return await asyncio.to_thread(fork)

    async def preexec(self) -> str:
        process = await asyncio.create_subprocess_exec("sleep", "3600", preexec_fn=lambda: None)
        process.terminate()
        return str(await process.wait())

    async def sockets(self) -> str:
        """Count the TCP sockets that a forked child has."""
        end, other = os.pipe()
        if pid := os.fork():
            os.waitpid(pid, 0)  # noqa: ASYNC222  # it is done at once
            return os.read(end, 10).decode()
        found = 0
        for name in os.listdir("/dev/fd"):  # noqa: PTH208
            try:
                found += socket.socket(fileno=int(name)).family == socket.AF_INET
            except OSError:
                continue
        os.write(other, str(found).encode())
        os._exit(0)

    # ---- What does not end by itself

    async def everything(self) -> str:
        threading.Thread(target=sleep).start()
        threading.Timer(HOUR, print).start()
        for pool in (ThreadPoolExecutor(1), ProcessPoolExecutor(1)):
            KEPT.append(pool)
            pool.submit(sleep)
        multiprocessing.Process(target=sleep).start()
        KEPT.append(subprocess.Popen(["sleep", "3600"]))  # noqa: ASYNC220  # as people's tools do
        KEPT.append(asyncio.create_task(asyncio.to_thread(sleep)))
        KEPT.append(self.clings())
        await anext(KEPT[-1])
        atexit.register(self.say_goodbye)
        return " ".join(str(child.pid) for child in (*multiprocessing.active_children(), KEPT[2]))

    async def nothing_that_hangs(self) -> str:
        atexit.register(self.say_goodbye)
        KEPT.append(ThreadPoolExecutor(1))
        KEPT[-1].submit(print).result()
        return "idle"

    async def hangs_at_exit(self) -> str:
        atexit.register(sleep)
        return "registered"

    async def blocks(self) -> None:
        await asyncio.sleep(0.01)  # until the request is confirmed
        sleep()

    async def computes(self) -> None:
        await asyncio.sleep(0.01)  # likewise
        re.match(r"(a+)+$", "a" * 100 + "b")  # takes for ever, and lets no other thread run

    @staticmethod
    def say_goodbye() -> None:
        time.sleep(0.05)
        print("an exit function was called", file=sys.stderr)  # noqa: T201

    @staticmethod
    async def clings() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(HOUR)


def hangs(message: str) -> str:
    """A synchronous agent."""
    if message == "hang":
        sleep()
    return message


AWAITED: list[Callable[..., Any]] = [Agent.gather, Agent.group, Agent.wait_for, Agent.future, Agent.thread]
UNAWAITED: list[Callable[..., Any]] = [Agent.task, Agent.callback, Agent.timer, Agent.done_callback, Agent.reader]
