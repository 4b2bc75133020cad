"""Emergency slices: ordinary reservations, made while the ledger answers, for when it does not.

Each licence that may go on in an outage has one for each model that it uses. It is kept alive while
it is used, and given back when it is not, when something was drawn from it, and at the end.
"""

import asyncio
import json
import logging
import time
from contextlib import suppress
from functools import partial
from typing import Any

from tollbook.client.ids import new_id
from tollbook.errors import Refused, TollbookError, Unavailable, Unknown

from application.answers import Answer
from application.jobs import Item
from application.loading import load_balance, load_book
from domain import allowances
from domain.allowances import Allowance
from domain.commands import parse
from domain.holds import TTL_MAX_SECONDS
from domain.outcomes import Refusal
from domain.pricebook import PriceBook
from domain.units import Quantities, quantities_to_wire
from domain.values import SECOND
from entrypoints.gateway.admission import Question
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.parkings import any_parked
from entrypoints.gateway.standings import Heard, Log, Slice, Standing
from entrypoints.http.readers import Reader, Readers
from entrypoints.http.submitting import Submitter

logger = logging.getLogger("tollbook.gateway")

PREFIX = "slice"
AT_ONCE = 64
CLOSE_SECONDS = 5.0


class Slices:
    """All slices of this process, and those that are on their way back."""

    def __init__(
        self, config: GatewayConfig, submitter: Submitter, readers: Readers, log: Log, actor: str
    ) -> None:
        """Hold nothing yet."""
        self._config = config
        self._submitter = submitter
        self._readers = readers
        self._log = log
        self._actor = actor
        self.standings: dict[tuple[str, str], Standing] = {}
        """By licence and model as clients call it."""
        self.open: dict[str, Slice] = {}
        """By reservation, those on their way back as well."""
        self.is_leaving = False
        """Whether the gateway stops: then none is set aside any more."""

    @property
    def count(self) -> int:
        """How many slices there are."""
        return len(self.open)

    async def tend(self) -> None:
        """Open, extend and give back what is due; raises Unavailable or Unknown."""
        works = [partial(self._tend, *each) for each in self.standings.items()]
        kept = {id(each.slice) for each in self.standings.values()}
        leaving = [each for each in self.open.values() if id(each) not in kept]
        works += [partial(self._give_back, each) for each in leaving if await self._is_done(each)]
        for start in range(0, len(works), AT_ONCE):
            some = [work() for work in works[start : start + AT_ONCE]]
            for done in await asyncio.gather(*some, return_exceptions=True):
                if isinstance(done, BaseException):
                    raise done

    def refused(self, license: str, code: str) -> None:
        """Take note that the ledger said no to a licence, for whatever model."""
        for meter in self._config.model:
            standing = self.standings.get((license, meter.name))
            if standing is not None:
                standing.forget(code)

    async def close(self) -> None:
        """Give back what can be: what cannot is given back by its expiry."""
        self.standings.clear()
        with suppress(TollbookError, TimeoutError):
            await asyncio.wait_for(self.tend(), CLOSE_SECONDS)
        if self.count:
            logger.warning("%d emergency slices stay until they expire", self.count)

    async def _tend(self, key: tuple[str, str], standing: Standing) -> None:
        if self.is_leaving:
            return
        newest = standing.last
        own = standing.slice
        if own is not None and own.ids:
            standing.slice = own = None  # something was drawn: it is settled, and made anew
        unused = standing.outage.seconds + self._config.hold_seconds
        if newest is None or newest[1].age() > unused:
            standing.slice = None
            if self.standings.get(key) is standing:
                del self.standings[key]
        elif own is None:
            if time.monotonic() >= standing.retry_at:
                await self._open(standing, *newest)
        elif own.allowance.expires_at - own.now() < self._due(standing, newest[1]):
            await self._extend(standing, own, newest[1])

    def _ttl(self, standing: Standing, heard: Heard) -> int:
        """Return for how many seconds a slice is held: draws, the longest inference, and time."""
        longest = heard.admitted.meter.seconds
        whole = standing.outage.seconds + longest + 2 * self._config.hold_seconds
        return min(whole, TTL_MAX_SECONDS)

    def _due(self, standing: Standing, heard: Heard) -> int:
        """Return with how much time left a slice is extended, in microseconds."""
        ttl = self._ttl(standing, heard)
        return max(ttl - self._config.hold_seconds, ttl // 2) * SECOND

    async def _open(self, standing: Standing, question: Question, heard: Heard) -> None:
        opened, meter = question.opened, heard.admitted.meter
        book = await self._readers.read(_book, opened.customer)
        asked_at, ttl = time.monotonic_ns(), self._ttl(standing, heard)
        start = heard.admitted.decided_at
        size = allowances.filling(
            book, meter.priced_as, standing.outage.amount, start, start + ttl * SECOND
        )
        if isinstance(size, Refusal):
            self._not_open(standing, opened.license, size.detail)
            return
        if self.is_leaving:
            return
        answer = await self._sent("reserve", self._reserve(question, heard, size, ttl))
        problem = answer.problem()
        if problem is not None or answer.recorded is None:
            if isinstance(problem, Refused):
                standing.forget(problem.code)
            self._not_open(standing, opened.license, problem)
            return
        held: Any = answer.recorded.event
        allowance = Allowance(answer.id, held.held, held.expires_at)
        own = Slice(allowance, book, answer.recorded.recorded_at, asked_at)
        self.open[answer.id] = standing.slice = own

    def _not_open(self, standing: Standing, license: str, why: object) -> None:
        """Try again later: each no of the ledger is written down."""
        logger.warning("no emergency slice of %s: %s", license, why)
        standing.retry_at = time.monotonic() + self._config.hold_seconds

    def _reserve(
        self, question: Question, heard: Heard, size: Quantities, ttl: int
    ) -> dict[str, Any]:
        opened, facts = question.opened, json.loads(question.facts)
        body = {
            "id": new_id(PREFIX),
            "customer": opened.customer,
            "model": heard.admitted.meter.priced_as,
            "estimate": quantities_to_wire(size),
            "ttl_seconds": ttl,
            "license": opened.license,
            "license_key": opened.key_hash,
        }
        return {**body, "facts": facts} if facts else body

    async def _extend(self, standing: Standing, own: Slice, heard: Heard) -> None:
        """Hold a slice for longer; one that the ledger does not extend is given back."""
        own.extensions += 1
        name = own.allowance.reservation
        body = {
            "id": f"{name}.{own.extensions}",
            "reservation": name,
            "ttl_seconds": self._ttl(standing, heard),
        }
        book = await self._readers.read(_book, heard.admitted.customer)
        answer = await self._sent("extend", body)
        problem = answer.problem()
        if problem is None and answer.recorded is not None:
            held: Any = answer.recorded.event
            own.book = book
            own.allowance = own.allowance._replace(amount=held.held, expires_at=held.expires_at)
            if held.expires_at - own.now() >= self._due(standing, heard):
                return
        elif isinstance(problem, Refused):
            standing.forget(problem.code)
        standing.slice = None

    async def _give_back(self, own: Slice) -> None:
        """Release a slice, or let it expire."""
        name = own.allowance.reservation
        if own.now() < own.allowance.expires_at and not own.is_parked:
            body = {"id": name, "reservation": name, "reason": "no outage needs it"}
            await self._sent("release", body)
        self.open.pop(name, None)

    async def _is_done(self, own: Slice) -> bool:
        """Say whether it is told what was drawn from it, and what of that the ledger parked."""
        if own.now() < own.allowance.expires_at:
            if not own.is_told(self._log):
                return False
            own.is_parked |= await any_parked(self._readers, self._config.source, own.ids)
        return True

    async def _sent(self, kind: str, body: dict[str, Any]) -> Answer:
        """Send a command; raises where the ledger does not answer."""
        (answer,) = await self._submitter.submit((Item(parse(kind, body), self._actor),))
        if answer.recorded is None and isinstance(answer.error, Unavailable | Unknown):
            raise answer.error
        return answer


def _book(reader: Reader, customer: str) -> PriceBook:
    """Return the customer's price book as it is now."""
    position = reader.store.head().position
    found = load_balance(reader.store, customer, position).customer
    assert found is not None
    return load_book(reader.store, found.price_book, position)
