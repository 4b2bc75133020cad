"""Habit: what a customer does now, and what it used to do, in a state of bounded size.

What happens is counted in the present minute, hour and day; when one of them is over, it becomes
part of the habit, from which an eighth is taken with each new day of use. Everything goes by the
time at which things happened, and everything is an integer, so that the same events in the same
order give the same state, wherever and whenever it is computed.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from domain.fraud_facts import Sighting
from domain.values import SECOND

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

LATE_MAX = 10 * MINUTE
"""What happened longer before the newest sighting is not looked at: the present has moved on."""

PROBE_MINUTES = 10
LICENSES_MAX = 8
MACHINES_MAX = 64
TARGETS_MAX = 16
"""So many are told apart. Of more machines or targets, the ones seen longest ago are forgotten; of
more licences, those that come last are not watched, so that those that are have a whole habit."""

SIZES = 20
"""Sizes are told apart by powers of two: 0, 1, 2 to 3, 4 to 7 ... tokens a request."""

Counts = tuple[int, ...]
Seen = tuple[tuple[str, int], ...]
"""(name, when it was seen last) pairs, in order of name."""

NO_HOURS: Counts = (0,) * 24
NO_SIZES: Counts = (0,) * (2 * SIZES)
"""Of what goes in, then of what comes out."""


class Habit(NamedTuple):
    """One customer, now and before."""

    newest: int = 0
    days: int = 0
    """On how many days before this one there was use."""
    minute_requests: int = 0
    hour_requests: int = 0
    day_requests: int = 0
    day_busiest: int = 0
    """The most requests in a minute of this day that is over."""
    busiest: int = 0
    """The most requests in a minute of the days before."""
    hours: Counts = NO_HOURS
    """Requests of the days before, by hour of the day (UTC)."""
    hours_today: Counts = NO_HOURS
    sizes: Counts = NO_SIZES
    """Requests before this hour, by size."""
    sizes_now: Counts = NO_SIZES
    machines: tuple[tuple[str, Seen], ...] = ()
    """By licence, the machines of the last 24 hours."""
    machines_before: tuple[tuple[str, int, int], ...] = ()
    """(licence, the most machines of a day before, on how many days it had any)."""
    probes: tuple[tuple[int, int, int], ...] = ()
    """(minute, asked, probes) of the last ten minutes."""
    targets: Seen = ()
    """What was probed for in that time; like all that goes on, forgotten minute by minute."""
    quiet_until: int = 0
    """Before this instant nothing is flagged again."""


def evolve(habit: Habit, seen: Sighting) -> Habit:
    """Take a sighting into account; one that comes too late, or forgets, changes little."""
    if seen.forgets:
        return forgotten(habit, seen.at)
    if seen.at < habit.newest - LATE_MAX:
        return habit
    if seen.at > habit.newest:
        habit = _moved_on(habit, seen.at)
    if seen.requests:
        habit = _used(habit, seen)
    if seen.asks:
        habit = _asked(habit, seen)
    return habit


def forgotten(habit: Habit, at: int) -> Habit:
    """Return the habit without what is going on, of which a reviewer thinks nothing ill.

    What goes on for more than an hour longer is a reason to look again.
    """
    return habit._replace(
        machines=(),
        probes=(),
        targets=(),
        sizes_now=NO_SIZES,
        minute_requests=0,
        hour_requests=0,
        quiet_until=at + HOUR,
    )


def _moved_on(habit: Habit, now: int) -> Habit:
    """Make an instant the newest: minutes, hours and days that are over become habit."""
    before = habit.newest
    changes: dict[str, Any] = {"newest": now}
    if now // MINUTE != before // MINUTE:
        changes["minute_requests"] = 0
        changes["day_busiest"] = max(habit.day_busiest, habit.minute_requests)
    if now // HOUR != before // HOUR:
        changes["hour_requests"] = 0
        changes["sizes"] = _sum(habit.sizes, habit.sizes_now)
        changes["sizes_now"] = NO_SIZES
    habit = habit._replace(**changes)
    if now // DAY != before // DAY:
        habit = _next_day(habit)
    return _pruned(habit) if now // MINUTE != before // MINUTE else habit


def _pruned(habit: Habit) -> Habit:
    """Forget what no longer goes on, whatever it is that comes now."""
    if not habit.probes and not habit.targets and not habit.machines:
        return habit
    first = _first_minute(habit.newest)
    kept = ((name, _since(each, habit.newest - DAY)) for name, each in habit.machines)
    return habit._replace(
        machines=tuple((name, each) for name, each in kept if each),
        probes=tuple(each for each in habit.probes if each[0] >= first),
        targets=_since(habit.targets, first * MINUTE),
    )


def _first_minute(now: int) -> int:
    """Return the first of the minutes in which probing is looked for."""
    return now // MINUTE - PROBE_MINUTES + 1


def _next_day(habit: Habit) -> Habit:
    """Add the day that is over to the habit, from which an eighth is taken before."""
    if not habit.day_requests and not habit.machines:
        return habit
    before = {name: (most, days) for name, most, days in habit.machines_before}
    for name, machines in habit.machines:
        most, days = before.get(name, (0, 0))
        before[name] = max(len(machines), most * 7 // 8), days + 1
    # The licences seen lately stay; of the others, no more than there is room for.
    lately = dict(habit.machines)
    kept = sorted(before, key=lambda name: (name not in lately, name))[:LICENSES_MAX]
    return habit._replace(
        days=habit.days + 1,
        day_requests=0,
        day_busiest=0,
        busiest=max(habit.day_busiest, _faded(habit.busiest)),
        hours=_sum(tuple(map(_faded, habit.hours)), habit.hours_today),
        hours_today=NO_HOURS,
        sizes=tuple(map(_faded, habit.sizes)),
        machines_before=tuple((name, *before[name]) for name in sorted(kept)),
    )


def _faded(count: int) -> int:
    return count - count // 8


def _sum(one: Counts, other: Counts) -> Counts:
    return tuple(map(int.__add__, one, other))


def _used(habit: Habit, seen: Sighting) -> Habit:
    requests = seen.requests
    hour = seen.at // HOUR % 24
    first = size_of(seen.tokens_in // requests)
    second = SIZES + size_of(seen.tokens_out // requests)
    has_tokens = seen.tokens_in or seen.tokens_out
    sizes = habit.sizes_now
    return habit._replace(
        minute_requests=habit.minute_requests + requests,
        hour_requests=habit.hour_requests + requests,
        day_requests=habit.day_requests + requests,
        hours_today=_plus(habit.hours_today, hour, requests),
        sizes_now=_plus(_plus(sizes, first, requests), second, requests) if has_tokens else sizes,
    )


def size_of(tokens: int) -> int:
    """Return which of the sizes so many tokens are."""
    return min(tokens.bit_length(), SIZES - 1)


def _plus(counts: Counts, place: int, more: int) -> Counts:
    return (*counts[:place], counts[place] + more, *counts[place + 1 :])


def _asked(habit: Habit, seen: Sighting) -> Habit:
    minute = seen.at // MINUTE
    changes: dict[str, Any] = {}
    if minute >= _first_minute(habit.newest):
        changes["probes"] = _counted(habit.probes, minute, seen)
        if seen.target:
            changes["targets"] = _with(habit.targets, seen.target[:64], seen.at, TARGETS_MAX)
    if seen.machine:
        changes["machines"] = _with_machine(habit.machines, seen)
    return habit._replace(**changes)


def _counted(
    probes: tuple[tuple[int, int, int], ...], minute: int, seen: Sighting
) -> tuple[tuple[int, int, int], ...]:
    """Count what was asked in a minute."""
    if probes and probes[-1][0] == minute:  # the usual case
        _, asked, refused = probes[-1]
        return (*probes[:-1], (minute, asked + seen.asks, refused + seen.probes))
    minutes = {each[0]: each[1:] for each in probes}
    asked, refused = minutes.get(minute, (0, 0))
    minutes[minute] = asked + seen.asks, refused + seen.probes
    return tuple((each, *counted) for each, counted in sorted(minutes.items()))


def _with_machine(
    machines: tuple[tuple[str, Seen], ...], seen: Sighting
) -> tuple[tuple[str, Seen], ...]:
    """Note a machine of a licence, unless as many licences as are watched are in use."""
    found = dict(machines)
    if seen.license not in found and len(found) >= LICENSES_MAX:
        return machines
    found[seen.license] = _with(found.get(seen.license, ()), seen.machine, seen.at, MACHINES_MAX)
    return tuple(sorted(found.items()))


def _since(seen: Seen, first: int) -> Seen:
    return tuple(each for each in seen if each[1] >= first)


def _with(seen: Seen, name: str, at: int, most: int) -> Seen:
    every = dict(seen)
    every[name] = max(at, every.get(name, 0))
    if len(every) > most:
        del every[min(every, key=lambda each: (every[each], each))]
    return tuple(sorted(every.items()))


def habit_to_wire(habit: Habit) -> dict[str, Any]:
    """Write a habit as JSON data, to be kept across restarts."""
    return {name: value for name, value in habit._asdict().items() if value != _NEW[name]}


_NEW: dict[str, Any] = Habit()._asdict()


def habit_from_wire(wire: dict[str, Any]) -> Habit:
    """Read what `habit_to_wire` wrote."""
    return Habit(**{name: _frozen(value) for name, value in wire.items()})


def _frozen(value: Any) -> Any:
    is_list = isinstance(value, Iterable) and not isinstance(value, str)
    return tuple(map(_frozen, value)) if is_list else value
