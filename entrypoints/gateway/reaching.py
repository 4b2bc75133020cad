"""Reaching Kafka: looked at from the start on, and told once when it is away and once when not.

A gateway serves without it, for a while: what it is to publish waits in the intent log. Whoever
looks at its log should know that, and for how long it may last.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Protocol

from tollbook.errors import Unavailable

from entrypoints.gateway.config import GatewayConfig

logger = logging.getLogger("tollbook.gateway")

AWAY_SECONDS = 3.0
"""So long Kafka may be away without a word."""

AGAIN_SECONDS = 300.0
"""So often it is told again: a record that is never taken would hide whatever comes after."""

_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Between the tries to connect while there is nothing to send; its client logs each that fails."""

_AT_THE_START = ""
"""What stands for the first connection among the customers whose records are not taken."""


class Producer(Protocol):
    """Sends records to Kafka."""

    async def connect(self) -> None:
        """Connect; raises Unavailable where that does not work."""

    async def send(self, key: str, value: bytes) -> None:
        """Return when a record is kept; raises Unavailable when that is not known."""


class Reaching:
    """Sends what it is given, and tells when that has not worked for a while."""

    def __init__(self, producer: Producer, address: str, config: GatewayConfig) -> None:
        """Know nothing of it yet: `begin` connects."""
        self._producer, self._address = producer, address
        self._unsettled, self._late = config.unsettled, config.hold_seconds / 2
        self._waiting: set[str] = set()
        """The customers whose last record was not taken; each is tried again until it is."""
        self._error = f"Kafka at {address} does not answer"
        self._timer: asyncio.TimerHandle | None = None
        self._was_told = False
        self._connecting: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Connect, now and until it works; on the running loop."""
        self._wait(_AT_THE_START)
        self._connecting = asyncio.create_task(self._connect())

    async def send(self, key: str, value: bytes) -> None:
        """Send a record as the producer does, and note whether it was taken."""
        try:
            await self._producer.send(key, value)
        except Unavailable as error:
            self._error = error.message
            self._wait(key)
            raise
        self._taken(key)

    async def close(self) -> None:
        """Look no more; the producer stays as it is."""
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting

    async def _connect(self) -> None:
        tries = 0
        while True:
            try:
                await self._producer.connect()
            except Unavailable as error:
                self._error = error.message
            except Exception:
                logger.exception("connecting to Kafka at %s failed", self._address)
            else:
                self._taken(_AT_THE_START)
                return
            await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1

    def _wait(self, key: str) -> None:
        self._waiting.add(key)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(AWAY_SECONDS, self._tell)

    def _tell(self) -> None:
        self._was_told = True
        self._timer = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._tell)
        logger.warning(
            "%s. Usage waits in the intent log until it does; nothing new is admitted once %d "
            "outcomes wait, or one for %g s",
            self._error,
            self._unsettled,
            self._late,
        )

    def _taken(self, key: str) -> None:
        self._waiting.discard(key)
        if self._waiting or self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        if self._was_told:
            self._was_told = False
            logger.warning("Kafka at %s answers now: what waited is published", self._address)
