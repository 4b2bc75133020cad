"""A proxy of gRPC without any code of ours: what a library itself costs, in a process of its own.

    python -m benchmarks.bare_proxy LIBRARY TRITON

It prints where it listens. SIGUSR1 begins a count, SIGTERM ends it: then it prints one JSON
document, how many inferences went through and how much CPU each took. Nothing is checked, limited
or timed here, so what a gateway would need of any library comes on top.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import uvloop

from adapters.triton.grpc_client import SERVICE
from entrypoints.tuning import tune_grpc

PATH = f"/{SERVICE}/ModelInfer"
ASKED = {"content-type": "application/grpc", "te": "trailers"}
ANSWERED = {"content-type": "application/grpc"}

Forward = Callable[[bytes], Awaitable[bytes]]
"""Takes the body of an inference, a message as gRPC frames it, to Triton; returns the answer's."""


class Count:
    """How many inferences went through since the count began, and what they took."""

    def __init__(self) -> None:
        """Begin to count now."""
        self.kept: tuple[Any, ...] = ()
        """What ends when nobody has it any more."""
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self.inferences = 0
        self._begun = _cpu_ns()

    def document(self) -> dict[str, float]:
        """Return what was counted."""
        spent = (_cpu_ns() - self._begun) / 1000
        return {"inferences": self.inferences, "cpu_us": spent / max(1, self.inferences)}


def _cpu_ns() -> int:
    """Return the CPU time of all threads, those of libraries included (proc(5), schedstat)."""
    tasks = Path("/proc/self/task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[0]) for each in tasks)


async def grpc_aio(triton: str, count: Count) -> int:
    """Use gRPC's own library on both sides, as the gateway does."""
    grpc = import_module("grpc")
    channel = grpc.aio.insecure_channel(triton, options=[("grpc.use_local_subchannel_pool", 1)])
    infer = channel.unary_unary(PATH)

    async def work(_first: Any, context: Any) -> bytes:
        count.inferences += 1
        answer: bytes = await infer(await context.read(), timeout=60.0)
        return answer

    class Handlers(grpc.GenericRpcHandler):  # type: ignore[name-defined, misc]
        def service(self, asked: Any) -> Any:
            known = asked.method == PATH
            return grpc.stream_unary_rpc_method_handler(work) if known else None

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handlers(),))
    port: int = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    count.kept = server, channel
    return port


async def httpunk(triton: str, count: Count) -> int:
    """Use hyper's HTTP/2 from Rust."""
    library, protocols = import_module("httpunk"), import_module("httpunk.asyncio")
    loop = asyncio.get_running_loop()
    host, _, number = triton.rpartition(":")

    def client() -> Any:
        return protocols.H2ClientProtocol(authority=triton, scheme="http")

    _, protocol = await loop.create_connection(client, host, int(number))
    connection = await protocol.ready()

    class Server(protocols.H2ServerProtocol):  # type: ignore[name-defined, misc]
        async def handle(self, request: Any) -> None:
            count.inferences += 1
            body = await request.read()
            asked = library.Request("POST", request.target, headers=ASKED, body=body)
            answer = await connection.send_request(asked)
            got = await answer.read()
            await request.respond(200, headers=ANSWERED, body=got, trailers=answer.trailers)

    return await _listening(Server)


async def zttp(triton: str, count: Count) -> int:
    """Use HTTP/2 from Zig, which does no input or output of its own."""
    sides: Any = import_module("benchmarks.bare_proxy_zttp")
    host, _, number = triton.rpartition(":")
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(sides.Client, host, int(number))

    async def forward(body: bytes) -> bytes:
        count.inferences += 1
        answer: bytes = await client.ask(body)
        return answer

    return await _listening(lambda: sides.Server(forward))


async def _listening(protocol: Callable[[], Any]) -> int:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    return port


LIBRARIES = {"grpc.aio": grpc_aio, "httpunk": httpunk, "zttp": zttp}


async def main(library: str, triton: str) -> None:
    """Serve until told to end, and print what was counted."""
    stop, count = asyncio.Event(), Count()
    port = await LIBRARIES[library](triton, count)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, count.begin)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    print(f"127.0.0.1:{port}", flush=True)
    await stop.wait()
    print(json.dumps(count.document()), flush=True)
    os._exit(0)  # what is still open is nobody's


if __name__ == "__main__":
    tune_grpc()
    uvloop.run(main(*sys.argv[1:]))
