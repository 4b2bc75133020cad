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
        sending = asyncio.run_coroutine_threadsafe(self._bury(dead), self._loop)
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
            for each in dead:
                origin = f"{self._topic}/{each.partition}/{each.offset}"
                if each.bad.at is not None:
                    origin += f"/{each.bad.at}"
                headers = [
                    (REASON, each.bad.reason.encode(errors="replace")),
                    (ORIGIN, origin.encode()),
                    (SIZE, str(len(each.bad.value)).encode()),
                ]
                value = each.bad.value[:VALUE_MAX]
                await self._producer.send_and_wait(
                    self._topic + SUFFIX, value, key=each.key, headers=headers
                )
