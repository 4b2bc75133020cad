"""How often scoring is right: honest and fraudulent customers, made up from a seed, and scored.

`python -m benchmarks.fraud_simulation` prints the table of docs/fraud.md; a test holds the page to
it. Everybody lives through ten days; whoever turns fraudulent does so on the eighth day. The mix is
ours, so the figures tell what the signs can and cannot see, not how common fraud is anywhere.
"""

from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import NamedTuple

from domain.fraud_facts import Sighting
from domain.fraud_habit import DAY, HOUR, MINUTE, Habit
from domain.fraud_scoring import step
from domain.values import SECOND

SEED = 20_260_301
DAYS = 10
TURN = 7
"""The day, counted from 0, on which fraud begins, and on which honest customers change."""
BEGIN = 20_000 * DAY
"""Any day would do: the signs know hours of the day, not days of the week."""


class Life(NamedTuple):
    """How a customer uses the service while nothing changes."""

    hours: tuple[int, ...]
    per_hour: int
    machines: int
    size_in: int
    size_out: int


def _life(random: Random) -> Life:
    """Make an ordinary customer: an office, a service that never sleeps, or a nightly job."""
    size_in, size_out = random.choice((60, 400, 2_000)), random.choice((40, 200, 900))
    kind = random.randrange(3)
    if kind == 0:
        begin = random.randrange(6, 11)
        hours = tuple(range(begin, begin + 9))
        return Life(hours, random.randrange(6, 25), random.randrange(1, 5), size_in, size_out)
    if kind == 1:
        per_hour = random.randrange(3, 10)
        return Life(tuple(range(24)), per_hour, random.randrange(1, 7), size_in, size_out)
    hours = (random.randrange(0, 5),)
    return Life(hours, random.randrange(60, 200), random.randrange(1, 3), size_in, size_out)


def _around(random: Random, size: int) -> int:
    """Return a size near another, rarely a much larger or smaller one."""
    return max(1, int(random.lognormvariate(0, 0.6) * size))


def _asks(
    random: Random, start: int, life: Life, count: int, spread: int = HOUR, prefix: str = "m"
) -> Iterator[Sighting]:
    """Yield requests within some time: each asks and is used, a little later."""
    for _ in range(count):
        at = start + random.randrange(spread)
        machine = f"{prefix}{random.randrange(life.machines)}"
        yield Sighting(at, asks=1, license="key", machine=machine)
        yield Sighting(
            at + random.randrange(1, 20) * SECOND,
            requests=1,
            tokens_in=_around(random, life.size_in),
            tokens_out=_around(random, life.size_out),
        )


