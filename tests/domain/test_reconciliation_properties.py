"""Reconciliation of any counters with any ledger: nothing is lost, nobody hides beyond bounds."""

from hypothesis import assume, given
from hypothesis import strategies as st

from domain.reconciliation import BOUNDS, INSIDE, UNSEEN, Ended, Sold, reconciled
from domain.server_counters import Counted, Counters
from tests.domain.reconciling import FAILED, LEFT, LOST, PIPELINE, servers

ends = st.lists(
    st.builds(
        Ended,
        st.sampled_from(["text", "rag"]),
        st.sampled_from([INSIDE, UNSEEN, BOUNDS]),
        st.sampled_from(["charged", "released", "parked", "open"]),
        st.sampled_from([FAILED, LEFT, LOST, "the server never ran it", "for a friend", ""]),
        st.sampled_from(["", "refused", "untaken"]),
        st.integers(1, 9),
        st.integers(0, 99),
    ),
    max_size=8,
)
counters_of = st.builds(
    lambda ran, failed, hits, time, batches: Counters(ran + hits, failed, hits, time, batches),
    *[st.integers(0, 30)] * 5,
)
counteds = st.builds(
    lambda models: servers(PIPELINE, **models),
    st.dictionaries(st.sampled_from(["textgen", "pipeline", "retrieve", "other"]), counters_of),
)
BOTH = Sold({"text": ("textgen",), "rag": ("pipeline",)}, frozenset({"text", "rag"}))


@given(counteds, ends)
def test_every_gap_is_its_causes_and_what_is_unexplained(
    counted: Counted, ended: list[Ended]
) -> None:
    for line in reconciled(counted, ended, BOTH):
        assert line.gap == sum(part.number for part in line.parts) + line.unexplained
        assert all(part.low <= part.number <= part.high for part in line.parts)


@given(counteds, ends)
def test_nothing_is_unexplained_while_a_cause_can_still_take_it(
    counted: Counted, ended: list[Ended]
) -> None:
    for line in reconciled(counted, ended, BOTH):
        if line.unexplained > 0:
            assert all(part.number == part.high for part in line.parts)
        if line.unexplained < 0:
            assert all(part.number == part.low for part in line.parts)


@given(counteds, ends, st.integers(1, 50))
def test_whoever_asks_directly_beyond_every_bound_is_seen(
    counted: Counted, ended: list[Ended], more: int
) -> None:
    before = {line.served_as: line for line in reconciled(counted, ended, BOTH)}
    line = before.get(("textgen",))
    assume(line is None or line.unexplained >= 0)
    room = sum(part.high - part.number for part in line.parts) if line else 0
    known = counted.models.get("textgen", Counters())
    models = {**counted.models, "textgen": known.plus(Counters(room + more))}
    after = {
        found.served_as: found for found in reconciled(counted._replace(models=models), ended, BOTH)
    }[("textgen",)]
    assert after.unexplained == (line.unexplained if line else 0) + more
