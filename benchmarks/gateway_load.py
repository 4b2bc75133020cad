"""Load on a Triton or the gateway in front of one, by the public client: a process of its own.

    python -m benchmarks.gateway_load PROTOCOL ADDRESS KEY REQUESTS AT_ONCE

It prints one JSON document: how many requests a second, and their median time in milliseconds.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import tritonclient.grpc.aio as grpcclient
import tritonclient.http.aio as httpclient
import uvloop

MODEL = "identity"
NUMBERS = np.arange(4, dtype=np.float32)
_MANY: dict[str, dict[str, int]] = {"grpc": {}, "http": {"conn_limit": 1_000}}

Ask = Callable[[], Awaitable[None]]


async def main(protocol: str, address: str, key: str, count: int, at_once: int) -> None:
    """Warm up with a tenth of the requests, then time them all."""
    headers = {} if key == "none" else {"tollbook-license-key": key}
    public: Any = grpcclient if protocol == "grpc" else httpclient
    client = public.InferenceServerClient(address.removeprefix("http://"), **_MANY[protocol])

    async def ask() -> None:
        tensor = public.InferInput("IN", [len(NUMBERS)], "FP32")
        tensor.set_data_from_numpy(NUMBERS)
        wanted = [public.InferRequestedOutput("OUT")]
        answer = await client.infer(MODEL, [tensor], outputs=wanted, headers=headers)
        if not np.array_equal(answer.as_numpy("OUT"), NUMBERS):
            raise RuntimeError("another answer than the model's")

    try:
        await _driven(ask, count, at_once)
    finally:
        await client.close()


async def _driven(ask: Ask, count: int, at_once: int) -> None:
    await _all(ask, max(at_once, count // 10), at_once)
    began = time.perf_counter()
    times = await _all(ask, count, at_once)
    rate = count / (time.perf_counter() - began)
    print(json.dumps({"rate": rate, "p50_ms": statistics.median(times) * 1000}))


async def _all(ask: Ask, count: int, at_once: int) -> list[float]:
    """Ask so often, so many at once; return how long each took, in seconds."""
    times: list[float] = []
    left = iter(range(count))

    async def one_after_another() -> None:
        for _ in left:
            began = time.perf_counter()
            await ask()
            times.append(time.perf_counter() - began)

    await asyncio.gather(*(one_after_another() for _ in range(at_once)))
    return times


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
