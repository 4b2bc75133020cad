"""A crew: several processes that are one gateway, behind the same two ports.

One process of Python computes on one core. Each member of a crew is a whole gateway, with a log,
allowances and limits of its own, and the kernel deals the clients' connections among them
(SO_REUSEPORT, Linux 3.9). What one does not know of another the ledger and Redis know. A member
that dies is replaced, and who comes next settles what it left, as after any other death.
"""

import asyncio
import errno
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

from tollbook.errors import EXIT_DONE, EXIT_UNAVAILABLE, Unavailable

from entrypoints.gateway.ports import kept

logger = logging.getLogger("tollbook.gateway")

PROCESSES_MAX = 64

START_SECONDS = 120.0
"""So long a member has to begin."""

_PAUSE_SECONDS, _PAUSE_SECONDS_MAX = 1.0, 30.0
"""Between a member's death and its successor, doubled while none comes to serve."""

Command = Callable[[int], Sequence[str]]
"""What starts a member, given its port for health and metrics; 0 takes a free one."""


class Orders(NamedTuple):
    """How the members of a crew are started and stopped."""

    command: Command
    stop_seconds: float
    """So long they have to stop in order; then they are killed, and the next start settles."""
    environment: Mapping[str, str] | None = None
    """Theirs, where it is not this process's own."""


class _MemberFailedError(Exception):
    """A member that could not begin: it has said why itself, and its exit status of what kind."""

    def __init__(self, status: int, said: bytes = b"") -> None:
        super().__init__(f"a process of the gateway did not start, and ended with {status}")
        self.status = status
        self.said = said.decode(errors="replace")
        """What it wrote in place of where it listens: with `--json` what is wrong is told there."""


class _Member:
    """One process and those that follow it."""

    def __init__(self, orders: Orders, monitor: int) -> None:
        self._orders = orders
        self._monitor = monitor
        self._process: asyncio.subprocess.Process | None = None
        self._is_serving = False
        self._stopping = asyncio.Event()
        self._changing = asyncio.Lock()

    async def start(self) -> dict[str, Any]:
        """Start it, and return where it listens; raises _MemberFailedError where it ends before."""
        async with self._changing:  # who stops meanwhile has to see the process
            if self._stopping.is_set():
                raise _MemberFailedError(EXIT_DONE)
            self._is_serving = False
            process = self._process = await asyncio.create_subprocess_exec(
                *self._orders.command(self._monitor),
                env=self._orders.environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # A Ctrl-C is for the one that started it, which then closes the pipe.
                start_new_session=True,
            )
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        except TimeoutError:
            logger.warning("a process of the gateway did not begin in time, and is killed")
            process.kill()
            line = b""
        found = _told(line)
        if found is None:
            raise _MemberFailedError(await process.wait(), line if line.endswith(b"\n") else b"")
        self._monitor = int(found["monitor"].rpartition(":")[2])
        self._is_serving = True
        return found

    async def keep(self) -> None:
        """Replace it whenever it ends, until it is told to stop."""
        pause = _PAUSE_SECONDS
        while True:
            assert self._process is not None
            status = await self._process.wait()
            if self._stopping.is_set():
                return
            logger.warning("a process of the gateway ended with %d: another follows", status)
            await asyncio.sleep(pause)
            if self._stopping.is_set():
                return
            pause = min(2 * pause, _PAUSE_SECONDS_MAX)
            with suppress(_MemberFailedError, OSError):
                await self.start()
                pause = _PAUSE_SECONDS

    async def stop(self) -> None:
        """Close its pipe, which tells it to stop in order, and wait until it has."""
        self._stopping.set()
        async with self._changing:
            process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        if not self._is_serving:  # it does not look at its pipe yet, and may hang before it does
            with suppress(ProcessLookupError):
                process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._orders.stop_seconds)
        except TimeoutError:
            logger.warning("a process of the gateway did not stop in time, and is killed")
            process.kill()
            await process.wait()


def _told(line: bytes) -> dict[str, Any] | None:
    """Return where a member listens; None where its line does not say so, or was never whole."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "monitor" in found else None


def run(orders: Orders, monitors: Sequence[int], ready: Callable[[dict[str, Any]], None]) -> int:
    """Keep a member for each port for health and metrics, until told to stop by SIGTERM or SIGINT.

    `ready` is told where they listen. Returns the exit status: that of a member that could not
    begin, for the reason that it has given.
    """
    try:
        asyncio.run(_run([_Member(orders, port) for port in monitors], ready))
    except _MemberFailedError as error:
        if error.said:
            sys.stdout.write(error.said)
        return error.status if error.status > 0 else EXIT_UNAVAILABLE
    return EXIT_DONE


async def _run(members: Sequence[_Member], ready: Callable[[dict[str, Any]], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    serving = asyncio.create_task(_serve(members, ready))
    try:
        await asyncio.wait((stopped, serving), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    finally:
        stopped.cancel()
        await asyncio.gather(*(member.stop() for member in members))
        serving.cancel()
        with suppress(asyncio.CancelledError, _MemberFailedError):
            await serving


async def _serve(members: Sequence[_Member], ready: Callable[[dict[str, Any]], None]) -> None:
    # What is wrong is told once, by the first.
    first = await members[0].start()
    found = [first, *await asyncio.gather(*(member.start() for member in members[1:]))]
    ready({**first, "monitors": [each["monitor"] for each in found]})
    await asyncio.gather(*(member.keep() for member in members))


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Keep a port for a crew during the block, and yield it; 0 takes a free one.

    It is kept at every address of the host, since members listen at all of them. Nothing listens
    here, so no connection comes. Raises Unavailable where the port is taken at any of them.
    """
    with ExitStack() as stack:
        try:
            port = stack.enter_context(kept(host, port))
        except (OSError, OverflowError) as error:
            told = f"{host} port {port} is not to be had: {error}"
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                told += "; stop what has it, or choose another port"
            raise Unavailable(told) from None
        yield port


def stop_with_pipe(stop: Callable[[], None]) -> None:
    """Have a member stop when the pipe closes that it was started with; in its running loop.

    However the process at the other end goes, its end of the pipe is closed.
    """

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            stop()

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), read)
