"""Streams over gRPC with bytes in and out, for what the public client does not show."""

import queue
import threading
from collections.abc import Callable
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb

from tests.gateway.grpc_serving import GrpcServed, add_number, metadata, request
from tests.gateway.rig import Licensee


def asking(text: str, tokens: int, delay: int = 0, **more: Any) -> bytes:
    """Make a request to the streaming model."""
    made = request("textgen_stream", text, **more)
    add_number(made, "MAX_TOKENS", tokens, batched=False)
    add_number(made, "DELAY_MS", delay, batched=False)
    return bytes(made.SerializeToString())


class Stream:
    """A stream with bytes in and out; what comes is kept in order."""

    def __init__(self, call: Callable[..., Any], who: Licensee) -> None:
        """Begin a stream with a key."""
        self._requests: queue.Queue[bytes | None] = queue.Queue()
        self.call = call(iter(self._requests.get, None), metadata=metadata(who.headers))
        self.pieces: list[bytes] = []
        self.error: grpc.RpcError | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            for piece in self.call:
                self.pieces.append(piece)
        except grpc.RpcError as error:
            self.error = error

    def send(self, *requests: bytes) -> None:
        """Send requests; what they do comes later."""
        for each in requests:
            self._requests.put(each)

    def say_all(self) -> None:
        """Send nothing more."""
        self._requests.put(None)

    def close(self) -> None:
        """Send nothing more, and wait for the end."""
        self.say_all()
        self._reader.join(30)
        assert not self._reader.is_alive()

    def leave(self) -> None:
        """Vanish in the middle."""
        self.call.cancel()
        self.close()

    @property
    def messages(self) -> list[Any]:
        """What came so far."""
        return [pb.ModelStreamInferResponse.FromString(piece) for piece in tuple(self.pieces)]


def exchanged(served: GrpcServed, who: Licensee, *requests: bytes) -> Stream:
    """Send requests on one stream and wait for all answers."""
    with served.raw("ModelStreamInfer", stream=True) as call:
        stream = Stream(call, who)
        stream.send(*requests)
        stream.close()
    return stream
