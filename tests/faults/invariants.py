"""What must hold in any stored ledger: by SQL, by a sum over its events, and by the audit.

The sum uses neither the rules nor the folds of the domain: a bug there must not hide itself.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from adapters.event_store.mapper import ROW_COLUMNS, leaf_hash
from adapters.event_store.store import PostgresEventStore
from application.loading import load_balance
from domain.balance import Balance
from domain.event import Recorded
from domain.folding import evolve
from domain.state import balance_to_wire
from entrypoints.bootstrap import Database
from entrypoints.cli.audit import run_audit
from tests.support.databases import query

GAPS = {
    "positions": "SELECT count(*), max(position) FROM events",
    "the head": "SELECT (SELECT count(*) FROM events), position FROM ledger_head",
    "the head's time": "SELECT (SELECT max(recorded_at) FROM events), recorded_at FROM ledger_head",
    "stream versions": "SELECT sum(many), sum(top) FROM (SELECT count(*) AS many, "
    "max(stream_version) AS top FROM events GROUP BY stream) x",
    "customer sequences": "SELECT sum(many), sum(top) FROM (SELECT count(*) AS many, "
    "max(customer_sequence) AS top FROM events WHERE customer IS NOT NULL GROUP BY customer) x",
    "one id per outcome": "SELECT count(*), (SELECT count(DISTINCT position) FROM command_ids) "
    "FROM events WHERE name NOT IN ('holds_expired', 'grants_expired', 'account_blocked') "
    "AND NOT (name IN ('usage_charged', 'reservation_settled') AND data::jsonb ? 'record')",
    "ids and their events": "SELECT count(*), count(*) FILTER (WHERE events.command = ids.id "
    "OR name = 'inferences_settled' AND data::jsonb -> 'lines' @> "
    "jsonb_build_array(jsonb_build_object('id', ids.id))) "
    "FROM command_ids AS ids LEFT JOIN events USING (position) WHERE kind <> 'license_key'",
    "lines and their ids": "SELECT coalesce(sum(jsonb_array_length(data::jsonb -> 'lines')), 0), "
    "(SELECT count(*) FROM command_ids JOIN events USING (position) WHERE name = "
    "'inferences_settled') FROM events WHERE name = 'inferences_settled'",
}
"""Pairs of numbers that must be equal."""

TIMES = """
    SELECT position FROM
        (SELECT position, recorded_at, lag(recorded_at) OVER (ORDER BY position) AS before
         FROM events) AS steps
    WHERE recorded_at < before
"""


@dataclass
class Money:
    """The independent sum of one customer, in 10^-12."""

    limit: int = 0
    granted: int = 0
    spent: int = 0
    breakage: int = 0
    holds: dict[str, int] = field(default_factory=dict)

    @property
    def held(self) -> int:
        """Return what all holds hold."""
        return sum(self.holds.values())

    @property
    def available(self) -> int:
        """Return what is left above the floor."""
        return self.granted - self.spent - self.breakage - self.held + self.limit


def assert_sound(super_url: str) -> dict[str, Money]:
    """Check a stored ledger and return what its events add up to, customer by customer."""
    for what, statement in GAPS.items():
        ((one, other),) = query(super_url, statement)
        assert one == other, f"{what}: {one} and {other}"
    assert query(super_url, TIMES) == [], "recorded_at went back"
    rows = query(super_url, f"SELECT {ROW_COLUMNS}, leaf FROM events ORDER BY position")
    sums: dict[str, Money] = defaultdict(Money)
    for row in rows:
        data, leaf = str(row[13]), row[14]
        envelope: Any = Recorded._make((*row[:13], None))
        assert leaf == leaf_hash(envelope, data.encode()), f"leaf of {row[0]}"
        customer = row[5]
        if customer is not None:
            money = sums[str(customer)]
            _add(money, str(row[1]), json.loads(data))
            assert money.available >= 0, f"the floor of {customer} was passed at {row[0]}"
    assert_spent_in_sql(super_url, sums)
    report = run_audit(Database(super_url, super_url, None))
    assert report.ok, report.differences
    return dict(sums)


def pico(text: str) -> int:
    """Read an amount as events store it, always with 12 places."""
    assert len(text.partition(".")[2]) == 12
    return int(text.replace(".", ""))


def _add(money: Money, name: str, data: dict[str, Any]) -> None:
    """Add one event to a sum; a part leaves what it does not use of its hold."""
    if name in {"customer_created", "customer_changed"} and "credit_limit" in data:
        money.limit = pico(data["credit_limit"])
    elif name == "grant_issued":
        money.granted += pico(data["amount"])
    elif name in {"reservation_held", "reservation_extended"}:
        money.holds[data["reservation"]] = pico(data["held"])
    elif name == "reservation_settled":
        money.spent += pico(data["from_balance"])
        left = money.holds.pop(data["reservation"], None)
        if not data["final"] and left is not None:  # a part uses up its own hold first
            money.holds[data["reservation"]] = max(0, left - pico(data["from_balance"]))
    elif name == "inferences_settled":
        for line in data["lines"]:
            paid = pico(line["charged"]) - pico(line.get("receivable", "0." + 12 * "0"))
            told = {"final": False, "from_balance": f"{paid // 10**12}.{paid % 10**12:012}"}
            _add(money, "reservation_settled", {"reservation": data["reservation"], **told})
    elif name == "reservation_released":
        money.holds.pop(data["reservation"], None)
    elif name == "usage_charged":
        money.spent += pico(data["from_balance"])
    elif name == "holds_expired":
        for reservation, amount in data["holds"]:
            assert money.holds.pop(reservation) == pico(amount)
    elif name == "grants_expired":
        money.breakage += sum(pico(amount) for _, amount in data["grants"])


def assert_spent_in_sql(super_url: str, sums: dict[str, Money]) -> None:
    """Check the same spending by a sum of the database's own."""
    rows = query(
        super_url,
        "SELECT customer, sum(paid) * 1000000000000 FROM ("
        "SELECT customer, (data::jsonb ->> 'from_balance')::numeric AS paid FROM events "
        "WHERE name IN ('usage_charged', 'reservation_settled') UNION ALL "
        "SELECT customer, (line ->> 'charged')::numeric - "
        "coalesce((line ->> 'receivable')::numeric, 0) "
        "FROM events, jsonb_array_elements(data::jsonb -> 'lines') AS line "
        "WHERE name = 'inferences_settled') AS payments GROUP BY customer",
    )
    spent = {customer: money.spent for customer, money in sums.items() if money.spent}
    assert {customer: amount for customer, amount in rows if amount} == spent


def assert_snapshots_agree(url: str) -> int:
    """Check that loading from snapshots gives what folding from the first event gives.

    Returns how many snapshots there were.
    """
    store = PostgresEventStore(url)
    try:
        position = store.head().position
        snapshots = 0
        for (customer,) in query(url, "SELECT DISTINCT customer FROM events WHERE customer <> ''"):
            folded = Balance()
            for recorded in store.customer_events(str(customer), 0, position):
                folded = evolve(folded, recorded.event, recorded.recorded_at)
            loaded = load_balance(store, str(customer), position)
            assert balance_to_wire(loaded) == balance_to_wire(folded)
            snapshots += store.snapshot(str(customer)) is not None
    finally:
        store.close()
    return snapshots
