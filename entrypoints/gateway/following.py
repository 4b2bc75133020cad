"""Following: what the ledger said since, so that what was set aside does not outlive its reasons.

The ledger is asked again and again for what is out of the ordinary. Whatever concerns a customer
fences all that was set aside for it before; what concerns nobody in particular fences everything.
Who has not heard the ledger lately may not go on by what it said (house rule 7).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from tollbook.errors import TollbookError

from adapters.event_store.news import News, news
from domain.slicing import ORDINARY
from entrypoints.http.readers import Reader, Readers

logger = logging.getLogger("tollbook.gateway")

EVERY_SECONDS = 0.2
HEARD_NS = 800_000_000
"""What the ledger said is good for so long after it was asked."""
CUSTOMERS_MAX = 100_000
LOOK_BACK = 50_000
"""So many events before the beginning are looked at."""
_NOWHERE = 2**62
"""Nothing comes after it: who asks for the first time wants to know where the ledger stands."""

Fenced = Callable[[], None]


class Following:
    """Knows up to which position each customer is fenced, and how late that knowledge is."""

    def __init__(
        self, ask: Callable[[int], Awaitable[News]], clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """Ask `ask` for what came after a position; nothing is heard before `run`."""
        self._ask = ask
        self._clock = clock
        self._position = _NOWHERE
        self._floor = 0
        """Everything up to this position is fenced."""
        self._customers: dict[str, int] = {}
        """Up to which position each is fenced, the oldest fence first."""
        self._told: tuple[int, int, int] | None = None
        """The database's time, and this process's just before and just after it was told."""
        self.is_on_time = False
        """Whether the ledger's time is the database's; a recorded trace's does not go on."""
        self.fenced: list[Fenced] = []
        """Called whenever there is a new fence."""

    @property
    def heard_at(self) -> int:
        """When the ledger was asked the question that it answered last, by this clock, in ns."""
        return 0 if self._told is None else self._told[1]

    def is_heard(self) -> bool:
        """Say whether what is known of the ledger is new enough to go on by it."""
        return self.is_on_time and self._clock() - self.heard_at < HEARD_NS

    def silence(self) -> float:
        """Return for how many seconds the ledger was not heard; from the beginning of all time."""
        return (self._clock() - self.heard_at) / 1e9

    def stands(self, customer: str, position: int) -> bool:
        """Say whether nothing is known to have happened that fences what was decided there."""
        return position > self._floor and position > self._customers.get(customer, 0)

    def latest(self) -> int:
        """Return the ledger's time or a little later, in microseconds: for what runs out."""
        assert self._told is not None
        return self._told[0] + (self._clock() - self._told[1]) // 1000

    def earliest(self) -> int:
        """Return the ledger's time or a little earlier: for what is recorded."""
        assert self._told is not None
        return self._told[0] + (self._clock() - self._told[2]) // 1000

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        was_heard = True
        while True:
            try:
                await self.step()
                was_heard = True
            except TollbookError as error:
                if was_heard:
                    logger.warning("the ledger is not heard: %s", error)
                was_heard = False
            except Exception:
                logger.exception("asking for what happened failed")
            await asyncio.sleep(EVERY_SECONDS)

    async def step(self) -> None:
        """Ask once; raises where there is no answer."""
        if self._position == _NOWHERE:
            # What others set aside just before this process began may stand as well.
            head = (await self._ask(_NOWHERE)).position
            self._position = self._floor = max(0, head - LOOK_BACK)
        before = self._clock()
        found = await self._ask(self._position)
        after = self._clock()
        if not found.is_whole:
            self._floor = found.position
            self._customers.clear()
        for position, customer in found.events:
            self._fence(position, customer)
        is_new = bool(found.events) or not found.is_whole
        self._position = found.position
        self._told = found.now, before, after
        self.is_on_time = found.clock == "database"
        for call in self.fenced if is_new else ():
            call()

    def _fence(self, position: int, customer: str | None) -> None:
        if customer is None:
            self._floor = max(self._floor, position)
            return
        self._customers.pop(customer, None)
        self._customers[customer] = position
        if len(self._customers) > CUSTOMERS_MAX:
            oldest = next(iter(self._customers))
            self._floor = max(self._floor, self._customers.pop(oldest))


def following(readers: Readers) -> Following:
    """Return what follows the ledger through readers that nobody else keeps busy."""

    def look(reader: Reader, position: int) -> News:
        return news(reader.run, position, ORDINARY)

    return Following(lambda position: readers.read(look, position))
