"""Server counters: what was counted over a series of samples, whatever restarts lie between."""

from itertools import accumulate

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.server_counters import NONE, Counters, Key, Sample, counted

A, B = ("a", "1"), ("b", "1")


def sample(at: int, counters: dict[Key, Counters] | None, server: str = "s") -> Sample:
    """Return a sample of one server, taken while nothing happened in the ledger."""
    servers = {} if counters is None else {server: counters}
    return Sample(at, at * 10, at * 10, servers, {})


def ran(*successes: int) -> list[Sample]:
    return [sample(at, {A: Counters(each)}) for at, each in enumerate(successes)]


def test_what_was_counted_before_the_first_sample_does_not_count() -> None:
    found = counted(ran(100, 107, 112))
    assert found.models == {"a": Counters(12)}
    assert (found.unseen, found.restarts, found.doubt) == ((), 0, {})


def test_a_counter_that_fell_began_anew_and_counts_from_nothing() -> None:
    found = counted(ran(100, 107, 3, 5))
    assert found.models == {"a": Counters(7 + 3 + 2)}
    assert found.unseen == ((10, 20),)
    assert found.restarts == 1


def test_a_restart_begins_every_model_anew_though_only_one_shows_it() -> None:
    before, after = {A: Counters(9), B: Counters(2)}, {A: Counters(4), B: Counters(5)}
    found = counted([sample(0, before), sample(1, after)])
    assert found.models == {"a": Counters(4), "b": Counters(5)}
    assert found.doubt == {"b": 2}


def test_a_counter_that_stood_still_tells_that_only_another_model_was_loaded_again() -> None:
    idle = ("idle", "1")
    before = {A: Counters(9), B: Counters(2), idle: Counters(1)}
    after = {A: Counters(4), B: Counters(5), idle: Counters(1)}
    found = counted([sample(0, before), sample(1, after)])
    assert found.models == {"a": Counters(4), "b": Counters(3), "idle": NONE}
    assert found.doubt == {}
    assert found.restarts == 1


def test_a_model_that_is_gone_took_its_count_with_it() -> None:
    found = counted([sample(0, {A: Counters(9)}), sample(1, {})])
    assert found.models == {}
    assert found.unseen == ((0, 10),)


def test_versions_and_servers_are_added_up() -> None:
    first = Sample(0, 0, 0, {"s": {A: Counters(1)}, "t": {A: Counters(5)}}, {})
    new = {A: Counters(2), ("a", "2"): Counters(3)}
    last = Sample(1, 1, 1, {"s": new, "t": {A: Counters(9)}}, {})
    assert counted([first, last]).models == {"a": Counters(1 + 3 + 4)}


def test_a_server_that_does_not_answer_is_unseen_until_it_does() -> None:
    gone = counted([sample(0, {A: Counters(1)}), sample(1, {A: Counters(4)}), sample(2, None)])
    assert gone.models == {"a": Counters(3)}
    assert gone.unseen == ((10, 20),)
    late = counted([sample(0, None), sample(1, {A: Counters(4)}), sample(2, {A: Counters(9)})])
    assert late.models == {"a": Counters(5)}
    assert late.unseen == ((0, 10),)
    between = [sample(0, {A: Counters(1)}), sample(1, None), sample(2, {A: Counters(4)})]
    assert counted(between).models == {"a": Counters(3)}
    assert counted(between).unseen == ()


@pytest.mark.parametrize("place", range(5))
def test_any_counter_that_falls_shows_a_restart(place: int) -> None:
    before = Counters(5, 5, 5, 5, 5)
    after = Counters(*(4 if at == place else 9 for at in range(5)))
    assert counted([sample(0, {A: before}), sample(1, {A: after})]).restarts == 1


counts = st.lists(st.builds(Counters, *[st.integers(0, 50)] * 5), min_size=2, max_size=8)


@given(counts)
def test_without_restarts_the_sum_is_what_came_after_the_first(pieces: list[Counters]) -> None:
    whole = list(accumulate(pieces, Counters.plus))
    found = counted([sample(at, {A: each}) for at, each in enumerate(whole)])
    assert found.models.get("a", NONE) == whole[-1].minus(whole[0])
    assert not found.restarts


@given(counts, st.sets(st.integers(1, 7)))
def test_a_server_of_one_model_loses_nothing_by_restarts_right_after_samples(
    pieces: list[Counters], restarts: set[int]
) -> None:
    standing, series = NONE, []
    for at, piece in enumerate(pieces):
        began = NONE if at in restarts else standing
        standing = began.plus(piece)
        series.append(standing)
    found = counted([sample(at, {A: each}) for at, each in enumerate(series)])
    # A restart that more work than ever before has hidden is not seen.
    pairs = [(at, series[at - 1], series[at]) for at in restarts if at < len(series)]
    assume(all(after.fell_behind(before) or before == NONE for _, before, after in pairs))
    whole = NONE
    for piece in pieces[1:]:
        whole = whole.plus(piece)
    assert found.models.get("a", NONE) == whole
