"""Moments: exactly when the requests in a bucket of a customer's activity occurred.

The state in memory counts them by the minute. Only where the fraud rule asks about a part of a
bucket are its events read, and what was read is kept, because the next question is likely to be
about the same bucket.
"""

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterable
from itertools import accumulate, chain

from application.ports import EventStore, HeadMovedError
from domain.activity import requests_of
from domain.balance import Balance
from domain.event import Recorded
from domain.events import ReservationSettled, UsageCharged
from domain.fraud import Crossing, Question, blocked, judge
from domain.guard_events import AccountBlocked
from domain.inferences import apart

BUCKETS_MAX = 64
"""How many buckets are kept; the others are read again when they are asked about."""

MOMENTS_MAX = 500_000
"""How much usage is kept in all, whatever the number of buckets."""

ALWAYS_KEPT = 4
"""So many buckets are kept however large they are: the rule asks about three of them at once."""

CHARGES = (ReservationSettled, UsageCharged)


class _Moments:
    """The stored usage of one bucket, in order of time."""

    __slots__ = ("_sums", "begun", "reached", "times", "units")

    def __init__(self, begun: int) -> None:
        """Start with nothing read after the customer's event number `begun`."""
        self.begun = self.reached = begun
        self.times: list[tuple[int, int]] = []
        """(instant, requests) in order."""
        self.units = 0
        self._sums: list[int] = []
        """The requests up to each of the times; made when they are asked for."""

    def add(self, recorded: Recorded) -> None:
        """Take a charge, whose number is not below any one before."""
        moment = recorded.occurred_at, _requests(recorded)
        insort(self.times, moment)
        self.units += moment[1]
        self._sums = []

    def after(self, edge: int) -> int:
        """Return the requests later than an instant."""
        if len(self._sums) < len(self.times):
            self._sums = list(accumulate(requests for _, requests in self.times))
        first = bisect_right(self.times, edge, key=lambda moment: moment[0])
        return self.units - self._sums[first - 1] if first else self.units


def _requests(recorded: Recorded) -> int:
    event = recorded.event
    assert isinstance(event, CHARGES)
    return requests_of(event.usage, event.is_inference)


class Moments:
    """Answers the fraud rule's questions from the store and from a batch that is being decided."""

    def __init__(self, store: EventStore) -> None:
        """Know nothing yet."""
        self._store = store
        self._known: OrderedDict[tuple[str, int, int], _Moments] = OrderedDict()

    def block_after(
        self, balance: Balance, charge: Recorded, batch: Iterable[Recorded], position: int
    ) -> AccountBlocked | None:
        """Return the block of an account that the last charge of a batch demands, if it does.

        The balance counts that charge already; the batch comes after a position.
        """
        at = charge.occurred_at
        name = charge.event.customer
        known: dict[int, int] = {}
        verdict = judge(balance, at, known)
        # One question at a time: the first answers mostly settle it, and the last costs most.
        while verdict is not None and not isinstance(verdict, Crossing):
            question = verdict[0]
            known[question.edge] = self.answer(name, question, position, batch)
            verdict = judge(balance, at, known)
        return None if verdict is None else blocked(name, at, verdict)

    def answer(
        self, customer: str, question: Question, position: int, batch: Iterable[Recorded]
    ) -> int:
        """Return how many requests of the question's bucket are at or before its edge.

        The bucket counts stored events up to a position, and the batch that comes after them.
        Raises HeadMovedError when these are not the ones that it counts: decide again.
        """
        last = question.bucket.last
        own = (recorded for recorded in batch if recorded.customer == customer)
        first = next(own, None)
        pending: list[Recorded] = []
        if first is not None and first.customer_sequence is not None:
            if first.customer_sequence <= last:  # the bucket counts some of the batch
                pending = [first, *own]
            last = min(last, first.customer_sequence - 1)
        stored = self._stored(customer, question, position, last)
        units, after = stored.units, stored.after(question.edge)
        for recorded in chain.from_iterable(map(apart, pending)):
            if _is_in(question, recorded):
                requests = _requests(recorded)
                units += requests
                after += requests if recorded.occurred_at > question.edge else 0
        if units != question.bucket.units:
            raise HeadMovedError
        return units - after

    def _stored(self, customer: str, question: Question, position: int, last: int) -> _Moments:
        """Return the stored events of a bucket, reading those that were not read before."""
        bucket = question.bucket
        key = customer, bucket.start, question.length
        known = self._known.pop(key, None)
        # A bucket that began with a batch may begin with another writer's events once that is lost.
        if known is None or known.begun != bucket.first - 1:
            known = _Moments(bucket.first - 1)
        if known.reached < last:
            for recorded in self._store.customer_events(customer, known.reached, position, last):
                known.reached = recorded.customer_sequence or known.reached
                for each in apart(recorded):
                    if _is_in(question, each):
                        known.add(each)
            self._make_room(len(known.times))
        self._known[key] = known
        if len(self._known) > BUCKETS_MAX:
            self._known.popitem(last=False)
        return known

    def _make_room(self, more: int) -> None:
        """Let go of the buckets that were asked about longest ago, when too much would be kept."""
        kept = more + sum(len(each.times) for each in self._known.values())
        while kept > MOMENTS_MAX and len(self._known) >= ALWAYS_KEPT:
            _, oldest = self._known.popitem(last=False)
            kept -= len(oldest.times)


def _is_in(question: Question, recorded: Recorded) -> bool:
    start = question.bucket.start
    inside = start <= recorded.occurred_at < start + question.length
    return inside and isinstance(recorded.event, CHARGES)
