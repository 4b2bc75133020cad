"""The clients of a demo on a cluster: a way to ask for each kind of inference, at the gateway.

Where anything but the answer comes that was asked for, the demo ends: Unavailable says with what.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tollbook.errors import Unavailable
from tritonclient.grpc import service_pb2 as pb

from adapters.triton.grpc_client import ServerError, ServerLost, TritonGrpc
from adapters.triton.http_client import HttpClient
from adapters.triton.http_connections import HttpAnswer
from entrypoints.demo import kinds
from entrypoints.demo.kinds import Kind
from entrypoints.demo.requests import image_request, text_request
from entrypoints.gateway.asking import KEY_HEADER
from entrypoints.gateway.core import REQUEST_ID

SECONDS = 60.0
"""How long an answer may take."""

_DIFFERENT = 5
"""So many texts the cached model is asked for, again and again."""
_MESSAGE_BYTES = 1_048_576


class Asking:
    """Everybody who asks; used on one event loop."""

    def __init__(self, grpc: TritonGrpc, http: HttpClient) -> None:
        """Ask at the two fronts of a gateway."""
        self._grpc = grpc
        self._http = http
        self.answered_as: dict[str, str] = {}
        """By inference of the cached model the one whose answer it got, as its answer says."""
        self._ways: dict[Kind, Callable[[str, int], Awaitable[None]]] = {
            kinds.TEXT_GRPC: self._text_grpc,
            kinds.TEXT_HTTP: self._text_http,
            kinds.STREAM_GRPC: self._stream_grpc,
            kinds.STREAM_HTTP: self._stream_http,
            kinds.CACHED: self._cached,
            kinds.ENSEMBLE: self._ensemble,
            kinds.IMAGES: self._images,
            kinds.FAILING: self._failing,
        }

    async def ask(self, kind: Kind, key: str, number: int) -> None:
        """Have one inference of a kind run; its number makes it differ from others."""
        try:
            await self._ways[kind](key, number)
        except (ServerError, ServerLost) as error:
            raise Unavailable(f"{kind.told}: the gateway did not have it run: {error}") from None

    async def _text_grpc(self, key: str, number: int) -> None:
        await self._infer(key, text_request("textgen", _words(number), 3 + number % 9))

    async def _text_http(self, key: str, number: int) -> None:
        await self._generate(key, "textgen", _words(number), 3 + number % 9)

    async def _stream_grpc(self, key: str, number: int) -> None:
        request = text_request("textgen_stream", _words(number), 3 + number % 9, batched=False)
        stream = self._grpc.stream(request, SECONDS, ((KEY_HEADER, key),))
        while (data := await stream.read()) is not None:
            wrong = pb.ModelStreamInferResponse.FromString(data).error_message
            if wrong:
                raise Unavailable(f"a stream ended with an error: {wrong}")

    async def _stream_http(self, key: str, number: int) -> None:
        body = json.dumps({"TEXT": _words(number), "MAX_TOKENS": 3 + number % 9}).encode()
        path = "/v2/models/textgen_stream/generate_stream"
        came = b""
        async with self._http.stream(path, body, {KEY_HEADER: key}) as answer:
            while piece := await answer.piece():
                came += piece
        events = [line for line in came.split(b"\n") if line.startswith(b"data: ")]
        if answer.status != 200 or not events or any(b'"error"' in each for each in events):
            raise Unavailable(f"a stream ended with an error: {came[-500:].decode()}")

    async def _cached(self, key: str, number: int) -> None:
        text = f"the same words again {number % _DIFFERENT}"
        answer = await self._generate(key, "textgen_cached", text, 5)
        self.answered_as[answer.headers[REQUEST_ID]] = json.loads(answer.body)["REQUEST_ID"]

    async def _ensemble(self, key: str, number: int) -> None:
        await self._infer(key, text_request("pipeline", _words(number), 3 + number % 9))

    async def _images(self, key: str, number: int) -> None:
        await self._infer(key, image_request(1 + number % 4, number % 256))

    async def _failing(self, key: str, number: int) -> None:
        fails = number % 2 == 1
        await self._generate(key, "failing", _words(number), 2, fails=fails, FAIL=fails)

    async def _infer(self, key: str, request: bytes) -> None:
        await self._grpc.infer(request, SECONDS, ((KEY_HEADER, key),))

    async def _generate(
        self, key: str, model: str, text: str, limit: int, *, fails: bool = False, **more: Any
    ) -> HttpAnswer:
        """Ask by `generate`; an error has to come where one was asked for, and only there."""
        body = json.dumps({"TEXT": text, "MAX_TOKENS": limit, **more}).encode()
        headers: Mapping[str, str] = {KEY_HEADER: key}
        path = f"/v2/models/{model}/generate"
        answer = await self._http.ask("POST", path, body, headers, SECONDS)
        if (answer.status != 200) is not fails:
            said = answer.body[-500:].decode(errors="replace")
            raise Unavailable(f"{model} answered with status {answer.status}: {said}")
        return answer


async def ask_all(
    found: Mapping[str, str], keys: Mapping[Kind, str], each: int, advance: Callable[[int], None]
) -> dict[str, str]:
    """Ask so many times in every way, the ways side by side; return the cached ones' originals.

    `found` is where the gateway listens.
    """
    grpc = TritonGrpc(found["grpc"], _MESSAGE_BYTES)
    async with HttpClient(found["http"].removeprefix("http://"), _MESSAGE_BYTES) as http:
        asking = Asking(grpc, http)

        async def one_after_another(kind: Kind) -> None:
            for number in range(each):
                await asking.ask(kind, keys[kind], number)
                advance(1)

        try:
            await asyncio.gather(*(one_after_another(kind) for kind in keys))
        finally:
            await grpc.close()
    return asking.answered_as


def _words(number: int) -> str:
    """Return a text; its words are its tokens."""
    return "a word " * (1 + number % 7) + str(number)
