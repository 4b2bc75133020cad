"""The order in which outcomes are told: what concerns one hold or one slice stays as it came."""

from collections import defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from entrypoints.gateway.settling import _side_by_side, told_of
from streams.runs import Told
from tests.gateway.test_settling import outcome

names = st.sampled_from(["a", "b", "c", "slice_1", "slice_2"])
slices = st.sampled_from([None, "slice_1", "slice_2", "a"])


@st.composite
def ends(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Make the end of an inference: charged or parked, in part of a slice or not, or released."""
    name = draw(names)
    kind = draw(st.sampled_from(["charge", "park", "release"]))
    if kind == "release":
        return name, {"release": "it failed", "customer": "ada"}
    found = outcome(name, draw(slices))
    return name, found | ({"park": "nobody knows"} if kind == "park" else {})


def hold_of(told: list[Told]) -> str:
    """Return the hold that an outcome changes."""
    found: Any = told[0].command
    return str(found.reservation)


@given(st.lists(ends(), max_size=12))
def test_the_outcomes_of_one_hold_are_told_in_the_order_in_which_they_came(
    given: list[tuple[str, dict[str, Any]]],
) -> None:
    came = [(name, told_of(name, found)) for name, found in given]
    told = _side_by_side(came)
    assert sorted(map(id, told)) == sorted(map(id, came))
    before, after = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
    for places, outcomes in ((before, came), (after, told)):
        for each in outcomes:
            places[hold_of(each[1])].append(id(each))
    assert before == after
