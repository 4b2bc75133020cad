"""Watching: the log is scored event by event, and who is odd is flagged by an ordinary command.

The habits that scoring keeps are saved together with the position up to which the log was scored,
after the flags were decided. A flag's id names the rules and the event at which the score stood, so
that whoever scores the same stretch again, after a crash or elsewhere, flags nobody twice.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from application.following import Followed, LedgerLog
from domain.fraud_commands import FlagCustomer
from domain.fraud_facts import SEEN_EVENTS, sighting
from domain.fraud_habit import Habit, habit_from_wire, habit_to_wire
from domain.fraud_scoring import RULE, Verdict, step
from domain.inferences import apart

BATCH = 1_000
HABITS_MAX = 5_000
"""So many stay in memory; the rest is read again when it is needed."""


class Watched(NamedTuple):
    """How far the log was scored, and by which rules."""

    rule: int
    position: int
    silent_until: int
    """Up to here other rules had scored it before, or it was written before there were any: nobody
    is flagged for what is that old.
    """


class WatchMovedError(Exception):
    """Somebody else has scored this stretch: begin again from what is kept."""


class HabitStore(Protocol):
    """Keeps habits and the position up to which they hold, in one transaction."""

    def watched(self) -> Watched:
        """Return how far the log was scored."""

    def start_again(self, before: Watched, after: Watched) -> None:
        """Forget every habit and stand elsewhere; raises WatchMovedError."""

    def habits(self, customers: Sequence[str]) -> Mapping[str, str]:
        """Return the habits, as JSON, of those customers that have one."""

    def save(self, before: Watched, after: Watched, habits: Mapping[str, str]) -> None:
        """Keep habits and stand at the next position; raises WatchMovedError."""


Flag = Callable[[Sequence[FlagCustomer]], None]
"""Has commands decided; raises when one could not be, for then nothing may be forgotten."""


class Scored(NamedTuple):
    """A customer who is to be flagged, and the event at which that became so."""

    position: int
    customer: str
    verdict: Verdict

    def command(self) -> FlagCustomer:
        """Return the command that flags; the same for whoever comes to this verdict."""
        told = ", ".join(f"{code} {points}" for code, points in self.verdict.signs)
        return FlagCustomer(
            id=f"score-{RULE}-{self.position}",
            customer=self.customer,
            reason=f"the score is {self.verdict.score}: {told}",
            score=self.verdict.score,
            signs=self.verdict.signs,
            rule=RULE,
            seen=self.position,
        )


def score(events: Iterable[Followed], habits: dict[str, Habit]) -> list[Scored]:
    """Score events in order of position, on habits that are brought up to date; who is to flag.

    It is the same whoever runs it: the same events come to the same verdicts.
    """
    found = []
    for event in events:
        customer = event.customer
        if customer is None or type(event.event) not in SEEN_EVENTS:
            continue
        verdicts = []
        for each in apart(event):
            seen = sighting(each.event, each.occurred_at)
            if seen is not None:
                habits[customer], verdict = step(habits.get(customer, _NEW), seen)
                verdicts += [] if verdict is None else [verdict]
        if verdicts:  # one flag for an event, whose position names it
            found.append(Scored(event.position, customer, verdicts[0]))
    return found


_NEW = Habit()


class Watcher:
    """Scores the log after what is kept; used by one thread, and by one process at a time."""

    def __init__(self, log: LedgerLog, store: HabitStore, flag: Flag) -> None:
        """Read through `log`, keep in `store`, and flag through `flag`."""
        self._log = log
        self._store = store
        self._flag = flag
        self._habits: dict[str, Habit] = {}
        self._watched: Watched | None = None

    def step(self, limit: int = BATCH) -> int:
        """Score up to `limit` events; return how many there were."""
        try:
            return self._step(limit)
        except BaseException:
            self._habits, self._watched = {}, None  # the next call begins from what is kept
            raise

    def _step(self, limit: int) -> int:
        watched = self._watched or self._begin()
        entries = [entry for entry, _ in self._log.after(watched.position, limit)]
        if not entries:
            self._watched = watched
            return 0
        events = [entry for entry in entries if isinstance(entry, Followed)]
        customers = {event.customer for event in events if event.customer is not None}
        self._load(customers)
        before = {name: self._habits.get(name) for name in customers}
        flags = score(events, self._habits)
        commands = [each.command() for each in flags if each.position > watched.silent_until]
        if commands:
            self._flag(commands)
        changed = {
            name: json.dumps(habit_to_wire(self._habits[name]), separators=(",", ":"))
            for name, habit in before.items()
            if self._habits.get(name) is not habit
        }
        after = watched._replace(position=entries[-1].position)
        self._store.save(watched, after, changed)
        self._watched = after
        return len(entries)

    def _begin(self) -> Watched:
        """Return where to go on; where other rules have scored, all of it is scored again."""
        watched = self._store.watched()
        if watched.rule == RULE:
            return watched
        silent = max(watched.silent_until, watched.position)
        again = Watched(RULE, 0, silent)
        self._store.start_again(watched, again)
        return again

    def _load(self, customers: set[str]) -> None:
        if len(self._habits) > HABITS_MAX:
            self._habits = {}
        wanted = sorted(customers - self._habits.keys())
        for name, habit in self._store.habits(wanted).items() if wanted else ():
            self._habits[name] = habit_from_wire(json.loads(habit))
