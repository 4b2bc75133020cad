"""The gRPC server on a loop of its own, with calls that wait in every way there is."""

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import ngh2
import pytest
import uvloop

from adapters.grpc.call import Call, Handler
from adapters.grpc.messages import framed
from adapters.grpc.server import Server
from tests.gateway.raw_grpc import OK, SECONDS, Client

MESSAGE_BYTES = 1_000_000
NO_WINDOW: dict[int, int] = {ngh2.Setting.INITIAL_WINDOW_SIZE: 0}

PHASES: dict[str, tuple[str, bytes | None, bool, dict[int, int]]] = {
    "before a message": ("/test/echo", b"", False, {}),
    "inside a message": ("/test/echo", framed(b"hello")[:-1], False, {}),
    "between messages": ("/test/each", framed(b"hello"), False, {}),
    "while it works": ("/test/hold", framed(b"hello"), True, {}),
    "while it writes": ("/test/many", framed(b"hello"), True, {}),
    "while it writes and nothing is taken": ("/test/many", framed(b"hello"), False, NO_WINDOW),
    "with an end that is not taken": ("/test/large", None, True, {}),
    "with nothing taken": ("/test/early", b"", False, NO_WINDOW),
}
"""Path, body, whether it is whole, and settings: calls that wait for something."""
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Served:
    """A server on a loop of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen from `serving` on."""
        self.loop = loop
        self.port = 0
        self.server: Server = Server(self.handlers(), MESSAGE_BYTES)
        self.problems: list[Any] = []
        """What nobody caught."""
        self.ended: list[str] = []
        """How handlers ended, in order."""
        self.begun = 0
        loop.set_exception_handler(lambda _loop, found: self.problems.append(found))

    def handlers(self) -> dict[str, Handler]:
        """Return what there is to call."""
        return {
            f"/test/{name}": self._noted(getattr(self, name))
            for name in ("echo", "each", "large", "many", "stubborn", "early", "refuse", "hold")
        }

    def _noted(self, work: Handler) -> Handler:
        async def handle(call: Call) -> bytes | None:
            self.begun += 1
            how = "left"
            try:
                answer = await work(call)
                how = "answered"
                return answer
            except asyncio.CancelledError:
                how = "cancelled"
                raise
            finally:
                self.ended.append(how)

        return handle

    async def echo(self, call: Call) -> bytes:
        """Answer the first message with itself."""
        return await call.read() or b""

    async def each(self, call: Call) -> None:
        """Answer each message with itself."""
        while (message := await call.read()) is not None:
            await call.write(message)

    async def large(self, _call: Call) -> bytes:
        """Answer with more than a window holds."""
        return b"x" * 300_000

    async def many(self, call: Call) -> None:
        """Write for ever."""
        while True:
            await call.write(b"x" * 10_000)

    async def stubborn(self, _call: Call) -> bytes:
        """Take no notice of being cancelled."""
        for _ in range(3):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.2)
        return b"after all"

    async def early(self, _call: Call) -> bytes:
        """Answer without reading."""
        return b"early"

    async def refuse(self, call: Call) -> None:
        """Refuse, and have something left to do."""
        try:
            await call.abort(grpc.StatusCode.NOT_FOUND, "it is not here")
        finally:
            await asyncio.sleep(0.1)

    async def hold(self, _call: Call) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on its loop."""
        found: Future[Any] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return found.result(SECONDS)

    @contextmanager
    def client(self, settings: dict[int, int] | None = None, **more: Any) -> Iterator[Client]:
        """Connect."""
        with Client(self.port, settings, **more) as client:
            yield client

    async def _left(self) -> list[Any]:
        here = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not here]
        streams = [each.streams for each in self.server.connections if each.streams]
        waiting = [each._waiting for each in self.server.connections if each._waiting]
        return [*tasks, *self.server.calls, *streams, *waiting, *self.server.untaken._kept]

    def is_idle(self) -> bool:
        """Say whether nothing is left of any call."""
        return not self.run(self._left())

    def idle(self, seconds: float = 5) -> None:
        """Wait until nothing is left of any call, and see that nothing went wrong."""
        end = time.monotonic() + seconds
        while left := self.run(self._left()):
            assert time.monotonic() < end, left[:5]
            time.sleep(0.01)
        assert self.problems == []


@contextmanager
def serving(loop: asyncio.AbstractEventLoop) -> Iterator[Served]:
    """Serve; at the end nothing is left of any call."""
    served = Served(loop)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        served.port = served.run(served.server.start("127.0.0.1", 0))
        yield served
        served.idle()
    finally:
        with suppress(Exception):
            served.run(served.server.stop(0.1))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert not served.server.connections
    assert served.problems == []


@pytest.fixture(
    scope="module",
    params=LOOPS,
)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Serve on each kind of loop."""
    with serving(LOOPS[request.param]()) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_left(served: Served) -> Iterator[None]:
    """See that no call leaves anything, and that nobody else has noticed."""
    yield
    served.idle()
    with served.client() as client:
        assert client.call().status == OK
