"""Resuming: Faust's consumer begins where the ledger says, not where Kafka thinks.

Faust commits offsets of its own, past failures and gaps (docs/decisions/stream.md); they are for
looking at alone. Every way in which it positions a partition goes through the one method here.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from faust import App
from faust.transport.drivers import TRANSPORTS, aiokafka
from faust.types import TP

SCHEME = "tollbook"
"""What a broker's URL begins with to be read so."""

TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"


class Starts(Protocol):
    """Says where to begin."""

    async def __call__(self, earliest: Mapping[TP, int]) -> Mapping[TP, int]:
        """Return the next offset of each partition, given the first one that is still there."""


class ResumingApp(App):
    """A Faust app whose partitions begin where `starts` says."""

    starts: Starts


class Consumer(aiokafka.Consumer):
    """Faust's consumer over aiokafka, with other beginnings."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Put every partition that was assigned where the ledger has it."""
        app: Any = self.app
        assigned = self.assignment()
        if not assigned:
            return {}
        found = await app.starts(await self.earliest_offsets(*assigned))
        await self.seek_wait(found)
        return dict(found)


class Transport(aiokafka.Transport):
    """Faust's transport over aiokafka, with that consumer."""

    Consumer: ClassVar[type[Any]] = Consumer
