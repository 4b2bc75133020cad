"""Demand: how often a question has its yes at this gateway lately, and what for."""

import hashlib
import json

from domain.meters_format import Meter
from domain.slicing import PLACES_MIN, larger, places, rounded
from domain.units import Quantities
from entrypoints.gateway.admission import Question
from entrypoints.gateway.allowance_slices import Held
from entrypoints.gateway.pausing import Pause

BUSY = 4
"""So many in a second, and something is set aside for those to come."""
MEMORY_SECONDS = 10
"""What an inference asked for counts for so long at least, and for twice that at most."""
ASK_SECONDS = 0.05
"""How long nothing is drawn after there was nothing to draw."""
AHEAD_MAX, AHEAD_RATE = 256, 10
"""At so many in a second one place is drawn ahead, and so many at most."""
AHEAD_SHARE = 8
"""One gateway draws no more ahead than this part of a slice, of which others may need places."""
PLACES_LEAST = 2
REFUSED_SECONDS = 1.0


class Demand:
    """One question: a licence, its key, facts, and a model; instants are seconds of one clock."""

    def __init__(
        self, question: Question, meter: Meter, units: list[str], hold: int, tight: Pause
    ) -> None:
        """Ask for these units; after a refusal wait for `hold` seconds at most.

        `tight` is its customer's: there may be just enough for who asks the ledger.
        """
        self.question = question
        self.meter = meter
        opened = question.opened
        told = (opened.license, opened.key_hash, question.facts, meter.priced_as, units)
        self.digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        self.current: Held | None = None
        self.is_lacking = False
        """Whether there was nothing to draw: another gateway may have set something aside."""
        self.is_opening = False
        self.is_drawing = False
        self.ask_at = 0.0
        """When a place may be asked for again."""
        self.refused = Pause(REFUSED_SECONDS, hold)
        """Each refusal of the ledger is an event."""
        self.tight = tight
        self._second = 0
        self._count = 0
        self._before = 0
        self._unfit = 0
        self._most: int | None = None
        self._since = 0.0
        self._estimate: Quantities = {}
        self._estimate_before: Quantities = {}

    def admitted(self, estimate: Quantities, now: float) -> None:
        """Take note of an inference that was admitted, whoever did."""
        self._turn(now)
        self._count += 1
        seen = self._estimate
        if seen != estimate:
            self._estimate = larger(seen, estimate)

    def _turn(self, now: float) -> None:
        second = int(now)
        if second == self._second:
            return
        self._before = self._count if second == self._second + 1 else 0
        self._second, self._count, self._unfit = second, 0, 0
        if now - self._since >= MEMORY_SECONDS:
            self._since = now
            self._estimate_before, self._estimate = self._estimate, {}

    def rate(self, now: float) -> int:
        """Return how many there were in the second before this one, or already in this one."""
        self._turn(now)
        return max(self._before, self._count)

    def is_busy(self, now: float) -> bool:
        """Say whether there are so many that more are to be expected."""
        return self.rate(now) >= BUSY

    def count(self, now: float) -> int:
        """Return how many places to draw: one, and some more where many are asked for."""
        return 1 if self.is_drawing else 1 + self.ahead(now)

    def ahead(self, now: float) -> int:
        """Return how many places are kept in stock; none of a slice that is not known yet."""
        held = self.current
        most = 0 if held is None else min(AHEAD_MAX, held.places // AHEAD_SHARE)
        return min(most, self.rate(now) // AHEAD_RATE)

    def misfit(self) -> None:
        """Take note of an inference that needs more than a place holds."""
        self._unfit += 1

    def is_due(self, now: float, ledger_now: int) -> bool:
        """Say whether the next slice is to be set aside."""
        if self.is_opening or not self.is_busy(now):
            return False
        if self.refused.is_on(now) or self.tight.is_on(now):
            return False
        held = self.current
        if held is None or held.is_over:
            return self.is_lacking
        if ledger_now >= held.renew_at or self._unfit >= BUSY:
            return True
        # Of several gateways one goes first: who set this one aside.
        return held.left * (4 if held.mine else 8) <= held.places

    def envelope(self) -> Quantities:
        """Return what each place is to hold."""
        return rounded(larger(self._estimate_before, self._estimate))

    def places(self, most: int, now: float) -> int:
        """Return how many places to set aside."""
        return places(self.rate(now), most if self._most is None else min(most, self._most))

    def was_refused(self, count: int, now: float) -> None:
        """Ask for half as many, a while later; for few again and again later still."""
        self._most = max(PLACES_LEAST, count // 2)
        if count > PLACES_MIN:
            self.refused.end()
        self.refused.begin(now)

    def was_granted(self, most: int) -> None:
        """Ask for more again."""
        self.refused.end()
        self.tight.end()
        self._unfit = 0
        self.is_lacking = False
        if self._most is not None:
            self._most = None if 2 * self._most >= most else 2 * self._most
