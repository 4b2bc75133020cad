"""The machine: random commands at random times to real executors, compared with the oracle.

Two executors write to one ledger, so that each has to catch up with the other; now and then one is
restarted and has to load what it needs. After every step the answers, and every balance now and
at the instants at which something expires, are those that the oracle computes.
"""

from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from adapters.clock import TraceClock
from application.answers import Answer
from application.executor import Executor
from application.jobs import Item
from application.loading import load_balance
from application.ports import EventStore
from domain.balance import view
from domain.commands import parse
from tests.model.inputs import OPENING, START, Inputs, completed
from tests.model.oracle import Oracle
from tests.model.oracle_rules import Body, Expected
from tests.model.wire import SECOND, agrees

Command = tuple[str, Body]

EVERYTHING = (
    *("reserve", "settle", "extend", "release", "usage", "park_usage", "release_usage"),
    *("issue_grant", "change_customer", "create_customer", "publish_prices"),
    *("unblock", "set_caps"),
)
WRITERS = st.integers(0, 1)
LATENESS = st.sampled_from([0, 0, 0, 0, 0, 1, 30 * SECOND])
"""How far a command's clock lies behind: the ledger's time never goes back."""


class Backing(Protocol):
    """A ledger that an example runs on, in memory or on PostgreSQL."""

    def store(self) -> EventStore:
        """Return a new connection to the ledger."""

    def close(self) -> None:
        """Drop the ledger."""


