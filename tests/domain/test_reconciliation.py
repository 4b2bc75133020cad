"""Reconciliation: each cause takes its part of a gap, and the rest stays unexplained."""

import pytest

from domain.reconciliation import BOUNDS, UNSEEN, DeviceTime, Ended, Sold, reconciled
from domain.server_counters import Counters
from tests.domain.reconciling import (
    FAILED,
    LEFT,
    LOST,
    PIPELINE,
    SOLD,
    causes,
    one,
    servers,
    some,
)

EXAMPLES: list[tuple[str, Counters, list[Ended], dict[str, int], int]] = [
    ("everything was charged", Counters(5), [some(5)], {}, 0),
    ("somebody asked the server directly", Counters(7), [some(5)], {}, 2),
    ("more was charged than ran", Counters(4), [some(5)], {}, -1),
    ("the cache answered", Counters(5, cache_hits=2), [some(5)], {"cache": -2}, 0),
    (
        "errors are counted as success",
        Counters(8),
        [some(5), some(3, "released", FAILED)],
        {"errors": 3},
        0,
    ),
    (
        "a failed batch is counted as failed",
        Counters(5, failed=3),
        [some(5), some(3, "released", FAILED)],
        {"errors": 3},
        0,
    ),
    (
        "what a server refuses before it runs is not counted",
        Counters(5),
        [some(5), some(3, "released", FAILED, mark="refused")],
        {},
        0,
    ),
    (
        "so it hides nobody who asked directly",
        Counters(6),
        [some(5), some(3, "released", FAILED, mark="refused")],
        {},
        1,
    ),
    (
        "unless it is counted as failed",
        Counters(5, failed=2),
        [some(5), some(3, "released", FAILED, mark="refused")],
        {"refused": 2},
        0,
    ),
    (
        "what no server had cannot have run",
        Counters(6),
        [
            some(5),
            some(1, "released", FAILED, mark="untaken"),
            some(1, "released", "the server never ran it"),
            some(1, "released", "its server cannot be reached"),
        ],
        {},
        1,
    ),
    (
        "a client that left may have been served",
        Counters(6),
        [some(5), some(2, "released", LEFT)],
        {"left": 1},
        0,
    ),
    (
        "who holds released by hand may have been served",
        Counters(6),
        [some(5), some(1, "released", "for a friend")],
        {"released": 1},
        0,
    ),
    ("parked usage ran", Counters(6), [some(5), some(1, "parked", "no price")], {"parked": 1}, 0),
    (
        "parked usage that must have run is missing",
        Counters(5),
        [some(5), some(1, "parked", "the server ran it, and its answer was lost")],
        {"parked": 1},
        -1,
    ),
    ("nobody knows if it ran", Counters(5), [some(5), some(1, "parked", LOST)], {}, 0),
    ("a hold without an end", Counters(6), [some(5), some(1, "open")], {"open": 1}, 0),
    (
        "in flight at a sample",
        Counters(6),
        [some(5), some(3, when=BOUNDS)],
        {"in flight": 1},
        0,
    ),
    ("more than was in flight", Counters(9), [some(5), some(3, when=BOUNDS)], {"in flight": 3}, 1),
    ("a restart forgot some", Counters(3), [some(2), some(4, when=UNSEEN)], {"restart": -3}, 0),
    ("it forgot no more", Counters(1), [some(2), some(4, when=UNSEEN)], {"restart": -4}, -1),
    (
        "an error that a restart forgot",
        Counters(2),
        [some(2), some(1, "released", FAILED, when=UNSEEN)],
        {},
        0,
    ),
]


@pytest.mark.parametrize(
    ("counters", "ended", "wanted", "unexplained"),
    [row[1:] for row in EXAMPLES],
    ids=[row[0] for row in EXAMPLES],
)
def test_every_cause_takes_its_part(
    counters: Counters, ended: list[Ended], wanted: dict[str, int], unexplained: int
) -> None:
    line = one(servers(textgen=counters), *ended)
    assert causes(line) == wanted
    assert line.unexplained == unexplained
    assert line.is_explained == (not unexplained)


def test_an_ensembles_requests_to_its_models_are_its_own() -> None:
    counted = servers(
        PIPELINE, pipeline=Counters(3), retrieve=Counters(3), textgen=Counters(3 * 2 + 5)
    )
    sold = Sold({"text": ("textgen",), "rag": ("pipeline",)})
    lines = reconciled(counted, [some(5), some(3, model="rag")], sold)
    found = {line.served_as: (causes(line), line.unexplained) for line in lines}
    assert found == {
        ("textgen",): ({"ensemble": 6}, 0),
        ("pipeline",): ({}, 0),
        ("retrieve",): ({"ensemble": 3}, 0),
    }


