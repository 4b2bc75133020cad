"""Emergency: what the gateway does while its ledger does not answer.

A licence whose template says so goes on, with what the ledger said yes to lately, and with money
that it set aside before (docs/decisions/outage-policy.md). Everybody else is refused.
"""

import asyncio
import logging
import time
from functools import partial
from typing import Any

from tollbook.client.ids import new_id
from tollbook.errors import Refused, TollbookError, Unavailable, Unknown

from domain import allowances, meters
from domain.allowances import NoDraw
from domain.outcomes import Refusal, money
from domain.units import quantities_from_wire
from domain.values import SECOND
from entrypoints.gateway.admission import PREFIX, Admission, Admitted, Asked, Question
from entrypoints.gateway.allowing import Allowing
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.hearing import Hearing
from entrypoints.gateway.running import Running
from entrypoints.gateway.settling import Outcome, Teller
from entrypoints.gateway.slices import CLOSE_SECONDS, Slices
from entrypoints.gateway.standings import Heard, Slice, Standing

logger = logging.getLogger("tollbook.gateway")

PATIENCE_SECONDS = 0.8
"""So long a licence that has a slice waits for the ledger."""
_TEND_SECONDS = 1.0
_NOTHING = "nothing is set aside for this licence"
_LATE = "the ledger's answer came when its slice had paid already"


