"""Dead letters: what nobody can settle, kept on a topic of its own with the reason.

They are sent before the offsets move, so that none is lost; after a crash one may come twice, with
the same origin.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from tollbook.errors import Unavailable

from streams.settlement import Dead

SECONDS = 20.0
REASON, ORIGIN, SIZE = "tollbook-reason", "tollbook-origin", "tollbook-size"
VALUE_MAX = 500_000
"""So many bytes of a value are kept: a broker takes more of what is packed well."""
KEY_MAX = 100_000
"""So many bytes of a key: what is kept of both is to fit where a broker takes what it does."""
AT_ONCE = 100
"""So many are sent before the first is known to be kept, and have their time together."""
SUFFIX = ".dead-letters"

Options = Callable[[], Mapping[str, Any]]
"""Returns what aiokafka is told besides: secrets, which no document of settings then shows."""


class DeadLetters:
    """Sends to the dead letters of one topic; made while the loop runs, called from any thread."""

    def __init__(self, address: str, topic: str, options: Options = dict) -> None:
        """Connect when the first comes, as the options for aiokafka say."""
        self._address, self._topic, self._options = address, topic, options
        self._loop = asyncio.get_running_loop()
        self._producer: AIOKafkaProducer | None = None

    def bury(self, dead: Sequence[Dead]) -> None:
        """Return when every one is kept by all in-sync replicas; raises Unavailable."""
        for begin in range(0, len(dead), AT_ONCE):
            some = dead[begin : begin + AT_ONCE]
            sending = asyncio.run_coroutine_threadsafe(self._bury(some), self._loop)
            try:
                sending.result(SECONDS + 5)
            except (KafkaError, TimeoutError, OSError) as error:
                sending.cancel()
                raise Unavailable(f"dead letters are not kept: {error!r}") from None

    async def close(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def _bury(self, dead: Sequence[Dead]) -> None:
        async with asyncio.timeout(SECONDS):
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._address,
                    acks="all",
                    max_request_size=4_194_304,
                    **self._options(),
                )
                await producer.start()
                self._producer = producer
            kept = [await self._sent(self._producer, each) for each in dead]
            await asyncio.gather(*kept)

    async def _sent(self, producer: AIOKafkaProducer, dead: Dead) -> "asyncio.Future[Any]":
        """Send one, and return what tells that it is kept."""
        origin = f"{self._topic}/{dead.partition}/{dead.offset}"
        if dead.bad.at is not None:
            origin += f"/{dead.bad.at}"
        headers = [
            (REASON, dead.bad.reason.encode(errors="replace")),
            (ORIGIN, origin.encode()),
            (SIZE, str(len(dead.bad.value)).encode()),
        ]
        key = None if dead.key is None else dead.key[:KEY_MAX]
        value = dead.bad.value[:VALUE_MAX]
        sent: asyncio.Future[Any] = await producer.send(
            self._topic + SUFFIX, value, key=key, headers=headers
        )
        return sent