def test_an_ensemble_that_failed_came_as_far_as_it_did() -> None:
    counted = servers(PIPELINE, pipeline=Counters(3, failed=4), textgen=Counters(7))
    assert causes(one(counted)) == {"ensemble": 7}
    more = servers(PIPELINE, pipeline=Counters(3, failed=4), textgen=Counters(11))
    assert causes(one(more)) == {"ensemble": 2 * (3 + 2)}, "each failure is counted twice"
    assert one(more).unexplained == 1
    sold = Sold({"text": ("textgen",), "rag": ("pipeline",)})
    failed = some(4, "released", FAILED, model="rag")
    assert causes(one(more, failed, sold=sold)) == {"ensemble": 11}, "the ledger knows of four"


@pytest.mark.parametrize(("counted_as", "unexplained"), [(2, 0), (4, 0), (5, 1), (1, 0)])
def test_an_ensembles_failures_may_be_counted_twice(counted_as: int, unexplained: int) -> None:
    counted = servers({"textgen": {}}, textgen=Counters(5, failed=counted_as))
    line = one(counted, some(5), some(2, "released", FAILED))
    assert (causes(line)["errors"], line.unexplained) == (min(counted_as, 4), unexplained)


def test_models_with_one_price_are_one_line() -> None:
    sold = Sold({"text": ("textgen", "textgen_stream")})
    line = one(servers(textgen=Counters(2), textgen_stream=Counters(3)), some(5), sold=sold)
    assert (line.ran, line.charged, line.unexplained) == (5, 5, 0)


def test_a_model_that_nobody_sells_is_unexplained_when_it_runs() -> None:
    (line,) = reconciled(servers(secret=Counters(2)), (), SOLD)
    assert (line.model, line.served_as, line.unexplained) == (None, ("secret",), 2)


def test_charges_of_a_model_that_is_sold_no_more_are_unexplained() -> None:
    lines = reconciled(servers(), [some(2, model="old")], SOLD)
    assert [(line.model, line.unexplained) for line in lines] == [("old", -2)]


def test_what_counts_twice_after_a_reload_explains_as_much() -> None:
    counted = servers(textgen=Counters(7))._replace(doubt={"textgen": 2})
    assert causes(one(counted, some(5))) == {"restart": 2}


TIMED = Sold({"text": ("textgen",)}, frozenset({"text"}))
TIMES: list[tuple[str, Counters, list[Ended], DeviceTime]] = [
    ("equal", Counters(2, 0, 0, 9_000, 1), [some(2, device_time=9)], DeviceTime(9, 9, (), 0)),
    (
        "each batch may be rounded",
        Counters(2, 0, 0, 9_999, 2),
        [some(2, device_time=11)],
        DeviceTime(9, 11, (), 0),
    ),
    (
        "less was charged",
        Counters(2, 0, 0, 99_000, 2),
        [some(2, device_time=11)],
        DeviceTime(99, 11, (), 88),
    ),
    (
        "errors take their shares",
        Counters(3, 0, 0, 99_000, 2),
        [some(2, device_time=66), some(1, "released", FAILED)],
        DeviceTime(99, 66, ("errors",), 0),
    ),
    (
        "more was charged than ran",
        Counters(2, 0, 0, 9_000, 2),
        [some(2, device_time=20)],
        DeviceTime(9, 20, (), -11),
    ),
    (
        "a restart forgot some",
        Counters(1, 0, 0, 9_000, 2),
        [some(2, device_time=20, when=UNSEEN)],
        DeviceTime(9, 20, ("restart",), 0),
    ),
]


@pytest.mark.parametrize(
    ("counters", "ended", "wanted"), [row[1:] for row in TIMES], ids=[row[0] for row in TIMES]
)
def test_device_time_is_compared_where_it_is_charged(
    counters: Counters, ended: list[Ended], wanted: DeviceTime
) -> None:
    assert one(servers(textgen=counters), *ended, sold=TIMED).device_time == wanted
    assert one(servers(textgen=counters), *ended).device_time is None


def test_an_ensembles_device_time_is_that_of_its_models() -> None:
    counted = servers(PIPELINE, pipeline=Counters(1), textgen=Counters(2, 0, 0, 9_000, 2))
    sold = Sold({"text": ("pipeline",)}, frozenset({"text"}))
    line = one(counted, some(1, device_time=9), sold=sold)
    assert line.device_time == DeviceTime(9, 9, (), 0)
