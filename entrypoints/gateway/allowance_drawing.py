"""Drawing: places of slices come to this gateway, each once, and some ahead of who needs them."""

import asyncio
import logging
import time
from collections import Counter
from typing import NamedTuple

from tollbook.errors import TollbookError

from adapters.redis.errors import RedisUnavailable
from application.allowing import Drawn
from domain.commands import parse
from entrypoints.gateway.allowance_demand import ASK_SECONDS, Demand
from entrypoints.gateway.allowance_link import Link
from entrypoints.gateway.allowance_opening import Opener
from entrypoints.gateway.allowance_slices import Held, Holding, read, terms_at
from entrypoints.gateway.following import Following
from entrypoints.http.readers import Readers

logger = logging.getLogger("tollbook.gateway")

MALFORMED_SECONDS = 1.0


class Parts(NamedTuple):
    """What everything about allowances has in common."""

    following: Following
    link: Link
    holding: Holding


class Drawer:
    """Draws places of whatever slice is handed out for a question now."""

    def __init__(self, readers: Readers, opener: Opener, parts: Parts, draws: Counter[str]) -> None:
        """Count in `draws` what came of it."""
        self._readers = readers
        self._opener = opener
        self._following, self._link, self._holding = parts
        self._draws = draws
        self._learning: dict[str, asyncio.Task[Held | None]] = {}
        self._ahead: set[asyncio.Task[None]] = set()

    async def drawn(self, demand: Demand, now: float) -> Held | None:
        """Draw a place and some ahead, into the stock of the slice that they are of."""
        before, count, ledger_now = demand.current, demand.count(now), self._following.latest()
        demand.is_drawing = True
        try:
            drawn = await self._link.ask(lambda it: it.draw(demand.digest, count, ledger_now))
        except RedisUnavailable:
            self._draws["away"] += 1
            return None
        finally:
            demand.is_drawing = False
        if not isinstance(drawn, Drawn):
            self._nothing(demand, before, drawn.why)
            return None
        held = self._holding.open.get(drawn.reservation)
        if held is None:
            held = await self._learned(demand, drawn.reservation)
        if held is not None:
            held.stock += drawn.count
            _follow_on(demand, held, drawn.left)
        return held

    def restock(self, demand: Demand, held: Held, now: float) -> None:
        """Draw more in the background when half of what was drawn ahead is used."""
        if demand.is_drawing or 2 * held.stock >= demand.ahead(now):
            return
        demand.is_drawing = True
        task = asyncio.create_task(self._restock(demand, now))
        self._ahead.add(task)
        task.add_done_callback(self._ahead.discard)

    async def close(self) -> None:
        """Wait until nothing is drawn any more."""
        while self._ahead:
            await asyncio.wait(self._ahead)

    async def _restock(self, demand: Demand, now: float) -> None:
        demand.is_drawing = False
        try:
            await self.drawn(demand, now)
        except Exception:
            logger.exception("nothing is drawn ahead")

    def _nothing(self, demand: Demand, before: Held | None, why: str) -> None:
        """Take note that there is nothing to draw, and whether there should have been.

        `before` was current when it was asked for: nothing is said of what came meanwhile.
        """
        self._draws[why] += 1
        if demand.current is not before:
            return
        demand.ask_at = time.monotonic() + ASK_SECONDS
        demand.is_lacking = True
        if before is None:
            return
        demand.current = None
        is_gone = before.is_over or before.is_left() or self._following.latest() >= before.until
        if why == "abandoned" or (why == "none" and not is_gone):
            self._abandon(before)
        before.leave()

    def _abandon(self, held: Held) -> None:
        """Leave a slice to its expiry: what handed it out has forgotten who drew from it."""
        if not held.is_abandoned:
            held.is_abandoned = True
            self._holding.ends["abandoned"] += held.mine
            logger.warning("what hands out %s has forgotten it", held.reservation)
            self._link.forgot.begin(time.monotonic())

    async def _learned(self, demand: Demand, reservation: str) -> Held | None:
        """Return a slice that another gateway has set aside, as the ledger tells it."""
        if reservation in self._holding.gone:
            return None
        task = self._learning.get(reservation)
        if task is None:
            task = asyncio.create_task(self._learn(demand, reservation))
            self._learning[reservation] = task
            task.add_done_callback(lambda _: self._learning.pop(reservation, None))
        return await asyncio.shield(task)

    async def _learn(self, demand: Demand, reservation: str) -> Held | None:
        command = parse("reserve", {"id": "any", **self._opener.question(demand), "estimate": {}})
        try:
            position = read(await self._link.ask(lambda it: it.terms(reservation)))
            terms = await self._readers.read(terms_at, position, reservation)
        except RedisUnavailable:
            return None
        except (TollbookError, ValueError) as error:
            logger.warning("what is said of %s cannot be read: %s", reservation, error)
            terms = None
        if terms is None or not terms.answers(command):
            self._draws["malformed"] += 1
            demand.ask_at = time.monotonic() + MALFORMED_SECONDS
            return None
        held = self._opener.held(terms, mine=False)
        held.is_over = not self._following.stands(held.customer, terms.position)
        self._holding.open[reservation] = held
        return held


def _follow_on(demand: Demand, held: Held, left: int) -> None:
    """Go on with the slice that is handed out now, and leave the one before."""
    demand.is_lacking = False
    held.left = min(held.left, left)
    held.drawn_ns = time.monotonic_ns()
    before = demand.current
    if before is held:
        return
    if before is not None and before.terms.position > held.terms.position:
        held.leave()  # an answer that was long on its way
        return
    if before is not None:
        before.leave()
    demand.current = held