def _ordinary(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    for hour in life.hours:
        count = random.randrange(life.per_hour // 2, life.per_hour * 3 // 2 + 1)
        yield from _asks(random, BEGIN + day * DAY + hour * HOUR, life, count)
    if random.randrange(4) == 0:  # somebody mistypes a model's name
        at = BEGIN + day * DAY + life.hours[0] * HOUR
        for number in range(random.randrange(1, 6)):
            yield Sighting(at + number * MINUTE, asks=1, probes=1, target="mistyped", license="key")


Change = Callable[[Random, Life, int], Iterator[Sighting]]
"""What a customer does on a day after the change, in place of the ordinary day."""


def _as_ever(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    yield from _ordinary(random, life, day)


def _late_evening(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    """Work through one night before a deadline."""
    yield from _ordinary(random, life, day)
    if day == TURN:
        start = BEGIN + day * DAY + _quiet_hour(life) * HOUR
        yield from _asks(random, start, life, 40)


def _new_product(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    """Send prompts of another size from now on."""
    other = life._replace(size_in=life.size_in * 16, size_out=life.size_out * 8)
    yield from _ordinary(random, other, day)


def _more_machines(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    """Move to a fleet that is larger by a few machines each day."""
    fleet = life._replace(machines=life.machines + 2 * (day - TURN + 1))
    yield from _ordinary(random, fleet, day)


def _big_move(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    """Move to a fleet many times larger at once: nothing tells it from a shared key."""
    yield from _ordinary(random, life._replace(machines=life.machines * 6 + 10), day)


def _launch(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    """Be found by the world: from now on five times the use."""
    yield from _ordinary(random, life._replace(per_hour=life.per_hour * 5), day)


def _shared_key(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    """Pass the key around: a dozen and more strangers' machines use it as well."""
    yield from _ordinary(random, life, day)
    strangers = life._replace(machines=random.randrange(12, 40), hours=tuple(range(24)), per_hour=4)
    for hour in strangers.hours:
        start = BEGIN + day * DAY + hour * HOUR
        yield from _asks(random, start, strangers, random.randrange(2, 7), prefix="s")


def _shared_quietly(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    """Pass the key to two friends, who use it as the owner does."""
    yield from _ordinary(random, life, day)
    yield from _ordinary(
        random, life._replace(machines=2, per_hour=max(2, life.per_hour // 4)), day
    )


def _stolen_at_night(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    """Use a stolen key while its owner sleeps, for work of another kind."""
    yield from _ordinary(random, life, day)
    thief = life._replace(machines=1, size_in=life.size_in * 20, size_out=life.size_out * 20)
    start = BEGIN + day * DAY + _quiet_hour(life) * HOUR
    yield from _asks(random, start, thief, random.randrange(40, 150), prefix="t")


def _stolen_by_day(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    """Use a stolen key among the owner's own requests, and for the same kind of work."""
    yield from _ordinary(random, life, day)
    yield from _ordinary(random, life._replace(machines=1), day)


def _drained(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    """Empty the account as fast as it goes."""
    yield from _ordinary(random, life, day)
    if day == TURN:
        start = BEGIN + day * DAY + life.hours[0] * HOUR
        yield from _asks(random, start, life, 2_000, spread=4 * MINUTE, prefix="d")


def _prober(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    """Try models and facts until something lets through."""
    yield from _ordinary(random, life, day)
    at = BEGIN + day * DAY + _quiet_hour(life) * HOUR
    for number in range(random.randrange(12, 60)):
        target = f"model-{number % random.randrange(3, 12)}"
        yield Sighting(at + number * 8 * SECOND, asks=1, probes=1, target=target, license="key")


def _slow_prober(random: Random, life: Life, day: int) -> Iterator[Sighting]:
    """Try one door every few minutes."""
    yield from _ordinary(random, life, day)
    for number in range(100):
        at = BEGIN + day * DAY + number * 4 * MINUTE
        yield Sighting(at, asks=1, probes=1, target=f"model-{number}", license="key")


def _quiet_hour(life: Life) -> int:
    """Return an hour at which the customer hardly ever does anything; noon if there is none."""
    idle = [hour for hour in range(24) if not {hour - 1, hour, (hour + 1) % 24} & {*life.hours}]
    return idle[len(idle) // 2] if idle else 12


KINDS: tuple[tuple[str, bool, int, Change], ...] = (
    ("as ever", False, 60, _as_ever),
    ("one late evening", False, 10, _late_evening),
    ("prompts of another size", False, 10, _new_product),
    ("a few machines more each day", False, 10, _more_machines),
    ("five times the use", False, 10, _launch),
    ("a much larger fleet at once", False, 2, _big_move),
    ("key shared among many", True, 10, _shared_key),
    ("key stolen, used at night", True, 10, _stolen_at_night),
    ("account drained at once", True, 10, _drained),
    ("refusals probed", True, 10, _prober),
    ("key shared with two", True, 5, _shared_quietly),
    ("key stolen, used by day", True, 5, _stolen_by_day),
    ("refusals probed slowly", True, 5, _slow_prober),
)
"""(kind, whether it is fraud, customers, what changes)."""


class Row(NamedTuple):
    """What became of the customers of a kind."""

    kind: str
    fraud: bool
    customers: int
    flagged: int
    codes: tuple[str, ...]
    """The reason codes that flagged any of them, in order."""


def _flags(random: Random, change: Change) -> set[str]:
    """Score a customer's ten days; return the codes of the first verdict."""
    life, habit = _life(random), Habit()
    for day in range(DAYS):
        one = _ordinary if day < TURN else change
        for seen in sorted(one(random, life, day)):
            habit, verdict = step(habit, seen)
            if verdict is not None:
                return {code for code, _ in verdict.signs}
    return set()


def simulate(numbers: Iterable[int] = range(len(KINDS)), seed: int = SEED) -> list[Row]:
    """Score everybody, or the kinds of these numbers, and count who was flagged."""
    rows = []
    for number in numbers:
        kind, fraud, customers, change = KINDS[number]
        random = Random(seed + number)
        found = [_flags(random, change) for _ in range(customers)]
        codes = sorted(set().union(*found))
        rows.append(Row(kind, fraud, customers, sum(map(bool, found)), tuple(codes)))
    return rows


def line(row: Row) -> str:
    """Write the figures of a kind as docs/fraud.md has them."""
    codes = ", ".join(f"`{code}`" for code in row.codes) or "-"
    fraud = "yes" if row.fraud else "no"
    return f"| {row.kind} | {fraud} | {row.customers} | {row.flagged} | {codes} |"


def table(rows: list[Row]) -> str:
    """Write the figures as docs/fraud.md has them."""
    lines = ["| customers | fraud | of them | flagged | by |", "|--|--|--|--|--|"]
    lines += map(line, rows)
    right = sum(row.flagged for row in rows if row.fraud)
    wrong = sum(row.flagged for row in rows if not row.fraud)
    frauds = sum(row.customers for row in rows if row.fraud)
    honest = sum(row.customers for row in rows if not row.fraud)
    precision, recall = (f"{1000 * right // most / 10}" for most in (right + wrong, frauds))
    lines += [
        "",
        f"Precision {precision} %: of {right + wrong} flagged, {right} are fraud.",
        f"Recall {recall} %: of {frauds} frauds, {right} are flagged.",
        f"Of {honest} honest customers, {wrong} are flagged.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(simulate()))
