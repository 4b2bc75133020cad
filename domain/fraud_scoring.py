"""Scoring: how much what a customer does now differs from what it used to do, from 0 to 100 (B6).

Each sign gives points, and their sum, at most 100, is the score. At 50 and more a customer is
flagged for review: nothing is blocked by a score. docs/fraud.md says what each sign looks at, and
how often it is right.
"""

from collections.abc import Callable
from typing import NamedTuple

from domain.fraud_events import Signs
from domain.fraud_facts import Sighting
from domain.fraud_habit import DAY, HOUR, SIZES, Habit, evolve

RULE = 2
"""The version of these rules; raised with whatever changes a score."""

FLAG_FROM = 50
SCORE_MAX = 100

MACHINES_NEW = 20
"""So many machines of one licence are nothing odd while little is known of it."""
DAYS_MIN = 3
"""Habits that are younger are none."""
HABIT_MIN = 200
"""So many requests make a habit of hours or of sizes."""


class Verdict(NamedTuple):
    """A score that flags, and the signs behind it."""

    score: int
    signs: Signs


def step(habit: Habit, seen: Sighting) -> tuple[Habit, Verdict | None]:
    """Take a sighting into account; return a verdict when the customer is to be flagged now.

    After a flag there is none for a day: the case is open, and the next flag would say the same.
    """
    habit = evolve(habit, seen)
    if habit.newest < habit.quiet_until or seen.forgets:
        return habit, None
    found = signs(habit)
    score = score_of(found)
    if score < FLAG_FROM:
        return habit, None
    return habit._replace(quiet_until=habit.newest + DAY), Verdict(score, found)


def score_of(found: Signs) -> int:
    """Return what signs come to."""
    return min(SCORE_MAX, sum(points for _, points in found))


def signs(habit: Habit) -> Signs:
    """Return the signs that a customer shows now, in order of their codes."""
    found = []
    for code, count in _POINTS:
        points = count(habit)
        if points > 0:
            found.append((code, min(SCORE_MAX, points)))
    return tuple(found)


def machines(habit: Habit) -> int:
    """Many machines on one key: more in 24 hours than twice what a day before had, and two.

    A licence that has no habit of its own is like a customer who has none.
    """
    before = {
        name: 2 * usual + 2 for name, usual, days in habit.machines_before if days >= DAYS_MIN
    }
    most = 0
    for name, seen in habit.machines:
        usual = before.get(name, MACHINES_NEW)
        if len(seen) > usual:
            most = max(most, 40 + 10 * (len(seen) - usual))
    return most


def rate(habit: Habit) -> int:
    """Impossible rates: a minute with more than eight times the busiest one of the days before."""
    if habit.days < DAYS_MIN or habit.minute_requests < 60:
        return 0
    times = habit.minute_requests // max(habit.busiest, 1)
    return 0 if times < 8 else min(60, 30 + 2 * (times - 8))


def odd_hours(habit: Habit) -> int:
    """Odd hours: much use where, an hour more or less, there was hardly any in the days before."""
    if habit.days < DAYS_MIN or habit.hour_requests < 20:
        return 0
    known = sum(habit.hours)
    if known < HABIT_MIN:
        return 0
    hour = habit.newest // HOUR % 24
    near = sum(habit.hours[(hour + offset) % 24] for offset in (-1, 0, 1))
    if near * 100 > known:  # above one in a hundred
        return 0
    return min(40, 25 + habit.hour_requests // 20)


def token_drift(habit: Habit) -> int:
    """Drift in token sizes: this hour's requests are of other sizes than those before."""
    if habit.days < DAYS_MIN or habit.hour_requests < 20:
        return 0
    return max(_drift(habit, 0), _drift(habit, SIZES))


def _drift(habit: Habit, start: int) -> int:
    end = start + SIZES
    before, now = habit.sizes[start:end], habit.sizes_now[start:end]
    known, seen = sum(before), sum(now)
    if known < HABIT_MIN or seen < 20:
        return 0
    # How much of the one would have to be moved to make the other of it, in thousandths.
    apart = sum(abs(one * seen - other * known) for one, other in zip(before, now, strict=True))
    moved = 500 * apart // (known * seen)
    return 0 if moved < 700 else 25 + (moved - 700) // 20


def probing(habit: Habit) -> int:
    """Probing refusals: at least ten in ten minutes, and as many as half of what was asked."""
    asked = sum(each[1] for each in habit.probes)
    probes = sum(each[2] for each in habit.probes)
    if probes < 10 or 2 * probes < asked:
        return 0
    return min(80, 20 + probes + 5 * len(habit.targets))


_POINTS: tuple[tuple[str, Callable[[Habit], int]], ...] = (
    ("machines", machines),
    ("odd_hours", odd_hours),
    ("probing", probing),
    ("rate", rate),
    ("token_drift", token_drift),
)
"""Every sign by its reason code."""

REASON_CODES = tuple(code for code, _ in _POINTS)
