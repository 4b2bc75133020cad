"""Both sides of a bare proxy on zttp, HTTP/2 that does no input or output (see bare_proxy)."""

import asyncio
from importlib import import_module
from typing import Any

from benchmarks.bare_proxy import ANSWERED, ASKED, PATH, Forward

library: Any = import_module("zttp")  # installed by whoever asks for it, not by the project

_ASKED = [(b":authority", b"triton"), *((k.encode(), v.encode()) for k, v in ASKED.items())]
_ANSWERED = [(k.encode(), v.encode()) for k, v in ANSWERED.items()]
_TRAILERS = [(b"grpc-status", b"0")]


class _Side(asyncio.Protocol):
    def __init__(self, role: int) -> None:
        self._role = role
        self._connection = library.Connection(role, protocol=library.HTTP2)
        self._bodies: dict[int, list[bytes]] = {}

    def connection_made(self, transport: Any) -> None:
        """Begin the connection."""
        self._transport = transport
        if self._role == library.CLIENT:
            self._connection.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Take what has come, and hand over each body that is whole."""
        self._connection.receive_data(data)
        while (event := self._connection.next_event()) is not library.NEED_DATA:
            if type(event) is library.Data:
                self._bodies.setdefault(event.stream_id, []).append(bytes(event.data))
            elif type(event) is library.EndOfMessage:
                self.whole(event.stream_id, b"".join(self._bodies.pop(event.stream_id, ())))
        self.flush()

    def flush(self) -> None:
        """Send what waits to be sent."""
        if data := self._connection.data_to_send():
            self._transport.write(data)

    def whole(self, stream: int, body: bytes) -> None:
        """Take a body that is whole."""
        raise NotImplementedError


class Client(_Side):
    """The side that asks Triton."""

    def __init__(self) -> None:
        """Ask nothing yet."""
        super().__init__(library.CLIENT)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    def ask(self, body: bytes) -> "asyncio.Future[bytes]":
        """Ask; the answer comes as it is framed."""
        stream = self._connection.send_request(b"POST", PATH.encode(), b"2", _ASKED)
        found = self._waiting[stream.stream_id] = asyncio.get_running_loop().create_future()
        stream.send_data(body)
        stream.end_message()
        self.flush()
        return found

    def whole(self, stream: int, body: bytes) -> None:
        """Answer whoever asked."""
        self._waiting.pop(stream).set_result(body)


class Server(_Side):
    """The side that clients ask."""

    def __init__(self, forward: Forward) -> None:
        """Forward what is asked."""
        super().__init__(library.SERVER)
        self._forward = forward
        self._tasks: set[asyncio.Task[None]] = set()

    def whole(self, stream: int, body: bytes) -> None:
        """Begin an inference."""
        task = asyncio.get_running_loop().create_task(self._serve(stream, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, number: int, body: bytes) -> None:
        answer = await self._forward(body)
        stream = self._connection.stream(number)
        stream.send_response(200, _ANSWERED)
        stream.send_data(answer)
        stream.end_message(_TRAILERS)
        self.flush()
