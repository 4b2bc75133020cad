"""Balances as of any position or instant: the nearest kept state, and the few events after it.

The log is the truth. What the projector keeps is only a shortcut, so an answer is right, if slower,
while the projector is behind or has never run.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tollbook.errors import Invalid, NotFound
from tollbook.times import format_instant

from application.ports import EventStore
from application.replaying import Target
from domain.balance import Balance, view
from domain.folding import evolve
from domain.outcomes import money
from domain.state import STATE_VERSION, balance_from_wire

_NEAREST = """
SELECT older.sequence, older.state,
    (SELECT sequence FROM views.balance_history
        WHERE customer = wanted.id AND position > wanted.position ORDER BY position LIMIT 1)
FROM (SELECT %s::text, %s::bigint) AS wanted (id, position)
LEFT JOIN LATERAL (SELECT sequence, state FROM views.balance_history
    WHERE customer = wanted.id AND position <= wanted.position AND state_version = %s
    ORDER BY position DESC LIMIT 1) AS older ON true
"""
_RECORDED_AT = "SELECT recorded_at FROM public.events WHERE position = %s"


class Store(EventStore, Protocol):
    """An event store that answers queries as well."""

    def run(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""


class Moment(NamedTuple):
    """A place in the log, and the instant at which it is looked at."""

    position: int
    instant: int


def moment_of(store: Store, target: Target | None = None) -> Moment:
    """Resolve a position, a time of `recorded_at`, or now; raises Invalid for what is to come."""
    head = store.head()
    if target is not None and target.position is not None:
        return _moment_at(store, target.position, head.position)
    now = head.recorded_at
    if head.clock == "database":
        now = max(now, store.database_time())
    if target is None or target.instant is None:
        return Moment(head.position, now)
    if target.instant > now:
        raise Invalid.because("at", format_instant(target.instant), "not in the future")
    ((position,),) = store.run("SELECT public.position_at(%s::bigint)", (target.instant,))
    return Moment(position, target.instant)


def _moment_at(store: Store, position: int, head: int) -> Moment:
    if position > head:
        raise Invalid.because("at", position, f"at most {head}, the ledger's position")
    rows = store.run(_RECORDED_AT, (position,))
    return Moment(position, rows[0][0] if rows else 0)


def state_at(store: Store, customer: str, position: int) -> Balance:
    """Return a customer's folded state after the event at a position."""
    ((sequence, state, following),) = store.run(_NEAREST, (customer, position, STATE_VERSION))
    balance = Balance() if state is None else balance_from_wire(json.loads(state))
    if following is not None and following - (sequence or 0) == 1:
        return balance
    for recorded in store.customer_events(customer, sequence or 0, position, following):
        balance = evolve(balance, recorded.event, recorded.recorded_at)
    return balance


def balance_at(store: Store, customer: str, target: Target | None = None) -> dict[str, Any]:
    """Return a customer's balance as of a position or a time; now, when neither is given.

    Raises NotFound for a customer who did not exist by then.
    """
    moment = moment_of(store, target)
    balance = state_at(store, customer, moment.position)
    terms = balance.customer
    if terms is None:
        raise NotFound(
            f"there is no customer {customer} at position {moment.position}",
            field="customer",
            value=customer,
        )
    seen = view(balance, moment.instant)
    wanted = ("available", "held", "granted", "spent", "receivable", "credit_limit")
    return {
        "customer": customer,
        **{name: money(getattr(seen, name), terms.currency) for name in wanted},
        "position": moment.position,
        "at": format_instant(moment.instant),
    }