class LedgerMachine(RuleBasedStateMachine):
    """Drives a ledger and the oracle side by side."""

    INPUTS = Inputs
    KINDS: tuple[str, ...] = EVERYTHING
    """What is drawn when anything may happen."""

    def __init__(self, backing: Backing) -> None:
        super().__init__()
        self.backing = backing
        self.reading = backing.store()
        self.executors = [self.executor(), self.executor()]
        self.oracle = Oracle()
        self.now = START
        self.sent: list[Command] = []
        self.first_answers: dict[str, Any] = {}
        self._numbers = count(2)

    def executor(self) -> Executor:
        """Return an executor with nothing in memory."""
        return Executor(self.backing.store(), TraceClock(0))

    def teardown(self) -> None:
        """Stop the executors and drop the ledger."""
        for executor in self.executors:
            executor.close()
        self.backing.close()

    def draw(
        self, data: st.DataObject, *kinds: str, wild: bool = False, collide: bool = True
    ) -> Command:
        """Draw a command of one of these kinds that fits what has happened."""

        def fresh(prefix: str) -> str:
            return f"{prefix}{next(self._numbers)}"

        inputs = self.INPUTS(self.oracle.rules, self.now, fresh, wild=wild, collide=collide)
        return data.draw(inputs.commands(kinds or self.KINDS))

    def any_open(self) -> bool:
        """Say whether a reservation has had no outcome yet."""
        accounts = self.oracle.rules.accounts.values()
        return any(hold.outcome is None for each in accounts for hold in each.holds)

    # --- what happens -------------------------------------------------------------------------

    @initialize()
    def open_the_ledger(self) -> None:
        """Publish the prices and create the customers."""
        self.send([completed(kind, body) for kind, body in OPENING])

    @rule(step=st.sampled_from([1, SECOND, 60 * SECOND, 299 * SECOND, 300 * SECOND, 2000 * SECOND]))
    def let_time_pass(self, step: int) -> None:
        """Go on by a step."""
        self.now += step

    @rule(before=st.sampled_from([0, 0, 1]), which=st.integers(0, 3))
    def go_to_an_expiry(self, before: int, which: int) -> None:
        """Go to the very instant at which something expires, or to the microsecond before."""
        ahead = sorted(moment for moment in self.expiries() if moment - before > self.now)
        if ahead:
            self.now = ahead[which % len(ahead)] - before

    @rule(data=st.data(), writer=WRITERS, late=LATENESS)
    def issue_a_grant(self, data: st.DataObject, writer: int, late: int) -> None:
        """Put money at someone's disposal."""
        self.send([self.draw(data, "issue_grant")], writer, late)

    @rule(data=st.data(), writer=WRITERS)
    def change_terms(self, data: st.DataObject, writer: int) -> None:
        """Change a credit limit or a time zone."""
        self.send([self.draw(data, "change_customer")], writer)

    @rule(data=st.data(), writer=WRITERS, late=LATENESS)
    def reserve(self, data: st.DataObject, writer: int, late: int) -> None:
        """Reserve."""
        self.send([self.draw(data, "reserve")], writer, late)

    @rule(data=st.data(), writer=WRITERS)
    def reserve_more(self, data: st.DataObject, writer: int) -> None:
        """Reserve several times in one job."""
        count = data.draw(st.integers(1, 3))
        self.send([self.draw(data, "reserve") for _ in range(count)], writer)

    @precondition(any_open)
    @rule(data=st.data(), writer=WRITERS, late=LATENESS)
    def extend(self, data: st.DataObject, writer: int, late: int) -> None:
        """Extend an open reservation."""
        self.send([self.draw(data, "extend")], writer, late)

    @precondition(any_open)
    @rule(data=st.data(), writer=WRITERS, late=LATENESS)
    def settle(self, data: st.DataObject, writer: int, late: int) -> None:
        """Settle an open reservation, in part or finally."""
        self.send([self.draw(data, "settle")], writer, late)

    @precondition(any_open)
    @rule(data=st.data(), writer=WRITERS)
    def settle_in_parts(self, data: st.DataObject, writer: int) -> None:
        """Settle parts in one job."""
        parts = [self.draw(data, "settle") for _ in range(data.draw(st.integers(1, 3)))]
        self.send([(kind, {**body, "final": False}) for kind, body in parts], writer)

    @precondition(any_open)
    @rule(data=st.data(), writer=WRITERS)
    def release(self, data: st.DataObject, writer: int) -> None:
        """Release an open reservation."""
        self.send([self.draw(data, "release")], writer)

    @rule(data=st.data(), writer=WRITERS, late=LATENESS, wild=st.booleans())
    def record_usage(self, data: st.DataObject, writer: int, late: int, wild: bool) -> None:
        """Send a usage record, directly or of a reservation; a wild one may be parked."""
        self.send([self.draw(data, "usage", wild=wild)], writer, late)

    @rule(data=st.data(), writer=WRITERS)
    def park(self, data: st.DataObject, writer: int) -> None:
        """Park a usage record by hand."""
        self.send([self.draw(data, "park_usage", wild=True)], writer)

    @precondition(lambda self: self.oracle.rules.parked)
    @rule(data=st.data(), writer=WRITERS, late=LATENESS)
    def release_parked_usage(self, data: st.DataObject, writer: int, late: int) -> None:
        """Release a parked record twice under two ids; the other writer may be the second."""
        _, one = self.draw(data, "release_usage")
        _, other = self.draw(data, "release_usage")
        twice = [("release_usage", one), ("release_usage", {**other, "parked": one["parked"]})]
        if data.draw(st.booleans()):
            self.send(twice, writer, late)
        else:
            self.send(twice[:1], writer, late)
            self.send(twice[1:], 1 - writer)

    @rule(data=st.data(), writer=WRITERS, late=LATENESS)
    def do_several_things(self, data: st.DataObject, writer: int, late: int) -> None:
        """Send several commands of any kind in one job."""
        count = data.draw(st.integers(1, 4))
        self.send([self.draw(data, wild=True) for _ in range(count)], writer, late)

    @rule(data=st.data(), writer=WRITERS, late=LATENESS, wild=st.booleans())
    def do_all_or_nothing(self, data: st.DataObject, writer: int, late: int, wild: bool) -> None:
        """Send several commands that succeed together or not at all.

        That the id of a resource is taken may come out only when everything is appended, after a
        later command has failed: so only the last command's id may be taken.
        """
        count = data.draw(st.integers(0, 3))
        commands = [self.draw(data, wild=wild, collide=False) for _ in range(count)]
        self.send([*commands, self.draw(data, wild=wild)], writer, late, atomic=True)

    @rule(data=st.data(), writer=WRITERS, kind=st.sampled_from(["issue_grant", "reserve"]))
    def want_one_id_twice(self, data: st.DataObject, writer: int, kind: str) -> None:
        """Send two commands in one job that would create a resource of the same id."""
        _, one = self.draw(data, kind)
        _, other = self.draw(data, kind)
        self.send([(kind, one), (kind, {**other, "id": one["id"]})], writer)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), writer=WRITERS)
    def say_it_again(self, data: st.DataObject, writer: int) -> None:
        """Send a command a second time: it has the same answer, or is decided if it had none."""
        self.send([data.draw(st.sampled_from(self.sent))], writer)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), writer=WRITERS)
    def use_an_id_again(self, data: st.DataObject, writer: int) -> None:
        """Send another body under an id that was used before."""
        kind, body = data.draw(st.sampled_from(self.sent))
        _, other = self.draw(data, kind)
        if kind == "publish_prices":
            book = {**body["book"], "models": other["book"]["models"]}
            self.send([(kind, {"id": body["id"], "book": book})], writer)
        else:
            self.send([(kind, {**other, "id": body["id"]})], writer)

    @rule(writer=WRITERS)
    def restart(self, writer: int) -> None:
        """Stop one executor and start another in its place."""
        self.executors[writer].close()
        self.executors[writer] = self.executor()

    # --- what must be true --------------------------------------------------------------------

    def send(
        self, commands: list[Command], writer: int = 0, late: int = 0, atomic: bool = False
    ) -> None:
        """Send commands to the ledger and to the oracle, and compare."""
        head = self.reading.head()
        at = self.now - late
        note(f"at {at} to writer {writer}{' atomically' if atomic else ''}: {commands}")
        items = [Item(parse(kind, body), at=at) for kind, body in commands]
        answers = self.executors[writer].execute(items, atomic=atomic)
        now = max(at, head.recorded_at)
        if atomic:
            expected = self.oracle.group(commands, now)
        else:
            expected = [self.oracle.run(kind, body, now) for kind, body in commands]
        assert self.reading.head().recorded_at in {head.recorded_at, now}
        for command, answer, wanted in zip(commands, answers, expected, strict=True):
            self.compare_answer(command, answer, wanted)
        self.sent.extend(commands)
        self.compare_balances(self.executors[writer])

    def compare_answer(self, command: Command, answer: Answer, expected: Expected) -> None:
        """Compare one answer, and with the first one that its id got."""
        problem = answer.problem()
        seen = answer.result() if problem is None else {**problem.facts}
        note(f"  {command[0]} {command[1]['id']}: {answer.code} {seen}")
        assert answer.code == expected.code, (command, answer.code, seen, expected)
        assert answer.done == (expected.code == "done")
        assert (answer.recorded is not None) == expected.recorded, (command, expected)
        assert agrees(expected.facts, seen, answer.currency or "USD"), (command, seen, expected)
        if answer.recorded is not None:
            # A parked record that was sent again is answered by its release, once there is one.
            key = repr((command, "charged" in expected.facts))
            first = self.first_answers.setdefault(key, (answer.recorded.position, seen))
            assert first == (answer.recorded.position, seen), "the same answer, for ever"

    def compare_balances(self, executor: Executor) -> None:
        """Compare every balance, now and around the next expiries, and what is in memory."""
        position = self.reading.head().position
        ahead = sorted(moment for moment in self.expiries() if moment > self.now)[:2]
        moments = [self.now, *(at + offset for at in ahead for offset in (-1, 0))]
        for name, account in self.oracle.rules.accounts.items():
            folded = load_balance(self.reading, name, position)
            for at in moments:
                seen = view(folded, at)._asdict()
                wanted = account.balance(at)
                shown = {key: f"{value * 10**12:d}" for key, value in seen.items()}
                assert seen.keys() == wanted.keys()
                for key, amount in wanted.items():
                    assert seen[key] == amount * 10**12, (name, at, key, shown, wanted)

    def expiries(self) -> set[int]:
        """Return the instants at which holds and grants end."""
        accounts = self.oracle.rules.accounts.values()
        holds = {hold.expires_at for each in accounts for hold in each.holds}
        grants = {grant.expires_at for each in accounts for grant in each.grants}
        return holds | {moment for moment in grants if moment is not None}


Factory = Callable[[], LedgerMachine]
