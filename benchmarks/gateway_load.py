"""Load on a Triton or on the gateway in front of one, as a process of its own.

    python -m benchmarks.gateway_load PROTOCOL ADDRESS KEY REQUESTS AT_ONCE

It prints one JSON document: how many requests a second, and their median time in milliseconds.
"""

import asyncio
import json
import statistics
import struct
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import grpc
import uvloop
from tritonclient.grpc import service_pb2 as pb

MODEL = "identity"
NUMBERS = struct.pack("<4f", 1, 2, 3, 4)
INFER = "/inference.GRPCInferenceService/ModelInfer"

Ask = Callable[[], Awaitable[None]]


async def main(protocol: str, address: str, key: str, count: int, at_once: int) -> None:
    """Warm up with a tenth of the requests, then time them all."""
    headers = {} if key == "none" else {"tollbook-license-key": key}
    run = _over_grpc if protocol == "grpc" else _over_http
    await run(address, headers, count, at_once)


async def _over_grpc(address: str, headers: dict[str, str], count: int, at_once: int) -> None:
    request = pb.ModelInferRequest(model_name=MODEL, raw_input_contents=[NUMBERS])
    tensor = request.inputs.add()
    tensor.name, tensor.datatype, tensor.shape[:] = "IN", "FP32", [4]
    data, metadata = request.SerializeToString(), tuple(headers.items())
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(INFER, None, pb.ModelInferResponse.FromString)

        async def ask() -> None:
            answer = await call(data, metadata=metadata)
            if answer.raw_output_contents[0] != NUMBERS:
                raise RuntimeError("another answer than the model's")

        await _driven(ask, count, at_once)


async def _over_http(address: str, headers: dict[str, str], count: int, at_once: int) -> None:
    url = f"http://{address.removeprefix('http://')}/v2/models/{MODEL}/infer"
    size = {"binary_data_size": len(NUMBERS)}
    tensor = {"name": "IN", "datatype": "FP32", "shape": [4], "parameters": size}
    wanted = {"name": "OUT", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    sent = {**headers, "Inference-Header-Content-Length": str(len(head))}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask() -> None:
            async with session.post(url, data=head + NUMBERS, headers=sent) as answer:
                body = await answer.read()
            if answer.status != 200 or not body.endswith(NUMBERS):
                raise RuntimeError(f"{answer.status}: {body[:200]!r}")

        await _driven(ask, count, at_once)


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
