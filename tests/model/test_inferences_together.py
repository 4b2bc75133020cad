"""Inferences that one event tells together come to exactly what they come to one by one."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tollbook.recompute import Difference, Recomputation

from adapters.clock import TraceClock
from adapters.event_store.mapper import encode
from application.answers import Answer, result_of
from application.executor import Executor
from application.folded import FoldedLedger
from application.following import Followed
from application.fraud_watching import score
from application.jobs import Item, Job
from application.planning import make_plan
from application.world import World
from domain.commands import parse
from domain.event import Recorded
from domain.fraud_habit import Habit
from domain.inferences import LINES_MAX, apart
from tests.model.wire import SECOND, instant, written
from tests.support.memory_store import MemoryEventStore

NOON = instant("2026-03-10T12:00:00Z")
BOOK = {
    "currency": "USD",
    "effective_from": "2020-01-01T00:00:00.000000Z",
    "id": "default",
    "models": [{"name": "m", "prices": {"requests": "0.5", "pages": "0.25"}}],
}
FOLLOWED = Followed._fields
ORDINARY = {"stream_version", "position", "customer_sequence"}

Sent = tuple[str, dict[str, Any]]


def settled(reservation: str) -> Sent:
    """Settle for good."""
    return "settle", {"id": f"end-{reservation}", "reservation": reservation, "usage": {}}


def opening(inferences: int, paid: str = "9") -> list[Sent]:
    """Return what comes before: a customer with little money and credit, and what it holds."""
    return [
        ("publish_prices", {"id": f"default:{BOOK['effective_from']}", "book": BOOK}),
        ("create_customer", {"id": "acme", "name_sealed": "", "currency": "USD"}),
        ("change_customer", {"id": "terms", "customer": "acme", "credit_limit": "3"}),
        ("issue_grant", {"id": "paid", "customer": "acme", "amount": paid, "kind": "paid"}),
        (
            "issue_grant",
            {
                "id": "gift",
                "customer": "acme",
                "amount": "2",
                "kind": "promotional",
                "expires_at": written(NOON + 60 * SECOND),
            },
        ),
        *(
            (
                "reserve",
                {
                    "id": name,
                    "customer": "acme",
                    "model": "m",
                    "inferences": inferences,
                    "estimate": {"pages": 1},
                },
            )
            for name in ("one", "other")
        ),
    ]


def part(number: int, reservation: str = "one", source: str = "s", **more: Any) -> Sent:
    """Return a usage record of one inference."""
    usage = {"pages": number % 7}
    body = {"id": f"i-{number}", "source": source, "customer": "acme", "model": "m"}
    when = {"occurred_at": written(NOON + number * 1000), "final": False}
    return "usage", {**body, **when, "reservation": reservation, "usage": usage, **more}


def told(batches: Sequence[Sequence[Sent]]) -> tuple[MemoryEventStore, list[Answer]]:
    """Have each batch decided in one transaction; every audit must find it sound."""
    store = MemoryEventStore()
    executor = Executor(store, TraceClock(NOON))
    answers: list[Answer] = []
    for batch in batches:
        items = [Item(parse(kind, body), at=NOON + SECOND) for kind, body in batch]
        answers += executor.execute(items, timeout=None)
    executor.close()
    differences: list[Difference] = []
    recomputation = Recomputation(differences.append, whole=True)
    for each in events(store):
        recomputation.add((*each[:13], encode(each.event).decode()))
    recomputation.finish()
    assert differences == []
    assert dict(recomputation.customer_states()) == dict(folded(store).customer_states())
    assert dict(recomputation.reservation_states()) == dict(folded(store).reservation_states())
    return store, answers


def events(store: MemoryEventStore) -> list[Recorded]:
    """Return every event as it is read back."""
    return [each.recorded() for each in store.stored]


def folded(store: MemoryEventStore) -> FoldedLedger:
    """Fold every event."""
    ledger = FoldedLedger()
    for each in events(store):
        ledger.apply(each)
    return ledger


def lines(store: MemoryEventStore) -> list[int]:
    """Return of each event how many facts it tells, those before the parts left out."""
    return [len(apart(each)) for each in events(store)][len(opening(1)) :]


def said(answers: Sequence[Answer]) -> list[Any]:
    """Return what was answered, but for where it stands."""
    return [
        (each.id, each.code, each.repeated, result_of(each.recorded.event, each.currency))
        if each.recorded is not None and each.done
        else (each.id, each.code, each.repeated)
        for each in answers
    ]


def plain(store: MemoryEventStore) -> list[Any]:
    """Return the facts of a ledger one by one, without what says where they stand."""
    facts = (fact for each in events(store) for fact in apart(each))
    return [
        tuple(value for name, value in fact._asdict().items() if name not in ORDINARY)
        for fact in facts
    ]


def money(store: MemoryEventStore) -> list[Any]:
    """Return the folded balance of the customer without the numbers of its events."""
    balance = folded(store).balances["acme"]
    placed = {"sequence", "activity"}
    return [value for name, value in balance._asdict().items() if name not in placed]


def habits(store: MemoryEventStore) -> dict[str, Habit]:
    """Return what scoring keeps of the customer after all events."""
    found: dict[str, Habit] = {}
    score([Followed(*(getattr(each, name) for name in FOLLOWED)) for each in events(store)], found)
    return found


def test_parts_of_one_transaction_are_one_event() -> None:
    store, answers = told([opening(10), [part(number) for number in range(5)]])
    assert lines(store) == [5]
    assert [each.recorded.position for each in answers[-5:] if each.recorded] == [8] * 5
    assert store.taken([("usage", "s", f"i-{number}") for number in range(5)]) == {
        ("usage", "s", f"i-{number}"): 8 for number in range(5)
    }
    event = events(store)[-1]
    assert (event.command, event.occurred_at, event.stream_version) == ("i-0", NOON, 2)


def test_a_part_alone_is_an_event_as_ever() -> None:
    store, _ = told([opening(10), [part(0)], [part(1)]])
    assert lines(store) == [1, 1]
    assert [each.name for each in events(store)[-2:]] == ["reservation_settled"] * 2


def test_an_event_has_no_more_lines_than_a_proof_can_bear() -> None:
    store, _ = told([opening(500, "1000"), [part(number) for number in range(2 * LINES_MAX + 1)]])
    assert lines(store) == [LINES_MAX, LINES_MAX, 1]


def test_what_differs_beside_the_lines_is_told_by_another_event() -> None:
    grant = {"id": "more", "customer": "acme", "amount": "1", "kind": "paid"}
    batch = [
        *(part(0), part(1)),
        *(part(2, "other"), part(3, "other")),
        *(part(4), part(5, source="another")),
        *(part(6), ("issue_grant", grant), part(7)),
        ("settle", {"id": "by-hand", "reservation": "one", "usage": {}, "final": False}),
        *(part(8), part(9), part(10, final=True)),
    ]
    store, answers = told([opening(20), batch])
    assert all(each.done for each in answers)
    assert lines(store) == [2, 2, 1, 1, 1, 1, 1, 1, 2, 1]


def test_a_part_that_comes_again_gets_the_answer_of_its_line() -> None:
    parts = [part(number) for number in range(4)]
    store, answers = told([opening(10), parts, [parts[2]], [*parts, part(4)]])
    again = said(answers)
    assert again[-6] == (*again[-8][:2], True, again[-8][3])
    assert [each.repeated for each in answers[-5:]] == [True] * 4 + [False]
    assert lines(store) == [4, 1]
    other, reworded = told([opening(10), parts, [part(2, usage={"pages": 3})]])
    assert reworded[-1].code == "id_reused"
    assert lines(other) == [4]


def test_a_part_that_comes_twice_in_a_transaction_is_one_line() -> None:
    store, answers = told([opening(10), [part(0), part(1), part(1), part(0), part(2)]])
    assert [each.repeated for each in answers[-5:]] == [False, False, True, True, False]
    assert lines(store) == [3]


def test_a_group_that_fails_takes_its_lines_back_and_no_other() -> None:
    store, _ = told([opening(10)])
    jobs = [
        Job([Item(parse(*part(0)), at=NOON)]),
        Job([Item(parse(*each), at=NOON) for each in (part(1), part(2))], atomic=True),
        Job([Item(parse(*each), at=NOON) for each in (part(3), settled("lost"))], atomic=True),
        Job([Item(parse(*part(4)), at=NOON)]),
    ]
    plan = make_plan(World(store), store, {}, lambda: NOON, jobs, careful=False)
    assert [[each.code for each in job.answers()] for job in jobs] == [
        ["done"],
        ["done", "done"],
        ["aborted", "not_found"],
        ["done"],
    ]
    (event,) = plan.events
    assert [each.command for each in apart(event)] == ["i-0", "i-1", "i-2", "i-4"]
    store.append(plan.batch())
    assert World(store).balance("acme") == plan.draft.balance("acme")
    assert World(store).reservation("one") == plan.draft.reservation("one")


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["one", "one", "one", "other"]),
            st.sampled_from(["s", "s", "s", "t"]),
            st.dictionaries(st.sampled_from(["pages", "requests"]), st.integers(0, 12), max_size=2),
            st.sampled_from([False, False, False, False, True]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_together_and_one_by_one_come_to_the_same(
    drawn: list[tuple[str, str, dict[str, int], bool]],
) -> None:
    sent = [
        part(number, reservation, source, usage=usage, final=final)
        for number, (reservation, source, usage, final) in enumerate(drawn)
    ]
    one, first = told([opening(8), sent])
    other, second = told([opening(8), *([each] for each in sent)])
    assert said(first) == said(second)
    assert plain(one) == plain(other)
    assert money(one) == money(other)
    assert habits(one) == habits(other)
    assert len(one.stored) <= len(other.stored)


def test_another_writer_takes_the_lines_over_and_goes_on() -> None:
    store, _ = told([opening(20), [part(0)]])
    writers = [Executor(store, TraceClock(NOON)) for _ in range(2)]
    for writer in writers:  # each has the customer and the reservation in memory
        assert writer.one(parse(*part(0))).repeated
    for number in range(1, 9, 2):
        items = [Item(parse(*part(each)), at=NOON + SECOND) for each in (number, number + 1)]
        assert all(each.done for each in writers[number // 2 % 2].execute(items))
    for writer in writers:
        writer.close()
    assert lines(store) == [1, 2, 2, 2, 2]
    alone, _ = told([opening(20), *([part(number)] for number in range(9))])
    assert plain(store) == plain(alone)
