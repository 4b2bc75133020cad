"""The customers' folded states while the log is followed: in memory, and kept every so often.

Each customer's state is kept in `balance_history` after every 256th of their events, and whenever
it leaves memory. So it is never far to any state: the newest kept one, and the few events after it.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from application.following import Followed, LedgerLog
from domain.balance import Balance
from domain.folding import evolve
from domain.inferences import weight
from domain.state import STATE_VERSION, balance_from_wire, balance_to_wire
from projections.arrays import numbers, texts
from projections.model import Connection, Run

TABLES = """
CREATE TABLE balance_history (
    position      bigint  NOT NULL,  -- of the event that led to this state
    sequence      bigint  NOT NULL,  -- of that event among its customer's
    state_version integer NOT NULL,
    customer      text    NOT NULL,
    state         text    NOT NULL,  -- docs/formats/state.md
    PRIMARY KEY (customer, position)
);
"""

KEPT_EVERY = 256
"""A state is kept once in so many facts of the customer's events, or fewer."""
CUSTOMERS_MAX = 50_000

_INSERT = """
INSERT INTO balance_history (position, sequence, state_version, customer, state)
SELECT a, b, %s, c, d FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[])
    AS row (a, b, c, d)
ON CONFLICT DO NOTHING
"""
_NEWEST = """
SELECT wanted.id, kept.state FROM unnest(%s::text[]) AS wanted (id), LATERAL (
    SELECT state FROM {schema}.balance_history
    WHERE customer = wanted.id AND position <= %s AND state_version = %s
    ORDER BY position DESC LIMIT 1) AS kept
"""

_NOBODY = Balance()


class Kept(NamedTuple):
    """A state that is to be kept: after the customer's event at a position."""

    position: int
    sequence: int
    customer: str
    state: str


def _kept(position: int, customer: str, balance: Balance) -> Kept:
    return Kept(position, balance.sequence, customer, json.dumps(balance_to_wire(balance)))


class CustomerStates:
    """Every customer's balance as of the log's position so far; the oldest untouched may leave."""

    def __init__(self, log: LedgerLog, run: Run, schema: str) -> None:
        """Start with nobody in memory; `run` reads what the build in a schema has kept."""
        self._log = log
        self._run = run
        self._newest = _NEWEST.format(schema=schema)
        self._balances: dict[str, Balance] = {}
        self._positions: dict[str, int] = {}
        self.kept: list[Kept] = []
        """States to be written with the batch that is being folded."""

    def load(self, firsts: dict[str, int], position: int) -> None:
        """Bring customers into memory as of a position, given the sequence of their next event."""
        missing = [name for name in firsts if name not in self._balances]
        known = [name for name in missing if firsts[name] > 1]
        if known:
            for name, state in self._run(self._newest, (known, position, STATE_VERSION)):
                self._balances[name] = balance_from_wire(json.loads(state))
            wanted = [(name, self._balances.get(name, _NOBODY).sequence) for name in known]
            for recorded in self._log.customers_after(wanted, position):
                with suppress(Exception):  # it was parked when its turn came
                    self.step(recorded)
        for name in missing:
            self._balances.setdefault(name, _NOBODY)

    def step(self, recorded: Followed) -> tuple[Balance, Balance]:
        """Fold one event of a customer in memory; return the state before and after it.

        Raises whatever the fold raises; the state then counts the event, and is otherwise as
        before.
        """
        name, sequence = recorded.customer, recorded.customer_sequence
        assert name is not None
        assert sequence is not None
        before = self._balances.get(name, _NOBODY)
        try:
            after = evolve(before, recorded.event, recorded.recorded_at)
        except Exception:
            self.skip(name, sequence)
            raise
        if after.sequence != sequence:  # an event that nobody could read came between
            after = after._replace(sequence=sequence)
        self._balances[name] = after
        self._positions[name] = recorded.position
        if sequence % max(1, KEPT_EVERY // weight(recorded.event)) == 0:
            self.kept.append(_kept(recorded.position, name, after))
        return before, after

    def skip(self, customer: str, sequence: int) -> None:
        """Count an event of a customer that cannot be folded."""
        before = self._balances.get(customer, _NOBODY)
        self._balances[customer] = before._replace(sequence=sequence)

    def let_go(self, touched: Iterable[str]) -> None:
        """Keep the customers of this batch nearest, and let the oldest go when there are many."""
        balances = self._balances
        if len(balances) <= CUSTOMERS_MAX * 9 // 10:
            return
        for name in touched:
            balances[name] = balances.pop(name)
        if len(balances) <= CUSTOMERS_MAX:
            return
        for name in list(balances)[: len(balances) - CUSTOMERS_MAX * 9 // 10]:
            balance, position = balances.pop(name), self._positions.pop(name, None)
            if position is not None and balance.sequence % KEPT_EVERY:
                self.kept.append(_kept(position, name, balance))

    def forget(self) -> None:
        """Forget everything; it is loaded again as of the next batch."""
        self._balances.clear()
        self._positions.clear()
        self.kept.clear()


def write_kept(connection: Connection, kept: list[Kept]) -> None:
    """Write kept states inside the open transaction."""
    if kept:
        parameters = (
            STATE_VERSION,
            numbers([each.position for each in kept]),
            numbers([each.sequence for each in kept]),
            texts([each.customer for each in kept]),
            texts([each.state for each in kept]),
        )
        connection.execute(_INSERT, parameters)
