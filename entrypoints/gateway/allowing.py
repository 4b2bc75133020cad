"""Allowing: admission from what was set aside before, without a round trip to the ledger (B5).

An inference whose question is asked often takes a place of a slice, which a reservation holds
already (docs/decisions/allowances.md). Whenever anything is not as it should be, the ledger decides
by itself, as it does without allowances.
"""

import logging
import time
from collections import Counter

from tollbook.client.ids import new_id
from tollbook.errors import Refused

from domain import meters
from domain.meters_format import Meter
from domain.slicing import fits
from domain.units import Quantities
from entrypoints.gateway.admission import PREFIX, Admission, Admitted, Asked, Question
from entrypoints.gateway.allowance_closing import Closer
from entrypoints.gateway.allowance_demand import REFUSED_SECONDS, Demand
from entrypoints.gateway.allowance_drawing import Drawer, Parts
from entrypoints.gateway.allowance_opening import Opener
from entrypoints.gateway.allowance_slices import Held
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.pausing import Pause

logger = logging.getLogger("tollbook.gateway")

DEMANDS_MAX = 10_000
"""So many questions are counted at a time."""
_TIGHT = frozenset({"insufficient_balance", "license_limit_reached", "usage_capped"})
"""What the ledger says when there is not enough: what is set aside may be what is missing."""


class Allowing:
    """Admits from slices where it can, and by the ledger where it cannot."""

    def __init__(
        self,
        config: GatewayConfig,
        admission: Admission,
        parts: Parts,
        opener: Opener,
        closer: Closer,
    ) -> None:
        """Begin without slices."""
        self.admission = admission
        self.following, self.link, self.holding = parts
        self._opener, self.closer = opener, closer
        self._hold_seconds = config.hold_seconds
        self._demands: dict[tuple[Question, str, tuple[str, ...]], Demand] = {}
        self._tight: dict[str, Pause] = {}
        """By customer: how long nothing is set aside after the ledger had not enough for them."""
        self.draws: Counter[str] = Counter()
        """How many inferences were admitted from slices, and why others were not."""
        self._drawer = Drawer(admission.readers, self._opener, parts, self.draws)
        self.following.fenced.append(self._fence)

    async def admit(self, asked: Asked) -> Admitted:
        """Take a place, or have the ledger decide; raises the refusal, or what is in the way."""
        question = self.admission.question(asked)
        if question is None:
            return await self.admission.admit(asked)
        meter = self.admission.meter(asked.model)
        estimate = meters.estimate(meter, asked.request)
        demand = self._demand(question, meter, estimate)
        admitted = await self._tried(demand, meter, estimate)
        if admitted is None:
            try:
                admitted = await self.admission.admit(asked)
            except Refused as error:
                self._refused(demand, error.code)
                raise
        demand.admitted(estimate, time.monotonic())
        self._opener.want(demand)
        return admitted

    def heard_at(self, admitted: Admitted, asked_at: int) -> int:
        """Return when the ledger was asked for what admitted an inference, in this clock's ns."""
        return asked_at if admitted.slice is None else self.following.heard_at

    def ended(self, id: str, reservation: str, *, parked: bool) -> None:
        """Take note that an inference is over, once its outcome is written down."""
        held = self.holding.open.get(reservation)
        if held is not None:
            held.end(id, parked=parked)

    def state(self) -> str:
        """Say in a word or two how it goes."""
        if self.link.is_away:
            return "redis away"
        return "on" if self.following.is_heard() else "ledger not heard"

    def leave(self) -> None:
        """Set nothing aside any more."""
        self._opener.is_leaving = True

    async def close(self) -> None:
        """Give back what can be given back now."""
        self.leave()
        await self._drawer.close()
        await self._opener.close()
        await self.closer.close()

    def _demand(self, question: Question, meter: Meter, estimate: Quantities) -> Demand:
        key = question, meter.priced_as, tuple(estimate)
        demand = self._demands.get(key)
        if demand is None:
            if len(self._demands) >= DEMANDS_MAX:
                self._forget_demands()
            pause = Pause(REFUSED_SECONDS, self._hold_seconds)
            tight = self._tight.setdefault(question.opened.customer, pause)
            demand = Demand(question, meter, list(estimate), self._hold_seconds, tight)
            self._demands[key] = demand
        return demand

    def _forget_demands(self) -> None:
        """Forget who is not busy; where everybody is, all are counted anew."""
        now = time.monotonic()
        busy = {key: each for key, each in self._demands.items() if each.is_busy(now)}
        self._demands = busy if len(busy) < DEMANDS_MAX // 2 else {}
        self._tight = {each.question.opened.customer: each.tight for each in self._demands.values()}

    async def _tried(self, demand: Demand, meter: Meter, estimate: Quantities) -> Admitted | None:
        """Take a place; where that fails in a way that nobody thought of, the ledger decides."""
        try:
            return await self._taken(demand, meter, estimate)
        except Exception:
            logger.exception("an allowance is not used")
            self.draws["failed"] += 1
            return None

    async def _taken(self, demand: Demand, meter: Meter, estimate: Quantities) -> Admitted | None:
        """Draw a place and take it, or count why not and return None."""
        held, now = demand.current, time.monotonic()
        if now < demand.ask_at or (held is None and not demand.is_busy(now)):
            return None
        if self.link.is_paused() or not self.following.is_heard():
            self.draws["away" if self.link.is_paused() else "unheard"] += 1
            return None
        if held is not None and not held.is_over and not fits(estimate, held.envelope):
            demand.misfit()
            self.draws["unfit"] += 1
            return None
        if held is None or not held.is_stocked():
            held = await self._drawer.drawn(demand, now)
        if held is None:
            return None
        held.stock -= 1
        self._drawer.restock(demand, held, now)
        return self._place(demand, held, meter, estimate)

    def _place(
        self, demand: Demand, held: Held, meter: Meter, estimate: Quantities
    ) -> Admitted | None:
        """Take a place that was drawn; nothing is awaited from here on."""
        pool = self.admission.pools.get(held.terms.pool)
        if pool is None or not self.following.is_heard():
            self.draws["nowhere" if pool is None else "unheard"] += 1
            return None
        if held.is_over or held.is_resting or not self._stands(held):
            self.draws["fenced"] += 1
            return None
        if self.following.latest() >= held.until or held.drawn >= held.places:
            held.leave()
            self.draws["ending"] += 1
            return None
        if not fits(estimate, held.envelope):
            held.stock += 1  # it is as good as any for who needs less
            demand.misfit()
            self.draws["unfit"] += 1
            return None
        self.draws["drawn"] += 1
        return held.admit(new_id(PREFIX), meter, pool, self.following.earliest())

    def _stands(self, held: Held) -> bool:
        return self.following.stands(held.customer, held.terms.position)

    def _refused(self, demand: Demand, code: str) -> None:
        """Draw no more by a yes that is no more; give back what may be what is missing."""
        customer, is_tight = demand.question.opened.customer, code in _TIGHT
        if is_tight:
            demand.tight.begin(time.monotonic())
            self.closer.hurry()
        for held in self.holding.open.values():
            if held is demand.current or (is_tight and held.customer == customer):
                held.is_over = True

    def _fence(self) -> None:
        """End all slices about whose customers there is news."""
        for held in self.holding.open.values():
            if not held.is_over and not self._stands(held):
                held.is_over = True
                if held.mine:
                    self.holding.ends["fenced"] += 1
        self.closer.hurry()
