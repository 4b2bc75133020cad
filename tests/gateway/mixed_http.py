"""Clients over HTTP with every kind of request, good manners and bad ones."""

import asyncio
import json
from random import Random
from typing import Any

import aiohttp

from entrypoints.gateway.core import REQUEST_ID, USAGE
from tests.gateway.mixed_prompts import Prompt, ids, prompt
from tests.gateway.mixed_seen import Seen, generated
from tests.gateway.rig import Licensee

SECONDS = 30
_GONE = (aiohttp.ClientError, TimeoutError, OSError)


class MixedHttp:
    """Asks over HTTP."""

    def __init__(self, address: str, seen: Seen, chance: Random) -> None:
        """Open connections when they are needed."""
        self._root = f"http://{address}/v2/models"
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._seen = seen
        self._chance = chance

    async def close(self) -> None:
        """Disconnect."""
        await self._session.close()

    async def texts(self, who: Licensee) -> None:
        """Ask a model of texts by JSON, one or several at once."""
        model = self._chance.choice(("textgen", "textgen", "textgen_cached", "pipeline"))
        asked = prompt(self._chance, model)
        outputs = ["OUT"] if self._chance.random() < 0.3 and model != "textgen_cached" else []
        body = _document(asked, ids(self._chance), outputs)
        answer = await self._ask(who, f"http {model}", f"{model}/infer", body)
        if answer is not None:
            id, told = answer
            self._seen.answer(told.get("id", ""), body.get("id", ""))
            found = {each["name"]: each["data"] for each in told["outputs"]}
            self._seen.answer(found["OUT"], asked.answers())
            if outputs:
                self._seen.answer(list(found), outputs)
            elif found["REQUEST_ID"][0] != id:
                self._seen.cached[id] = found["REQUEST_ID"][0]

    async def others(self, who: Licensee) -> None:
        """Ask what is paid for by its size, in binary or JSON."""
        count = self._chance.randint(1, 5)
        if self._chance.random() < 0.5:
            size = {"binary_data_size": 12 * count}
            given = {"name": "IMAGE", "shape": [count, 2, 2, 3], "datatype": "UINT8"}
            head = json.dumps({"inputs": [{**given, "parameters": size}]}).encode()
            body: Any = head + bytes(12 * count)
            more = {"Inference-Header-Content-Length": str(len(head))}
            await self._ask(who, "http image", "image/infer", body, headers=more)
            return
        pages = ["a page"] * count
        given = {"name": "PAGES", "shape": [count], "datatype": "BYTES", "data": pages}
        await self._ask(who, "http document", "document/infer", {"inputs": [given]})

    async def generate(self, who: Licensee) -> None:
        """Ask by `generate`."""
        asked = prompt(self._chance, "textgen")
        body = {"TEXT": asked.texts[0], "MAX_TOKENS": asked.limit}
        answer = await self._ask(who, "http generate", "textgen/generate", body)
        if answer is not None:
            self._seen.answer(answer[1]["OUT"], asked.answers()[0])

    async def failing(self, who: Licensee) -> None:
        """Ask for an error."""
        asked = Prompt("textgen", ("boom a",), 3)
        await self._ask(who, "fails: http", "textgen/infer", _document(asked, "mine", []))

    async def hurried(self, who: Licensee) -> None:
        """Ask for what takes longer than one waits: the first time surely, and then mostly."""
        is_first = not self._seen.kinds["hurried: http"]
        body = {"TEXT": "a b", "DELAY_MS": 20}
        seconds = self._chance.uniform(0.005, 0.01 if is_first else 0.06)
        await self._ask(who, "hurried: http", "slow/generate", body, seconds)

    async def _ask(
        self,
        who: Licensee,
        kind: str,
        path: str,
        body: Any,
        seconds: float = SECONDS,
        headers: dict[str, str] | None = None,
    ) -> tuple[str, Any] | None:
        self._seen.kinds[kind] += 1
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            async with self._session.post(
                f"{self._root}/{path}",
                data=data,
                headers={**who.headers, **(headers or {})},
                timeout=aiohttp.ClientTimeout(seconds),
            ) as answer:
                content = await answer.read()
        except _GONE as error:
            self._seen.error(kind, type(error).__name__)
            return None
        if answer.status != 200:
            self._seen.error(kind, content[:100].decode())
            return None
        assert json.loads(answer.headers[USAGE])
        self._seen.right.add(answer.headers[REQUEST_ID])
        return answer.headers[REQUEST_ID], json.loads(content)

    async def streams(self, who: Licensee, *, leaves: bool = False) -> None:
        """Ask for a stream by `generate_stream`, which may break."""
        asked = prompt(self._chance, "textgen_stream")
        kind = "left: http stream" if leaves else "http stream"
        self._seen.kinds[kind] += 1
        body = {"TEXT": asked.texts[0], "MAX_TOKENS": asked.limit, "DELAY_MS": 4 if leaves else 0}
        stay = self._chance.randint(0, 6) if leaves else 1_000_000
        try:
            async with self._session.post(
                f"{self._root}/textgen_stream/generate_stream",
                json=body,
                headers=who.headers,
                timeout=aiohttp.ClientTimeout(SECONDS),
            ) as answer:
                if answer.status != 200:
                    self._seen.error(kind, (await answer.read())[:100].decode())
                    return
                await self._read(kind, answer, asked, stay)
                if leaves:
                    answer.close()
        except _GONE as error:
            self._seen.error(kind, type(error).__name__)
        await asyncio.sleep(0)

    async def _read(self, kind: str, answer: Any, asked: Prompt, stay: int) -> None:
        words: list[str] = []
        id, receipt = answer.headers[REQUEST_ID], False
        whole = generated(asked.texts[0], asked.limit)
        while stay > 0 and (line := await answer.content.readline()):
            receipt = receipt or line.startswith(b": tollbook-receipt ")
            if not line.startswith(b"data: "):
                continue
            message = json.loads(line.removeprefix(b"data: "))
            if "error" in message:
                self._seen.error(kind, message["error"])
                continue
            words.append(message["OUT"])
            self._seen.words[id] += 1
            stay -= 1
        self._seen.answer(words, whole[: len(words)])
        if receipt:
            self._seen.answer(words, whole)
            self._seen.right.add(id)


def _document(asked: Prompt, id: str, outputs: list[str]) -> dict[str, Any]:
    shape = [len(asked.texts), 1]
    limits = [asked.limit] * len(asked.texts)
    made: dict[str, Any] = {
        "inputs": [
            {"name": "TEXT", "shape": shape, "datatype": "BYTES", "data": list(asked.texts)},
            {"name": "MAX_TOKENS", "shape": shape, "datatype": "INT32", "data": limits},
        ]
    }
    if id:
        made["id"] = id
    if outputs:
        made["outputs"] = [{"name": name} for name in outputs]
    return made
