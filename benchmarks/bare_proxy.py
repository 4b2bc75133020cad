"""A proxy of gRPC that does nothing else: what a layer itself costs, in a process of its own.

    python -m benchmarks.bare_proxy LAYER TRITON

It prints where it listens. SIGUSR1 begins a count, SIGTERM ends it: then it prints one JSON
document, how many inferences went through and how much CPU each took. Nothing is checked, metered
or written down here.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import grpc
import uvloop

from adapters.grpc.call import Call
from adapters.grpc.channel import Channel
from adapters.grpc.server import Server
from adapters.triton.grpc_client import SERVICE

PATH = f"/{SERVICE}/ModelInfer"
_SECONDS = 60.0
_MESSAGE_BYTES = 2**22


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
    """Use gRPC's own library on both sides."""
    channel = grpc.aio.insecure_channel(triton, options=[("grpc.use_local_subchannel_pool", 1)])
    infer = channel.unary_unary(PATH)

    async def work(_first: Any, context: Any) -> bytes:
        count.inferences += 1
        answer: bytes = await infer(await context.read(), timeout=_SECONDS)
        return answer

    class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # it ships without types
        def service(self, asked: Any) -> Any:
            known = asked.method == PATH
            return grpc.stream_unary_rpc_method_handler(work) if known else None

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handlers(),))
    port: int = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    count.kept = server, channel
    return port


async def own(triton: str, count: Count) -> int:
    """Use our own layer on both sides, as the gateway does."""
    channel = Channel(triton, _MESSAGE_BYTES)

    async def work(call: Call) -> bytes:
        count.inferences += 1
        return await channel.single(PATH, await call.read() or b"", _SECONDS)

    return await Server({PATH: work}, _MESSAGE_BYTES).start("127.0.0.1", 0)


LAYERS = {"grpc.aio": grpc_aio, "own": own}


async def main(layer: str, triton: str) -> None:
    """Serve until told to end, and print what was counted."""
    stop, count = asyncio.Event(), Count()
    port = await LAYERS[layer](triton, count)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, count.begin)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    print(f"127.0.0.1:{port}", flush=True)
    await stop.wait()
    print(json.dumps(count.document()), flush=True)
    os._exit(0)  # what is still open is nobody's


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
