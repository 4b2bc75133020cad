"""Closing: a slice that is not drawn from any more goes back to its customer, once all is told.

Each gateway that drew from it tallies when the ledger knows what became of all that it drew; then
who set it aside releases it. Where that cannot be known, it is held until it expires.
"""

import asyncio
import logging
import time
from contextlib import suppress

from tollbook.errors import TollbookError

from adapters.redis.errors import RedisUnavailable
from application.jobs import Item
from domain.commands import parse
from entrypoints.gateway.admission import Admission
from entrypoints.gateway.allowance_link import Link
from entrypoints.gateway.allowance_slices import Held, Holding
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.following import Following
from entrypoints.gateway.parkings import any_parked
from entrypoints.gateway.standings import Log

logger = logging.getLogger("tollbook.gateway")

EVERY_SECONDS = 0.25
PAUSE_SECONDS = 0.05
"""Between two looks: each refusal for want of money hurries, and there may be many a second."""
AT_ONCE = 32
"""So many slices are brought further at a time, so that what goes back shares its commits."""
IDLE_NS = 1_000_000_000
"""Who drew nothing for so long asks whether others have gone on to the next slice."""
ALONE_NS = 2_000_000_000
"""What nobody else can draw from goes back when nothing was drawn for so long."""
LATE_NS = 5_000_000_000
CLOSE_SECONDS = 3.0
REASON = "what is left of an allowance"


class Closer:
    """Gives back what is left, at every gateway its part of the way."""

    def __init__(
        self,
        config: GatewayConfig,
        admission: Admission,
        following: Following,
        link: Link,
        holding: Holding,
        log: Log,
        *,
        alone: bool,
    ) -> None:
        """Look after what a gateway holds; `log` says what the ledger has not been told.

        Where it is `alone`, nobody else draws from its slices.
        """
        self._source = config.source
        self._readers, self._submitter = admission.readers, admission.submitter
        self._actor = admission.actor
        self._following = following
        self._link = link
        self._holding = holding
        self._log = log
        self._alone = alone
        self._more = asyncio.Event()
        self._turn, self._places = asyncio.Lock(), asyncio.Semaphore(AT_ONCE)

    def hurry(self) -> None:
        """Do not wait before the next look: something was fenced."""
        self._more.set()

    async def run(self) -> None:
        """Look after everything again and again, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._more.wait()
            except TimeoutError:
                pass
            self._more.clear()
            try:
                await self.tend()
            except RedisUnavailable:
                pass  # it is said where it is noticed; what is not done now is done later
            except Exception:
                logger.exception("what is left of allowances is not given back")
            await asyncio.sleep(PAUSE_SECONDS)

    async def tend(self) -> None:
        """Bring each slice one step further; raises where Redis does not answer."""
        if not self._following.heard_at:
            return
        async with self._turn:
            await self._end_what_is_over()
            due = [held for held in self._holding.open.values() if self._is_due(held)]
            if not self._following.is_heard():
                return
            ends = await asyncio.gather(*map(self._tended, due), return_exceptions=True)
        errors = [error for error in ends if error is not None]
        for error in errors[1:]:
            if not isinstance(error, RedisUnavailable):
                logger.error("a slice is not brought further", exc_info=error)
        if errors:
            raise errors[0]

    async def _end_what_is_over(self) -> None:
        """Have nothing drawn any more from what was left, is idle, or comes to its end."""
        now, ended = self._following.latest(), []
        for held in list(self._holding.open.values()):
            is_idle = self._alone and held.is_idle(ALONE_NS)
            if held.is_left() or is_idle or now >= held.until:
                held.is_over = True
            if held.is_parked:
                self._holding.keep(held)
            if now >= held.terms.held.expires_at:
                self._holding.drop(held, "expired")
                ended.append(held)
        self._holding.forget_gone(now)
        for held in ended if self._alone else ():
            await self._forgotten(held)

    def _is_due(self, held: Held) -> bool:
        """Say whether there is anything to be done for a slice."""
        is_idle = not held.mine and held.is_idle(IDLE_NS)
        waits = held.is_closed and not held.is_tallied and (held.under_way or held.is_parked)
        is_new = held.is_over or held.is_tallied or is_idle
        return is_new and not (waits or held.is_abandoned)

    async def _tended(self, held: Held) -> None:
        async with self._places:
            try:
                await self._tend(held)
            except TollbookError as error:
                logger.warning("%s is not given back yet: %s", held.reservation, error)

    async def close(self) -> None:
        """Give back what can be given back now; the rest goes back when it expires."""
        for held in self._holding.open.values():
            held.is_over = True
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while any(not held.is_abandoned for held in self._holding.open.values()):
                    with suppress(RedisUnavailable):
                        await self.tend()
                    await asyncio.sleep(PAUSE_SECONDS)
        if count := sum(held.mine for held in self._holding.open.values()):
            logger.warning("%d allowances stay until they expire", count)

    def late(self) -> int:
        """Return how many slices of ours wait for the tallies of others."""
        now = time.monotonic_ns()
        return sum(
            held.mine and held.is_tallied and now - held.tallied_ns > LATE_NS
            for held in self._holding.open.values()
        )

    async def _tend(self, held: Held) -> None:
        if held.is_over and not held.is_closed:
            await self._link.ask(lambda it: it.close_slice(held.reservation))
            held.is_closed = True
        if not held.is_tallied:
            await self._tally(held)
        if not held.is_tallied:
            return
        if not held.mine:
            self._holding.drop(held, "")
        elif await self._link.ask(lambda it: it.is_tallied(held.reservation)):
            name = held.reservation
            body = {"id": name, "reservation": name, "reason": REASON}
            command = parse("release", body)
            (answer,) = await self._submitter.submit((Item(command, self._actor),))
            if answer.recorded is None and answer.error is not None:
                raise answer.error
            self._holding.drop(held, "released")
            self._link.forgot.end()
            await self._forgotten(held)

    async def _forgotten(self, held: Held) -> None:
        """Have what handed it out know nothing of it any more."""
        await self._link.ask(lambda it: it.forget(held.reservation))

    async def _tally(self, held: Held) -> None:
        """Say that all is told, where it is, and nothing can come any more."""
        if not self._is_told(held) or self._link.is_paused():
            return
        held.is_resting = True
        try:
            held.is_parked = await any_parked(self._readers, self._source, held.told)
            if held.is_parked:
                return
            held.told.clear()
            held.is_tallied = await self._tallied(held)
        finally:
            held.is_resting = False
        if held.is_tallied:
            held.is_over = held.is_closed = True
            held.tallied_ns = time.monotonic_ns()

    async def _tallied(self, held: Held) -> bool:
        """Ask for the tally; where the answer is lost it may count, and so nothing is drawn."""
        try:
            return await self._link.ask(lambda it: it.tally(held.reservation))
        except BaseException:
            held.is_over = True
            raise

    def _is_told(self, held: Held) -> bool:
        """Say whether the ledger knows what became of everything that was drawn here.

        A parked inference never counts as told: the reservation has to stay for its release.
        """
        told = {id for id in held.ended if not self._log.is_open(id)}
        held.ended -= told
        held.told |= told
        return not (held.under_way or held.ended or held.is_parked)
