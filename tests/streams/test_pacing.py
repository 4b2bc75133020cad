"""How much one transaction of the stream settles: what a machine does in an eighth of a second."""

from collections.abc import Sequence
from typing import Any

import pytest
from tollbook.errors import Unavailable

from application.answers import Answer
from application.jobs import Item, Job
from streams.ledger import OwnLedger
from streams.settlement import ITEMS_LEAST, ITEMS_MAX, SECONDS, Record, Settlement
from tests.streams.records import record, usage_event

EACH = 10
"""So many events are in each record."""
QUICK = SECONDS / ITEMS_MAX / 2
"""So long an event takes where the largest transaction takes half the time that it may."""


class Machine:
    """An executor that takes so long for each event, by a clock of its own."""

    def __init__(self, seconds: float) -> None:
        """Take so long."""
        self.seconds = seconds
        self.now = 0.0
        self.sizes: list[int] = []
        self.fails = False

    def begin(self, items: Sequence[Item], **more: Any) -> Job:
        """Take a job."""
        return Job(items, **more)

    def answers(self, job: Job) -> list[Answer]:
        """Do it, in its time."""
        self.now += self.seconds * len(job.items)
        self.sizes.append(len(job.items))
        if self.fails:
            raise Unavailable("too busy")
        done: Any = object()
        return [Answer(item.command.id, done) for item in job.items]


def told(count: int) -> list[Record]:
    """Return the first records of a partition."""
    return [record(at, *[usage_event(f"i-{at}-{n}") for n in range(EACH)]) for at in range(count)]


def worker_on(machine: Machine) -> Settlement:
    """Return a worker that has settled nothing yet."""
    asked = (OwnLedger(machine), "cluster", "topic", dict, lambda _: None, lambda: machine.now)
    worker = Settlement(*asked)
    worker.begin(0, 0)
    return worker


def test_transactions_grow_to_the_largest_on_a_machine_that_is_quick_enough() -> None:
    machine = Machine(SECONDS / 9)
    worker = worker_on(machine)
    worker.apply(told(400))
    machine.seconds = QUICK
    machine.sizes.clear()
    worker.begin(0, 0)
    worker.apply(told(400))
    assert (machine.sizes[0], max(machine.sizes)) == (ITEMS_LEAST, ITEMS_MAX)
    assert machine.sizes[:-1] == sorted(machine.sizes[:-1]), "step by step, and never back"
    assert sum(machine.sizes) == 400 * EACH


@pytest.mark.parametrize(("can_do", "size"), [(505, 500), (205, 200), (9, ITEMS_LEAST)])
def test_a_machine_that_becomes_busy_gets_smaller_ones(can_do: int, size: int) -> None:
    machine = Machine(QUICK)
    worker = worker_on(machine)
    worker.apply(told(600))
    machine.seconds = SECONDS / can_do
    machine.sizes.clear()
    worker.begin(0, 0)
    worker.apply(told(600))
    assert machine.sizes[0] == ITEMS_MAX
    assert set(machine.sizes[4:-1]) == {size}, "three were sent before the first was slow"
    assert sum(machine.sizes) == 600 * EACH


def test_what_failed_is_tried_again_in_smaller_pieces() -> None:
    machine = Machine(QUICK)
    worker = worker_on(machine)
    worker.apply(told(400))
    machine.fails = True
    for _ in range(3):
        worker.begin(0, 0)
        with pytest.raises(Unavailable):
            worker.apply(told(400))
    machine.fails = False
    machine.sizes.clear()
    worker.begin(0, 0)
    worker.apply(told(400))
    assert machine.sizes[0] == ITEMS_LEAST
    assert sum(machine.sizes) == 400 * EACH


def test_small_ones_do_not_make_larger_ones_smaller() -> None:
    machine = Machine(QUICK)
    worker = worker_on(machine)
    worker.apply(told(400))
    for at in range(400, 404):
        worker.apply([record(at, usage_event(f"i-{at}"))])
    machine.sizes.clear()
    worker.begin(0, 0)
    worker.apply(told(400))
    assert machine.sizes[0] >= 800
