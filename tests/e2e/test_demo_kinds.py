"""The demo's count of mixed kinds: a charge too many, too few or too high does not escape it."""

from typing import Any

import pytest

from entrypoints.demo.kinds import CACHED, ENSEMBLE, FAILING, IMAGES, MODELS, TEXT_GRPC, Kind
from entrypoints.demo.mixed_counting import Charge, Counted, Ledgered, counted, unclaimed
from entrypoints.demo.mixed_summary import Mixed

Log = list[dict[str, Any]]


def line(id: str, outcome: str = "ok", units: int = 0) -> dict[str, Any]:
    """Write a line of a model's log: 3 tokens in, 5 out."""
    tokens = {"input_tokens": 3, "output_tokens": 5, "units": units}
    return {"request_id": id, "outcome": outcome, **tokens}


def text(id: str, made: int = 5) -> Charge:
    """Charge for a text."""
    return id, (("input_tokens", 3), ("output_tokens", made))


def cached(id: str) -> Charge:
    """Charge for a text from the cache."""
    return id, (("cached_input_tokens", 3), ("output_tokens", 5))


def logs(**models: Log) -> dict[str, Log]:
    """Return the logs of all models; those that are not given are empty."""
    return {**{model: [] for model in MODELS}, **models}


def ledger(charges: list[Charge], held: str = "ab") -> Ledgered:
    """Return what a ledger has, with a hold for each letter."""
    return Ledgered(charges, 0, set(held), set(), set())


def count(
    kind: Kind, charges: list[Charge], ran: dict[str, Log], answered: dict[str, str] | None = None
) -> Counted:
    """Count one kind."""
    (found,) = counted({kind: ledger(charges)}, ran, 2, answered or {})
    return found


@pytest.mark.parametrize(
    ("charges", "equal"),
    [
        pytest.param([text("a"), text("b")], True, id="as it was"),
        pytest.param([text("b"), text("a")], True, id="in another order"),
        pytest.param([text("a")], False, id="one is not charged"),
        pytest.param([text("a"), text("b"), text("b")], False, id="one is charged twice"),
        pytest.param([text("a"), text("b", 4)], False, id="one token less"),
        pytest.param([text("a"), text("b"), text("c")], False, id="one that never ran"),
        pytest.param([text("a"), cached("b")], False, id="one as if it had been cached"),
    ],
)
def test_charges_are_compared_one_by_one_with_what_ran(
    charges: list[Charge], *, equal: bool
) -> None:
    ran = logs(textgen=[line("a"), line("b"), line("x", "error")])
    found = count(TEXT_GRPC, charges, ran)
    assert (found.equal, found.ran, found.charged) == (equal, 2, len(charges))


@pytest.mark.parametrize(
    ("answered", "equal"),
    [
        pytest.param({"a": "a", "b": "a"}, True, id="the second from the cache"),
        pytest.param({"a": "a"}, False, id="nobody got the second"),
        pytest.param({"a": "a", "b": "b"}, False, id="the second was its own, and did not run"),
        pytest.param({"a": "a", "b": "z"}, False, id="of one that never ran"),
    ],
)
def test_an_answer_from_the_cache_is_due_as_such(answered: dict[str, str], *, equal: bool) -> None:
    ran = logs(textgen_cached=[line("a")])
    assert count(CACHED, [text("a"), cached("b")], ran, answered).equal is equal
    assert not count(CACHED, [text("a"), text("b")], ran, answered).equal


@pytest.mark.parametrize("without", ["textgen", "retrieve", "polish"])
def test_an_ensemble_is_due_where_each_of_its_models_ran(without: str) -> None:
    charges = [text("a"), text("b")]
    whole = logs(**{model: [line("a"), line("b")] for model in ENSEMBLE.ran_by})
    assert count(ENSEMBLE, charges, whole).equal
    assert not count(ENSEMBLE, charges, {**whole, without: [line("a")]}).equal


def test_images_and_calls_are_due_by_their_number() -> None:
    ran = logs(image=[line("a", units=2)], failing=[line("a"), line("b", "error")])
    assert count(IMAGES, [("a", (("images", 2),))], ran).equal
    assert not count(IMAGES, [("a", (("images", 1),))], ran).equal
    assert count(FAILING, [("a", (("requests", 1),))], ran).equal
    assert not count(FAILING, [("a", (("requests", 1),)), ("b", (("requests", 1),))], ran).equal


def test_what_ran_and_nobody_held_is_told() -> None:
    before = logs(textgen=[line("old")])
    ran = logs(textgen=[line("old"), line("a"), line("new")], image=[line("b", units=1)])
    assert unclaimed({TEXT_GRPC: ledger([text("a")])}, ran, before) == 1
    alone = ledger([text("a")], held="a")
    assert unclaimed({TEXT_GRPC: alone}, ran, before) == 2
    assert unclaimed({TEXT_GRPC: alone._replace(free=frozenset({"new"}))}, ran, before) == 1


def test_something_waits_until_all_that_was_held_has_ended() -> None:
    found = ledger([text("a")])
    assert not found.is_ended
    assert found._replace(parked={"b"}).is_ended
    assert found._replace(released={"b"}).is_ended


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"unclaimed": 1}, id="something ran unheld"),
        pytest.param({"reconciled": {"explained": False}}, id="a gap is unexplained"),
        pytest.param({"audit": {"ok": False}}, id="the audit found a difference"),
        pytest.param({"kinds": [False]}, id="a kind is charged otherwise"),
    ],
)
def test_it_is_clean_only_where_everybody_agrees(wrong: dict[str, Any]) -> None:
    def found(*, equal: bool) -> list[Counted]:
        return [Counted(IMAGES, 1, 1, 0, 0, 1, 1, equal)]

    clean = Mixed(found(equal=True), 0, 0, {"explained": True}, 1, "", "", {"ok": True})
    assert clean.is_clean
    if "kinds" in wrong:
        wrong = {"kinds": found(equal=False)}
    assert not clean._replace(**wrong).is_clean
