"""Scoring: what each sign is given by, on both sides of its line; bounded, exact, replayable."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.fraud_facts import Sighting
from domain.fraud_habit import (
    DAY,
    HOUR,
    LATE_MAX,
    LICENSES_MAX,
    MACHINES_MAX,
    MINUTE,
    TARGETS_MAX,
    Habit,
    evolve,
    habit_from_wire,
    habit_to_wire,
    size_of,
)
from domain.fraud_scoring import REASON_CODES, Verdict, score_of, signs, step
from domain.values import SECOND

BEGIN = 20_000 * DAY
TODAY = BEGIN + 4 * DAY


def after(*seen: Iterable[Sighting]) -> Habit:
    """Take sightings into account one after another."""
    habit = Habit()
    for each in chain(*seen):
        habit = evolve(habit, each)
    return habit


def use(at: int, requests: int = 1, tokens_in: int = 0, tokens_out: int = 0) -> Sighting:
    """Use some requests."""
    return Sighting(at, requests=requests, tokens_in=tokens_in, tokens_out=tokens_out)


def ask(at: int, machine: str = "m0", license: str = "key") -> Sighting:
    """Ask to be admitted, from a machine."""
    return Sighting(at, asks=1, license=license, machine=machine)


def probe(at: int, target: str = "model-0") -> Sighting:
    """Be refused."""
    return Sighting(at, asks=1, probes=1, target=target, license="key")


def habit_of(per_hour: int = 10, hours: range = range(8, 17)) -> Iterator[Sighting]:
    """Live four ordinary days: requests of 100 and 50 tokens from two machines.

    On the next morning these two are still among those of the last 24 hours.
    """
    for day in range(4):
        for hour in hours:
            at = BEGIN + day * DAY + hour * HOUR
            for number in range(per_hour):
                moment = at + number * MINUTE
                yield ask(moment, f"m{number % 2}")
                yield use(moment, 1, 100, 50)


def shown(*seen: Iterable[Sighting]) -> dict[str, int]:
    """Return the signs after sightings."""
    return dict(signs(after(*seen)))


MORNING = TODAY + 9 * HOUR
NIGHT = TODAY + 2 * HOUR


@pytest.mark.parametrize(
    ("then", "found"),
    [
        ([ask(MORNING + n, f"x{n}") for n in range(4)], {}),
        ([ask(MORNING + n, f"x{n}") for n in range(5)], {"machines": 50}),
        ([ask(MORNING + n, f"x{n}") for n in range(10)], {"machines": 100}),
        ([use(MORNING, 59)], {}),
        ([use(MORNING, 60)], {"rate": 60}),
        ([use(MORNING, 30), use(MORNING + MINUTE, 30)], {}),
        ([use(NIGHT + n * SECOND) for n in range(19)], {}),
        ([use(NIGHT + n * SECOND) for n in range(20)], {"odd_hours": 26}),
        ([use(MORNING + n * SECOND) for n in range(30)], {}),
        ([use(TODAY + 7 * HOUR + n * SECOND) for n in range(30)], {}),
        ([use(MORNING + n * SECOND, 1, 100, 50) for n in range(20)], {}),
        ([use(MORNING + n * SECOND, 1, 4000, 50) for n in range(20)], {"token_drift": 40}),
        ([use(MORNING + n * SECOND, 1, 100, 2000) for n in range(20)], {"token_drift": 40}),
        ([use(MORNING + n * SECOND, 1, 4000, 50) for n in range(19)], {}),
        ([probe(MORNING + n * SECOND) for n in range(9)], {}),
        ([probe(MORNING + n * SECOND) for n in range(10)], {"probing": 35}),
        ([probe(MORNING + n * SECOND, f"m{n}") for n in range(10)], {"probing": 80}),
        ([probe(MORNING + n * MINUTE) for n in range(11)], {"probing": 35}),
        ([probe(MORNING + n * 2 * MINUTE) for n in range(30)], {}),
        (
            [
                *(ask(MORNING) for _ in range(11)),
                *(probe(MORNING) for _ in range(10)),
            ],
            {},
        ),
    ],
)
def test_a_sign_begins_at_its_line(then: list[Sighting], found: dict[str, int]) -> None:
    assert shown(habit_of(), then) == found


def test_a_customer_of_whom_little_is_known_shows_hardly_a_sign() -> None:
    """All but probing, and more machines than anybody begins with, need three days of habit."""
    burst = [use(BEGIN + n, 100, 400_000, 1) for n in range(50)]
    assert shown(burst) == {}
    assert shown([ask(BEGIN + n, f"x{n}") for n in range(20)]) == {}
    assert shown([ask(BEGIN + n, f"x{n}") for n in range(21)]) == {"machines": 50}


def test_machines_of_different_licences_are_not_added_up() -> None:
    spread = [ask(MORNING + n, f"x{n}", f"key-{n % 2}") for n in range(8)]
    assert shown(habit_of(), spread) == {}


def test_what_is_over_is_no_sign_whatever_comes_next() -> None:
    """A request that asks for nothing, or is from no machine, forgets it as well."""
    doors = [probe(MORNING + n * SECOND, f"m{n}") for n in range(12)]
    assert shown(habit_of(), doors, [use(MORNING + 9 * MINUTE)]) == {"probing": 80}
    habit = after(habit_of(), doors, [use(MORNING + 10 * MINUTE)])
    assert (signs(habit), habit.probes, habit.targets) == ((), (), ())
    crowd = [ask(MORNING + n, f"x{n}") for n in range(30)]
    habit = after(habit_of(), crowd, [use(MORNING + DAY - MINUTE)])
    assert [(name, len(seen)) for name, seen in habit.machines] == [("key", 30)]
    habit = after(habit_of(), crowd, [use(MORNING + DAY + MINUTE)])
    assert (signs(habit), habit.machines) == ((), ())


def test_who_is_no_longer_odd_is_flagged_once_and_not_every_day() -> None:
    habit, found = Habit(), []
    odd = [probe(BEGIN + n * SECOND) for n in range(12)]
    odd += [ask(BEGIN + n * SECOND, f"x{n}") for n in range(12, 50)]
    for each in [*odd, *(use(BEGIN + day * DAY + HOUR) for day in range(1, 8))]:
        habit, verdict = step(habit, each)
        found += [] if verdict is None else [each.at // DAY]
    assert found == [BEGIN // DAY]


@pytest.mark.parametrize("count", [1, LICENSES_MAX, LICENSES_MAX + 1, LICENSES_MAX + 8])
@pytest.mark.parametrize("by_turns", [False, True])
def test_many_licences_in_use_are_nothing_odd(count: int, by_turns: bool) -> None:
    """Each has six machines every day, one licence after another or by turns; one has days off."""
    habit, verdicts = Habit(), []
    for day in range(12):
        for turn in range(6 * count):
            licence, machine = (turn % count, turn // count) if by_turns else divmod(turn, 6)
            if day % 5 == 4 and licence == 0:
                continue
            at = BEGIN + day * DAY + 6 * HOUR + turn * 5 * MINUTE
            habit, verdict = step(habit, ask(at, f"m{licence}-{machine}", f"key-{licence:02}"))
            verdicts += [] if verdict is None else [(day, verdict)]
    assert verdicts == []


def test_a_licence_has_a_habit_of_its_own_after_three_days() -> None:
    """Until then it is judged like that of a new customer."""
    days = [ask(BEGIN + day * DAY + HOUR, "m", "new") for day in range(1, 4)]
    other = [use(BEGIN + day * DAY + HOUR) for day in range(4)]
    crowd = [ask(TODAY + 2 * HOUR + n, f"x{n}", "new") for n in range(5)]
    assert shown(sorted([*other, *days[1:]]), crowd) == {}
    assert shown(sorted([*other, *days]), crowd) == {"machines": 50}
    more = [ask(TODAY + 2 * HOUR + n, f"x{n}", "other") for n in range(21)]
    assert shown(sorted([*other, *days]), more) == {"machines": 50}


def test_a_machine_counts_for_a_day_and_what_was_usual_makes_room() -> None:
    first = [ask(MORNING + n, f"x{n}") for n in range(4)]
    later = [ask(MORNING + DAY + MINUTE + n, f"y{n}") for n in range(14)]
    assert shown(habit_of(), first, later) == {}, "six the day before, so fourteen are nothing odd"
    crowd = [ask(MORNING + DAY + MINUTE + n, f"y{n}") for n in range(15)]
    assert shown(habit_of(), first, crowd) == {"machines": 50}


def test_a_flag_comes_once_a_day_and_says_the_signs() -> None:
    habit, verdicts = after(habit_of()), []
    for number in range(40):
        habit, verdict = step(habit, ask(MORNING + number, f"x{number}"))
        verdicts += [] if verdict is None else [verdict]
    assert verdicts == [Verdict(50, (("machines", 50),))]
    habit, verdict = step(habit, ask(MORNING + DAY + MINUTE, "x1"))
    assert verdict is None, "a day later they are as many as the day before"


def test_after_a_clearing_what_had_happened_is_over() -> None:
    crowd = [ask(MORNING + n, f"x{n}") for n in range(12)]
    habit = after(habit_of(), crowd)
    habit, verdict = step(habit, Sighting(MORNING + HOUR, forgets=True))
    assert (verdict, signs(habit)) == (None, ())
    _, verdict = step(habit, ask(MORNING + 2 * HOUR, "m0"))
    assert verdict is None


def test_signs_together_are_the_score_and_no_more_than_a_hundred() -> None:
    assert score_of((("machines", 40), ("rate", 30))) == 70
    assert score_of((("machines", 100), ("probing", 80))) == 100
    assert list(REASON_CODES) == sorted(REASON_CODES)


def test_what_comes_too_late_is_not_looked_at() -> None:
    habit = after([use(MORNING, 5)])
    assert evolve(habit, use(MORNING - LATE_MAX - 1, 5)) == habit
    assert evolve(habit, use(MORNING - LATE_MAX, 5)) != habit


@pytest.mark.parametrize(
    ("tokens", "size"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (2**18, 19), (2**60, 19)]
)
def test_sizes_are_told_apart_by_powers_of_two(tokens: int, size: int) -> None:
    assert size_of(tokens) == size


sightings = st.builds(
    Sighting,
    at=st.integers(BEGIN, BEGIN + 6 * DAY),
    asks=st.integers(0, 1),
    probes=st.integers(0, 1),
    target=st.sampled_from(["", *(f"t{n}" for n in range(30))]),
    license=st.sampled_from([f"key-{n}" for n in range(12)]),
    machine=st.sampled_from(["", *(f"m{n}" for n in range(90))]),
    requests=st.integers(0, 3000),
    tokens_in=st.integers(0, 10**9),
    tokens_out=st.integers(0, 10**9),
    forgets=st.booleans(),
)


@given(st.lists(sightings, max_size=60), st.integers(0, 60))
def test_a_restart_anywhere_changes_nothing_and_the_state_stays_bounded(
    seen: list[Sighting], restart: int
) -> None:
    one, other = Habit(), Habit()
    for number, each in enumerate(seen):
        if number == restart:
            other = habit_from_wire(json.loads(json.dumps(habit_to_wire(other))))
        (one, verdict), (other, again) = step(one, each), step(other, each)
        assert (one, verdict) == (other, again)
        if verdict is not None:
            assert 50 <= verdict.score <= 100
    assert len(one.machines) <= LICENSES_MAX
    assert all(len(machines) <= MACHINES_MAX for _, machines in one.machines)
    assert len(one.machines_before) <= LICENSES_MAX
    assert len(one.targets) <= TARGETS_MAX
    assert len(one.probes) <= 10
