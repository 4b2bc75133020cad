"""When something is set aside, how much, and what is left alone for a while."""

from types import SimpleNamespace
from typing import Any

import pytest

from entrypoints.gateway.admission import Opened, Question
from entrypoints.gateway.allowance_demand import AHEAD_MAX, BUSY, Demand
from entrypoints.gateway.allowance_slices import read, written
from entrypoints.gateway.pausing import Pause
from tests.gateway.rig import configured

HOLD = 300
MOST = 1_000
SMALL, LARGE = {"input_tokens": 5}, {"input_tokens": 100}


def demand(facts: str = "{}", key: str = "ab" * 16, model: str = "textgen") -> Demand:
    meter = configured().meter(model)
    assert meter is not None
    question = Question(Opened("lic", "ada", key), facts)
    return Demand(question, meter, ["input_tokens"], HOLD, Pause(1, HOLD))


def busy(rate: int = BUSY, at: float = 100.0) -> Demand:
    found = demand()
    found.is_lacking = True
    for _ in range(rate):
        found.admitted(SMALL, at)
    return found


def slice_with(left: int, places: int = 100, **more: Any) -> Any:
    told = {"mine": True, "is_over": False, "renew_at": 50, **more}
    return SimpleNamespace(left=left, places=places, **told)


def test_each_question_has_a_digest_of_its_own() -> None:
    others = [
        demand(),
        demand(facts='{"region": "eu"}'),
        demand(key="cd" * 16),
        demand(model="textgen_stream"),
    ]
    assert len({each.digest for each in others}) == len(others)
    assert demand().digest == demand().digest


def test_nothing_is_set_aside_before_some_were_admitted_within_a_second() -> None:
    assert not busy(BUSY - 1).is_due(100.5, 0)
    assert busy(BUSY).is_due(100.5, 0)
    assert busy(BUSY).is_due(101.9, 0)
    assert not busy(BUSY).is_due(102.0, 0)


def test_nothing_is_set_aside_before_it_was_asked_whether_others_have() -> None:
    found = busy()
    found.is_lacking = False
    assert not found.is_due(100.5, 0)
    found.current = slice_with(100, is_over=True)
    assert not found.is_due(100.5, 0)


@pytest.mark.parametrize(
    ("held", "is_due"),
    [
        (slice_with(26), False),
        (slice_with(25), True),
        (slice_with(25, mine=False), False),
        (slice_with(12, mine=False), True),
        (slice_with(100, is_over=True), True),
        (slice_with(100, renew_at=40), True),
    ],
    ids=["enough", "a quarter", "another's", "another's at an eighth", "over", "ending"],
)
def test_the_next_slice_is_due_before_the_one_before_is_spent(held: Any, is_due: bool) -> None:
    found = busy()
    found.current = held
    assert found.is_due(100.5, 40) is is_due


def test_those_that_do_not_fit_have_a_larger_slice_made() -> None:
    found = busy()
    found.current = slice_with(100)
    for _ in range(BUSY - 1):
        found.misfit()
    assert not found.is_due(100.5, 0)
    found.misfit()
    assert found.is_due(100.5, 0)
    found.admitted(LARGE, 100.5)
    assert found.envelope()["input_tokens"] >= LARGE["input_tokens"]


def test_what_was_needed_once_is_forgotten_after_a_while() -> None:
    found = busy()
    found.admitted(LARGE, 100.0)
    for at in (111.0, 122.0):
        found.admitted(SMALL, at)
    assert found.envelope() == SMALL


def test_two_seconds_of_what_is_admitted_are_set_aside() -> None:
    assert busy(50).places(MOST, 100.5) == 100
    assert busy(5_000).places(MOST, 100.5) == MOST


def test_a_refusal_halves_what_is_asked_for_and_a_yes_doubles_it_again() -> None:
    found = busy(50)
    found.was_refused(100, 100.0)
    assert not found.is_due(100.9, 0)
    found.admitted(SMALL, 101.0)
    assert found.is_due(101.1, 0)
    assert found.places(MOST, 101.1) == 50
    found.was_granted(MOST)
    assert found.places(MOST, 101.1) == 100


def test_who_is_refused_the_least_is_asked_for_less_and_less_often() -> None:
    found = busy()
    now, pauses = 100.0, []
    for _ in range(12):
        found.was_refused(2, now)
        pauses.append(found.refused.until - now)
        now = found.refused.until
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, HOLD, HOLD, HOLD]


def test_while_a_customer_has_hardly_enough_nothing_is_set_aside() -> None:
    found = busy()
    found.tight.begin(100.0)
    assert not found.is_due(100.5, 0)
    assert busy().is_due(100.5, 0)


def test_one_goes_for_many_and_draws_ahead() -> None:
    found = of_a_large_slice(busy(1_000))
    assert found.count(100.5) == 101
    found.is_drawing = True
    assert found.count(100.5) == 1
    assert of_a_large_slice(busy(10**6 // 10)).count(100.5) == 1 + AHEAD_MAX
    assert of_a_large_slice(busy(BUSY)).count(100.5) == 1


def test_of_a_slice_that_is_not_known_yet_nothing_is_drawn_ahead() -> None:
    assert busy(1_000).count(100.5) == 1


def of_a_large_slice(found: Demand) -> Demand:
    found.current = slice_with(left=10_000, places=10_000)
    return found


@pytest.mark.parametrize(("places", "ahead"), [(8, 1), (64, 8), (160, 20), (2_000, 20)])
def test_no_gateway_draws_more_than_an_eighth_of_a_slice_ahead(places: int, ahead: int) -> None:
    found = busy(200)
    found.current = slice_with(left=places, places=places)
    assert found.count(100.5) == 1 + ahead


def test_a_pause_doubles_and_is_not_made_longer_by_who_waits_already() -> None:
    pause = Pause(0.25, 5)
    assert not pause.is_on(0)
    pause.begin(10)
    pause.begin(10.1)
    assert pause.until == 10.25
    assert (pause.is_on(10.2), pause.is_on(10.25)) == (True, False)
    pause.begin(10.25)
    assert pause.until == 10.75
    pause.end()
    pause.begin(20)
    assert pause.until == 20.25


def test_where_a_slice_is_recorded_is_written_and_read() -> None:
    assert read(written(17)) == 17


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "17", "{}", '{"position": 0}', '{"position": true}',
             '{"position": 1.0}', '{"position": 9223372036854775808}']
)  # fmt: skip
def test_what_is_no_place_in_the_ledger_is_not_read(text: str | None) -> None:
    with pytest.raises(ValueError, match=r"position|Expecting"):
        read(text)
