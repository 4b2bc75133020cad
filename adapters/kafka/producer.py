"""The producer: records that count as sent once every in-sync replica has them.

It connects when it is told to or first used, and again after whatever broke; who calls sends again
what was not acknowledged, and a reader that knows the ids passes over what comes twice.
"""

import asyncio
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from tollbook.errors import Unavailable

from adapters.kafka.access import PLAIN_TEXT, Access

RECORD_BYTES_MAX = 1_048_576
SECONDS = 20.0


class Producer:
    """Sends to one topic; made while the loop runs."""

    def __init__(self, address: str, topic: str, access: Access = PLAIN_TEXT) -> None:
        """Connect when the first record comes, unless `connect` is called before."""
        self._address, self._topic, self._access = address, topic, access
        self._producer: Any = None
        self._connecting = asyncio.Lock()

    async def send(self, key: str, value: bytes) -> None:
        """Return when the record is kept; raises Unavailable when that is not known."""
        producer: Any = None
        try:
            async with asyncio.timeout(SECONDS):
                producer = await self._connected()
                await producer.send_and_wait(self._topic, value, key=key.encode())
        except (KafkaError, TimeoutError, OSError) as error:
            await self._drop(producer)
            raise self._away(error) from None

    async def connect(self) -> None:
        """Connect before there is a record; raises Unavailable where that does not work."""
        try:
            async with asyncio.timeout(SECONDS):
                await self._connected()
        except (KafkaError, TimeoutError, OSError) as error:
            raise self._away(error) from None

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(f"Kafka at {self._address} does not answer: {error!r}")

    async def close(self) -> None:
        """Disconnect."""
        await self._drop(self._producer)

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._address,
                    acks="all",
                    enable_idempotence=True,
                    max_request_size=RECORD_BYTES_MAX,
                    # Less than we wait: cut in its midst, it leaves connections open.
                    request_timeout_ms=int(SECONDS * 500),
                    **self._access.options(),
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def _drop(self, producer: Any) -> None:
        """Let go of a connection, unless another has taken its place already."""
        if producer is None or producer is not self._producer:
            return
        self._producer = None
        try:
            async with asyncio.timeout(2):
                await producer.stop()
        except (KafkaError, TimeoutError, OSError):
            # Its stop waits for what cannot be sent any more: end what it has begun by hand.
            with suppress(asyncio.CancelledError, KafkaError, OSError):
                await producer._sender.close()  # noqa: SLF001 - there is no other way to it
            with suppress(KafkaError, OSError):
                await producer.client.close()
