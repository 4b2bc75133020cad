"""Clients over gRPC with every kind of request, good manners and bad ones."""

import asyncio
import json
from random import Random
from typing import Any

import grpc
from grpc._cython import cygrpc
from tritonclient.grpc import service_pb2 as pb

from adapters.triton.grpc_client import SERVICE
from entrypoints.gateway.core import REQUEST_ID
from tests.gateway.grpc_serving import add_number, metadata, request
from tests.gateway.mixed_prompts import Prompt, ids, prompt
from tests.gateway.mixed_seen import Seen, generated
from tests.gateway.rig import Licensee

SECONDS = 30
_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)

_BROKEN = (grpc.RpcError, asyncio.InvalidStateError, cygrpc.InternalError)
"""How a stream's end reaches who writes to it: its client looks for no end as it closes one."""


class MixedGrpc:
    """Asks by gRPC."""

    def __init__(self, address: str, seen: Seen, chance: Random) -> None:
        """Open one connection for all clients."""
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._infer = self._channel.unary_unary(f"/{SERVICE}/ModelInfer")
        self._stream = self._channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        self._seen = seen
        self._chance = chance

    async def close(self) -> None:
        """Disconnect."""
        await self._channel.close()

    async def texts(self, who: Licensee) -> None:
        """Ask a model of texts, one or several at once."""
        model = self._chance.choice(("textgen", "textgen", "textgen_cached", "pipeline"))
        asked = prompt(self._chance, model)
        made = _texts(asked, ids(self._chance))
        if self._chance.random() < 0.3 and model != "textgen_cached":
            made.outputs.add(name="OUT")
        await self._ask(who, f"grpc {model}", made, asked)

    async def others(self, who: Licensee) -> None:
        """Ask what is paid for by its size, or each time."""
        made = pb.ModelInferRequest(id=ids(self._chance))
        count = self._chance.randint(1, 5)
        kind = self._chance.choice(("image", "document", "identity"))
        made.model_name = kind
        if kind == "image":
            made.inputs.add(name="IMAGE", datatype="UINT8", shape=[count, 2, 2, 3])
            made.raw_input_contents.append(bytes(12 * count))
        elif kind == "document":
            tensor = made.inputs.add(name="PAGES", datatype="BYTES", shape=[count])
            tensor.contents.bytes_contents.extend([b"a page"] * count)
        else:
            made.inputs.add(name="IN", datatype="FP32", shape=[count])
            made.raw_input_contents.append(bytes(4 * count))
        await self._ask(who, f"grpc {kind}", made, None)

    async def failing(self, who: Licensee) -> None:
        """Ask for an error: of one request, or of a batch."""
        how = self._chance.choice(("FAIL", "crash", "boom"))
        asked = Prompt("textgen" if how == "boom" else "failing", ("boom a",), 3)
        if how == "crash":
            asked = asked._replace(texts=("crash",))
        made = _texts(asked, ids(self._chance))
        if how == "FAIL":
            made.inputs.add(name="FAIL", datatype="BOOL", shape=[1, 1])
            made.raw_input_contents.append(b"\1")
        await self._ask(who, "fails: grpc", made, asked)

    async def hurried(self, who: Licensee) -> None:
        """Ask for what takes longer than one waits: the first time surely, and then mostly."""
        is_first = not self._seen.kinds["hurried: grpc"]
        asked = Prompt("slow", ("a b",), 2)
        made = _texts(asked, ids(self._chance))
        add_number(made, "DELAY_MS", 20)
        seconds = self._chance.uniform(0.005, 0.01 if is_first else 0.06)
        await self._ask(who, "hurried: grpc", made, asked, seconds)

    async def _ask(
        self, who: Licensee, kind: str, made: Any, asked: Prompt | None, seconds: float = SECONDS
    ) -> None:
        self._seen.kinds[kind] += 1
        call = self._infer(
            made.SerializeToString(), metadata=metadata(who.headers), timeout=seconds
        )
        try:
            answer = pb.ModelInferResponse.FromString(await call)
        except grpc.RpcError as error:
            self._seen.error(kind, error.details())
            return
        trailing = dict(await call.trailing_metadata())
        id = str(trailing[REQUEST_ID])
        self._seen.answer(answer.id, made.id)
        if asked is not None:
            outputs = _outputs(answer)
            self._seen.answer(_strings(outputs["OUT"]), asked.answers())
            if made.outputs:
                self._seen.answer(list(outputs), [each.name for each in made.outputs])
            else:
                original = _strings(outputs["REQUEST_ID"])[0]
                if original != id:
                    self._seen.cached[id] = original
        assert json.loads(trailing["tollbook-usage"])
        self._seen.right.add(id)

    async def streams(self, who: Licensee, *, leaves: bool = False) -> None:
        """Ask for streams, several on one, some of which break."""
        asked = [prompt(self._chance, "textgen_stream") for _ in range(self._chance.randint(1, 3))]
        kind = "left: grpc stream" if leaves else "grpc stream"
        self._seen.kinds[kind] += len(asked)
        call = self._stream(metadata=metadata(who.headers), timeout=SECONDS)
        stay = self._chance.randint(0, 6) if leaves else 1_000_000
        try:
            for number, each in enumerate(asked):
                made = request("textgen_stream", each.texts[0], id=f"s-{number}")
                add_number(made, "MAX_TOKENS", each.limit, batched=False)
                add_number(made, "DELAY_MS", 4 if leaves else 0, batched=False)
                await call.write(made.SerializeToString())
            await call.done_writing()
            await self._read(kind, call, asked, stay)
        except _BROKEN as error:
            said = error.details() if isinstance(error, grpc.RpcError) else error
            self._seen.error(kind, said)
        finally:
            call.cancel()

    async def _read(self, kind: str, call: Any, asked: list[Prompt], stay: int) -> None:
        words: list[list[str]] = [[] for _ in asked]
        inferences = [""] * len(asked)
        broken: set[int] = set()
        while stay > 0 and (data := await call.read()) is not grpc.aio.EOF:
            message = pb.ModelStreamInferResponse.FromString(data)
            number = int(message.infer_response.id.removeprefix("s-"))
            if message.error_message:
                self._seen.error(kind, message.error_message)
                broken.add(number)
                continue
            outputs = _outputs(message.infer_response)
            (id,) = _strings(outputs["REQUEST_ID"])
            words[number] += _strings(outputs["OUT"])
            inferences[number] = id
            self._seen.words[id] += 1
            stay -= 1
        ended = stay > 0 and await call.code() is grpc.StatusCode.OK
        for number, each in enumerate(asked):
            whole = generated(each.texts[0], each.limit)
            self._seen.answer(words[number], whole[: len(words[number])])
            if ended and number not in broken:
                self._seen.answer(words[number], whole)
                self._seen.right.add(inferences[number])


def _texts(asked: Prompt, id: str) -> Any:
    made = pb.ModelInferRequest(model_name=asked.model, id=id)
    shape = [len(asked.texts), 1]
    packed = [each.encode() for each in asked.texts]
    made.inputs.add(name="TEXT", datatype="BYTES", shape=shape)
    made.raw_input_contents.append(
        b"".join(len(each).to_bytes(4, "little") + each for each in packed)
    )
    made.inputs.add(name="MAX_TOKENS", datatype="INT32", shape=shape)
    made.raw_input_contents.append(asked.limit.to_bytes(4, "little") * len(packed))
    return made


def _outputs(answer: Any) -> dict[str, bytes]:
    names = [each.name for each in answer.outputs]
    return dict(zip(names, answer.raw_output_contents, strict=True))


def _strings(packed: bytes) -> list[str]:
    found, at = [], 0
    while at < len(packed):
        end = at + 4 + int.from_bytes(packed[at : at + 4], "little")
        found.append(packed[at + 4 : end].decode())
        at = end
    return found
