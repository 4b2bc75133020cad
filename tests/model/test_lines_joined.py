"""Lines are joined when somebody looks, whatever is taken back between them: no fact is changed."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from application import recording
from application.answers import Answer
from application.deciding import Plan
from application.jobs import Item, Job
from application.planning import make_plan
from application.ports import Key
from application.world import World
from domain.commands import ChargeUsage, parse
from domain.inferences import weight
from streams.runs import Told
from tests.model.test_inferences_together import (
    NOON,
    Sent,
    events,
    money,
    opening,
    part,
    plain,
    said,
    settled,
)
from tests.model.wire import SECOND
from tests.support.memory_store import MemoryEventStore


class Group(NamedTuple):
    """What one job has."""

    atomic: bool
    sent: list[Sent]


def too_dear(number: int) -> Sent:
    """Ask for more than the customer has: a refusal is recorded."""
    body = {"customer": "acme", "model": "m", "estimate": {"pages": 10**6}}
    return "reserve", {"id": f"dear-{number}", **body}


WHICH = st.integers(0, 40)
PARTS = st.builds(
    lambda number, reservation, source, pages, final: part(
        number, reservation, source, usage={"pages": pages}, final=final
    ),
    WHICH,
    st.sampled_from(["one", "one", "one", "one", "other", "lost"]),
    st.sampled_from(["s", "s", "s", "s", "t"]),
    st.integers(0, 1),
    st.sampled_from([False] * 19 + [True]),
)
SENT = st.one_of(
    PARTS, PARTS, PARTS, PARTS, st.builds(too_dear, WHICH), st.just(settled("nowhere"))
)
GROUPS = st.builds(Group, st.booleans(), st.lists(SENT, min_size=1, max_size=5))
BATCHES = st.lists(st.lists(GROUPS, min_size=1, max_size=6), min_size=1, max_size=3)


def item(sent: Sent, *, parks: bool) -> Item:
    """Return what is decided; a worker of the stream has it parked where it cannot be charged."""
    command = parse(*sent)
    records = (command,) if parks and isinstance(command, ChargeUsage) else ()
    made = Told(command, records).item("stream")
    return Item(command, "stream", at=NOON + SECOND, otherwise=made.otherwise)


def appended(
    store: MemoryEventStore, recent: dict[Key, int], batch: Sequence[Group]
) -> tuple[Plan, list[Answer]]:
    """Decide a batch in one transaction, by somebody who knows every id that is taken."""
    jobs = [
        Job([item(each, parks=not group.atomic) for each in group.sent], atomic=group.atomic)
        for group in batch
    ]
    plan = make_plan(World(store), store, recent, lambda: NOON, jobs, careful=False)
    store.append(plan.batch())
    recent.update(plan.ids)
    return plan, [each for job in jobs for each in job.answers()]


def decided(batches: Sequence[Sequence[Group]], most: int) -> tuple[MemoryEventStore, str]:
    """Decide batches, with so many lines in an event at most."""
    store = MemoryEventStore()
    recent: dict[Key, int] = {}
    answers: list[Answer] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "LINES_MAX", most)
        for batch in ([Group(False, [each]) for each in opening(40, "1000")], *batches):
            plan, answered = appended(store, recent, batch)
            answers += answered
            assert plan.events == events(store)[plan.base :]
            assert World(store).balance("acme") == plan.draft.balance("acme")
            for name in ("one", "other"):
                assert World(store).reservation(name) == plan.draft.reservation(name)
    return store, wherever(said(answers))


def wherever(told: object) -> str:
    """Write what is told without the positions that reasons name: joined events are fewer."""
    return re.sub(r"position \d+", "position", repr(told))


TAKEN_BACK = [
    Group(False, [part(1), part(2), part(3, "other"), part(4)]),
    Group(True, [part(5), settled("nowhere")]),
    Group(False, [part(6)]),
]
READ_AND_TAKEN_BACK = [
    Group(False, [part(1), part(2), part(1)]),
    Group(True, [part(5), settled("nowhere")]),
]
"""An id that is told again has the lines looked at, and so joined."""


@settings(max_examples=100, deadline=None)
@example([TAKEN_BACK], 50)
@example([READ_AND_TAKEN_BACK], 50)
@given(BATCHES, st.integers(2, 50))
def test_groups_that_fail_between_lines_change_no_fact(
    batches: list[list[Group]], most: int
) -> None:
    alone = [
        [part]
        for batch in batches
        for group in batch
        for part in ([group] if group.atomic else [Group(False, [each]) for each in group.sent])
    ]
    joined, answers = decided(batches, most)
    single, others = decided(alone, 1)
    assert answers == others
    assert wherever(plain(joined)) == wherever(plain(single))
    assert money(joined) == money(single)
    assert len(joined.stored) <= len(single.stored)
    assert all(weight(each.event) == 1 for each in events(single))
