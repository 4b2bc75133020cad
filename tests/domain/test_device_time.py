"""Device time: a batch's time is shared exactly, whatever is in the batch."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.device_time import (
    Batch,
    Trace,
    apportioned,
    batches,
    microseconds,
    never_began,
    shares,
    times,
)

ONE = ((1_000, 3_000_000),)


def trace(id: int, request: str | None = "r", **more: object) -> Trace:
    given = Trace(id, request, "textgen", 1, 0, ONE, answered=True)
    return given._replace(**more)  # type: ignore[arg-type]


instants = st.integers(0, 10**7)
spans = st.lists(
    st.tuples(instants, st.integers(0, 10**7)).map(lambda pair: (pair[0], sum(pair))),
    max_size=3,
).map(tuple)
few_spans = st.sampled_from([(), ((0, 10_000),), ((0, 999),), ((5, 505),), ((0, 10_000), (5, 505))])
traces = st.lists(
    st.builds(
        Trace,
        st.integers(1, 10**6),
        st.sampled_from([None, "a", "b", "c"]),
        st.sampled_from(["textgen", "image"]),
        st.sampled_from([1, 2]),
        instants,
        st.one_of(spans, few_spans),
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
    unique_by=lambda each: each.id,
)


@given(traces)
def test_the_shares_of_every_batch_add_up_to_its_time(found: list[Trace]) -> None:
    for batch, members in batches(found).items():
        given = shares(batch, members)
        assert sum(given.values()) == microseconds(batch)
        assert max(given.values()) - min(given.values()) <= 1


@given(traces)
def test_all_requests_together_have_the_time_of_all_batches_less_what_is_nobodys(
    found: list[Trace],
) -> None:
    everything = sum(microseconds(batch) for batch in batches(found))
    nobodys = sum(
        share
        for batch, members in batches(found).items()
        for id, share in shares(batch, members).items()
        if members[id].request is None or not members[id].leaf
    )
    assert sum(times(found).values()) == everything - nobodys


@given(traces.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_the_order_of_traces_changes_nothing(pair: tuple[list[Trace], list[Trace]]) -> None:
    assert times(pair[0]) == times(pair[1])


@given(traces, traces)
def test_batches_of_another_model_change_nothing(found: list[Trace], more: list[Trace]) -> None:
    others = [each._replace(model="other", request="z", id=each.id + 10**6) for each in more]
    together = times([*found, *others])
    together.pop("z", None)
    assert together == times(found)


@given(
    st.integers(0, 10**12),
    st.dictionaries(st.integers(0, 50), st.integers(0, 10**9), min_size=1),
)
def test_a_weighted_share_is_its_part_to_less_than_one(total: int, weights: dict[int, int]) -> None:
    given, whole = apportioned(total, weights), sum(weights.values())
    assert sum(given.values()) == total
    if whole:
        for key, weight in weights.items():
            assert abs(given[key] * whole - total * weight) < whole
    order = sorted(weights, key=lambda key: weights[key])
    assert all(given[a] <= given[b] + 1 for a, b in pairwise(order))


@pytest.mark.parametrize(
    ("total", "weights", "given"),
    [
        (10, {1: 1, 2: 1, 3: 1}, {1: 4, 2: 3, 3: 3}),  # the smaller key has the odd one
        (0, {1: 1, 2: 1}, {1: 0, 2: 0}),
        (1, {7: 1, 5: 1}, {7: 0, 5: 1}),
        (100, {1: 1, 2: 2, 3: 3}, {1: 17, 2: 33, 3: 50}),
        (5, {1: 0, 2: 0}, {1: 3, 2: 2}),  # weights that say nothing
        (5, {}, {}),
    ],
)
def test_shares_by_example(total: int, weights: dict[int, int], given: dict[int, int]) -> None:
    assert apportioned(total, weights) == given


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        apportioned(5, {1: 2, 2: -1})


@pytest.mark.parametrize(
    ("nanoseconds", "rounded"),
    [(0, 0), (499, 0), (500, 1), (1_499, 1), (1_500, 2), (24_520_383, 24_520)],
)
def test_a_batchs_time_is_rounded_half_up_and_once(nanoseconds: int, rounded: int) -> None:
    batch = Batch("textgen", 1, 36_430_004_918_417, 36_430_004_918_417 + nanoseconds)
    assert microseconds(batch) == rounded
    members = {id: trace(id) for id in range(1, 9)}
    assert sum(shares(batch, members).values()) == rounded  # not eight times


def test_the_naive_sum_over_requests_is_as_often_too_much_as_the_batch_is_large() -> None:
    eight = [trace(id, f"r{id}") for id in range(1, 9)]
    naive = sum(each.spans[0][1] - each.spans[0][0] for each in eight)
    assert naive == 8 * (ONE[0][1] - ONE[0][0])
    assert sum(times(eight).values()) == microseconds(Batch("textgen", 1, *ONE[0])) == 2_999


def test_an_ensemble_has_the_time_of_its_stages_once() -> None:
    root = trace(4, "e", model="pipeline", spans=(), leaf=False)
    stages = [
        trace(5, "e", spans=((0, 5_000_000),)),
        trace(6, "e", spans=((6_000_000, 9_000_000),)),
    ]
    assert times([root, *stages]) == {"e": 8_000}


def test_what_encloses_other_work_counts_through_that_alone() -> None:
    outer = trace(1, "b", spans=((0, 9_000_000),), leaf=False)
    inner = trace(2, "b", model="inner", spans=((1_000_000, 3_000_000),))
    assert times([outer, inner]) == {"b": 2_000}


def test_a_cached_answer_has_no_time() -> None:
    assert times([trace(1, "c", spans=())]) == {"c": 0}


def test_a_request_without_an_id_takes_its_share_and_is_nobodys() -> None:
    assert times([trace(1, "a"), trace(2, None), trace(3, None)]) == {"a": 1_000}


def test_the_same_times_in_another_model_or_version_are_another_batch() -> None:
    found = [trace(1, "a"), trace(2, "b", model="image"), trace(3, "c", version=2)]
    assert times(found) == {"a": 2_999, "b": 2_999, "c": 2_999}


@pytest.mark.parametrize(
    ("known", "proved"),
    [
        ({1: 10, 2: 90}, True),
        ({1: 10, 2: 50, 3: 90}, True),
        ({1: 10, 3: 90}, False),  # one began between, and is not known
        ({1: 10, 2: 50}, False),  # nothing after
        ({2: 50, 3: 90}, False),  # nothing before
        ({1: 10, 2: 11, 4: 12, 5: 90}, True),  # what is missing began before
        ({}, False),
        ({1: 90, 2: 10}, False),  # ids that do not follow time prove nothing
    ],
)
def test_nothing_began_unseen_only_where_every_id_between_is_known(
    known: dict[int, int], proved: bool
) -> None:
    assert never_began(known, before=20, after=80) is proved


def test_what_a_device_never_had_did_not_run() -> None:
    assert trace(1).ran
    assert trace(1, spans=()).ran  # a cached answer
    assert not trace(1, spans=(), answered=False).ran  # cancelled, or refused, in its queue