class Emergency:
    """Admits by the ledger, and from slices while it is away."""

    def __init__(
        self,
        config: GatewayConfig,
        admission: Admission,
        slices: Slices,
        teller: Teller,
        allowing: Allowing | None = None,
    ) -> None:
        """Begin without slices; where no template has a policy there never will be one.

        While the ledger answers, `allowing` admits, where there is one.
        """
        self.admission = admission
        self.allowing = allowing
        self._admit = (allowing or admission).admit
        self.slices = slices
        self._teller = teller
        self._outages = {each.template: each for each in config.outage}
        self._hearing = Hearing(admission.ledger_answers)
        self._late: set[asyncio.Task[Admitted]] = set()
        self._tending = asyncio.Lock()
        """Held while slices are opened and given back: what the ledger holds by then is known."""
        self._is_closed = False
        self.admitted = 0
        """How many inferences were admitted from slices."""

    @property
    def away(self) -> bool:
        """Say whether the ledger is known to be away."""
        return self._hearing.away

    async def admit(self, asked: Asked) -> Admitted:
        """Decide and hold, or draw; raises the refusal, or whatever else stands in the way."""
        if not self._outages:
            return await self._admit(asked)
        if self._hearing.away:
            return self._drawn(asked)
        began = time.monotonic_ns()
        try:
            admitted = await self._in_time(asked)
        except (Unavailable, Unknown) as error:
            if "pool" in error.facts:
                raise
            self._hearing.lost()
            if self._standing(asked) is None:
                raise
            return self._drawn(asked)
        except Refused as error:
            self._refused(asked, error)
            raise
        at = began if self.allowing is None else self.allowing.heard_at(admitted, began)
        self._heard(asked, Heard(admitted, at))
        return admitted

    async def keep(self) -> None:
        """Keep the slices, until cancelled or closed."""
        while self._outages and not self._is_closed:
            await asyncio.sleep(_TEND_SECONDS)
            if self._hearing.away:
                continue
            try:
                async with self._tending:
                    if not self._is_closed:
                        await self.slices.tend()
            except (Unavailable, Unknown):
                if not self._is_closed:
                    self._hearing.lost()
            except Exception:
                logger.exception("the emergency slices are not kept")

    @property
    def late(self) -> int:
        """How many answers of the ledger are waited for whose inferences slices have paid."""
        return len(self._late)

    def leave(self) -> None:
        """Set nothing aside any more."""
        self._is_closed = self.slices.is_leaving = True
        if self.allowing is not None:
            self.allowing.leave()

    async def close(self) -> None:
        """Give back what can be given back now, and what is just being set aside."""
        self.leave()
        was_away = self._hearing.away
        try:
            async with asyncio.timeout(CLOSE_SECONDS), self._tending:
                pass
        except TimeoutError:
            logger.warning("the ledger is slow: an emergency slice may stay until it expires")
        if self.slices.count and was_away:
            logger.warning("%d emergency slices stay until they expire", self.slices.count)
        elif self.slices.count:
            await self.slices.close()
        self._hearing.close()
        for task in self._late:
            task.cancel()

    def ended(self, running: Running, outcome: Outcome) -> None:
        """Tally an inference that a slice paid for, once its outcome is written down."""
        paid_by = running.admitted.slice
        if paid_by is not None and self.allowing is not None:
            self.allowing.ended(running.id, paid_by, parked="park" in outcome)
        own = self.slices.open.get(paid_by or "")
        drawn = None if own is None else own.draws.pop(running.id, None)
        if own is None or drawn is None:
            return
        cost = 0
        if "event" in outcome:
            usage = quantities_from_wire(outcome["event"]["data"]["usage"])
            model = running.admitted.meter.priced_as
            cost = allowances.used_cost(own.book, model, usage, own.opened_at, own.now())
        if "park" in outcome:
            own.is_parked = True
            cost = max(cost, drawn)
        own.allowance = allowances.tally(own.allowance, drawn, cost)

    async def _in_time(self, asked: Asked) -> Admitted:
        """Ask the ledger; with a slice at hand it is not waited for long."""
        standing = self._standing(asked)
        if standing is None or standing.slice is None:
            return await self._admit(asked)
        task = asyncio.create_task(self._admit(asked))
        try:
            done, _ = await asyncio.wait((task,), timeout=PATIENCE_SECONDS)
        except asyncio.CancelledError:
            self._leave(asked, task)
            raise
        if done:
            return task.result()
        self._leave(asked, task)
        raise Unavailable("the ledger did not answer in time")

    def _leave(self, asked: Asked, task: "asyncio.Task[Admitted]") -> None:
        """Wait for an answer that is late: what it holds is given back, and a no is a no."""
        self._late.add(task)
        task.add_done_callback(partial(self._came_late, asked))

    def _came_late(self, asked: Asked, task: "asyncio.Task[Admitted]") -> None:
        self._late.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            late = task.result()
            known = {"customer": late.customer}
            if late.slice is not None and self.allowing is not None:
                self.allowing.ended(late.id, late.slice, parked=False)
                known["slice"] = late.slice
            self._teller.tell(late.id, {"release": _LATE, **known})
        elif isinstance(error, Refused):
            self._refused(asked, error)

    def _refused(self, asked: Asked, error: Refused) -> None:
        """Forget what the ledger said yes to before, of a licence that it says no to."""
        question = self.admission.question(asked)
        if question is not None:
            self.slices.refused(question.opened.license, error.code)

    def _standing(self, asked: Asked) -> Standing | None:
        question = self.admission.question(asked)
        if question is None:
            return None
        return self.slices.standings.get((question.opened.license, asked.model))

    def _heard(self, asked: Asked, heard: Heard) -> None:
        """Remember a yes of the ledger, where the policy allows to go on by it."""
        outage = self._outages.get(heard.admitted.template)
        question = self.admission.question(asked)
        if question is None:
            return
        key = question.opened.license, asked.model
        if outage is None:
            self.slices.standings.pop(key, None)
            return
        standing = self.slices.standings.setdefault(key, Standing(outage))
        standing.outage = outage
        standing.hear(question, heard)

    def _drawn(self, asked: Asked) -> Admitted:
        """Admit an inference from its licence's slice; raises Unavailable, and says why not."""
        self.admission.meter(asked.model)
        question, standing = self.admission.question(asked), self._standing(asked)
        if question is None or standing is None:
            raise _away(_NOTHING, emergency="none")
        own, heard = _fresh(standing, question)
        now, longest = own.now(), heard.admitted.meter.seconds * SECOND
        cost = self._cost(own, heard, asked, now, now + longest)
        drawn = allowances.draw(own.allowance, cost, now, longest)
        if isinstance(drawn, NoDraw):
            raise _not_drawn(drawn, own)
        id, own.allowance = new_id(PREFIX), drawn
        own.draws[id] = cost
        own.ids.add(id)
        self.admitted += 1
        return heard.admitted._replace(
            id=id,
            decided_at=own.passed(),
            expires_at=drawn.expires_at,
            remaining=[],
            slice=drawn.reservation,
            is_emergency=True,
        )

    def _cost(self, own: Slice, heard: Heard, asked: Asked, start: int, end: int) -> int:
        meter = heard.admitted.meter
        estimate = meters.estimate(meter, asked.request)
        cost = allowances.estimated_cost(own.book, meter.priced_as, estimate, start, end)
        if isinstance(cost, Refusal):
            raise _away(cost.detail)
        return cost


def _fresh(standing: Standing, question: Question) -> tuple[Slice, Heard]:
    """Return the slice, and the yes that allows to draw from it."""
    heard, seconds = standing.heard.get(question), standing.outage.seconds
    if heard is None or heard.age() > seconds:
        told = f"it did not admit this licence in the last {seconds} s, as asked for now"
        raise _away(told, emergency="not_lately")
    if standing.slice is None:
        raise _away(_NOTHING, emergency="none")
    return standing.slice, heard


def _not_drawn(found: NoDraw, own: Slice) -> TollbookError:
    currency = own.book.currency
    told = {
        "spent": "what was set aside for this licence is spent",
        "ending": "what was set aside for this licence ends before the inference may",
    }[found.why]
    return _away(
        told,
        emergency=found.why,
        required=money(found.required, currency),
        available=money(found.left, currency),
    )


def _away(why: str, **facts: Any) -> TollbookError:
    return Unavailable(
        f"the ledger does not answer, and {why}: nothing was run, try later", **facts
    )
