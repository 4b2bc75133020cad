"""Load on a Triton or the gateway in front of one, by the public client: a process of its own.

    python -m benchmarks.gateway_load PROTOCOL ADDRESS KEY REQUESTS AT_ONCE

It prints one JSON document: how many requests a second, and their median time in milliseconds.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import tritonclient.grpc.aio as grpcclient
import tritonclient.http.aio as httpclient
import uvloop

MODEL = "identity"
NUMBERS = np.arange(4, dtype=np.float32)
_OWN: dict[str, dict[str, Any]] = {
    "grpc": {"channel_args": [("grpc.use_local_subchannel_pool", 1)]},
    "http": {},
}
"""What gives a client a connection of its own: gRPC shares one among the clients of a process."""

Ask = Callable[[], Awaitable[None]]


async def main(protocol: str, address: str, key: str, count: int, at_once: int) -> None:
    """Warm up with a tenth of the requests, then time them all; a client for each at once."""
    headers = {} if key == "none" else {"tollbook-license-key": key}
    public: Any = grpcclient if protocol == "grpc" else httpclient

    def asks(client: Any) -> Ask:
        async def ask() -> None:
            tensor = public.InferInput("IN", [len(NUMBERS)], "FP32")
            tensor.set_data_from_numpy(NUMBERS)
            wanted = [public.InferRequestedOutput("OUT")]
            answer = await client.infer(MODEL, [tensor], outputs=wanted, headers=headers)
            if not np.array_equal(answer.as_numpy("OUT"), NUMBERS):
                raise RuntimeError("another answer than the model's")

        return ask

    async with AsyncExitStack() as stack:
        all_of_them = []
        for _ in range(at_once):
            made = public.InferenceServerClient(address.removeprefix("http://"), **_OWN[protocol])
            stack.push_async_callback(made.close)
            all_of_them.append(asks(made))
        await _driven(all_of_them, count)


async def _driven(asks: Sequence[Ask], count: int) -> None:
    await _all(asks, max(len(asks), count // 10))
    began = time.perf_counter()
    times = await _all(asks, count)
    rate = count / (time.perf_counter() - began)
    print(json.dumps({"rate": rate, "p50_ms": statistics.median(times) * 1000}))


async def _all(asks: Sequence[Ask], count: int) -> list[float]:
    """Ask so often, each client one after another; return how long each took, in seconds."""
    times: list[float] = []
    left = iter(range(count))

    async def one_after_another(ask: Ask) -> None:
        for _ in left:
            began = time.perf_counter()
            await ask()
            times.append(time.perf_counter() - began)

    await asyncio.gather(*map(one_after_another, asks))
    return times


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
