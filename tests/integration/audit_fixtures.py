"""A ledger to audit, and a superuser who rewrites it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from tollbook import merkle

from adapters.event_store.audit_reader import audit_reader
from adapters.event_store.mapper import ROW_COLUMNS, leaf_hash
from application.auditing import AuditReport
from application.expecting import Expectation
from entrypoints.cli.audit import run_audit
from tests.support.databases import TestDatabase
from tests.support.ledger import (
    a_customer,
    open_ledger,
    release,
    release_usage,
    reserve,
    use,
)


def fill(database: TestDatabase) -> None:
    """Write a small ledger: two customers, charges, a release, refusals, and parked usage."""
    with open_ledger(database) as ledger:
        for name in ("cust-1", "cust-2"):
            a_customer(ledger, name, credit_limit="1")
            for number in range(3):
                reserve(ledger, f"{name}-r{number}", name).result()
            use(ledger, f"{name}-u0", name, source="gateway", reservation=f"{name}-r0").result()
            release(ledger, f"{name}-r1").result()
        assert reserve(ledger, "too-much", estimate={"input_tokens": 10**9}).code != "done"
        use(ledger, "u1", "cust-2", usage={"input_tokens": 7}).result()
        change = {"id": "c1", "customer": "cust-1", "credit_limit": "2"}
        ledger.run("change_customer", change).result()
        use(ledger, "u2", "nobody").result()
        late = use(ledger, "u3", "cust-2", reservation="late-r").result()
        reserve(ledger, "late-r", "cust-2").result()
        release_usage(ledger, late["parked"]).result()
        assert release_usage(ledger, late["parked"], "again").code == "already_released"


def audited(database: TestDatabase, *expected: tuple[int, str]) -> AuditReport:
    """Audit a ledger, with roots that are expected at positions."""
    wanted = [Expectation(position, bytes.fromhex(root)) for position, root in expected]
    return run_audit(database.parts, wanted)


def roots(database: TestDatabase) -> dict[int, str]:
    """Return the root at every position."""
    tree, found = merkle.Frontier(), {}
    with audit_reader(database.app_url) as reader:
        for chunk in reader.entries():
            for each in chunk:
                tree.append(each.leaf)
                found[each.row[0]] = tree.root().hex()
    return found


@contextmanager
def superuser(database: TestDatabase) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Let a superuser change what nobody can change, and leave no open door behind."""
    with psycopg.connect(database.super_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER events_are_append_only")
        connection.execute("ALTER TABLE command_ids DISABLE TRIGGER ids_are_for_ever")
        yield connection
        connection.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER events_are_append_only")
        connection.execute("ALTER TABLE command_ids ENABLE ALWAYS TRIGGER ids_are_for_ever")


def rewrite(
    database: TestDatabase, position: int, old: str, new: str, *, with_leaf: bool = False
) -> None:
    """Replace text in a stored payload, everywhere in it, and the row's leaf hash if asked."""
    with superuser(database) as connection:
        connection.execute(
            "UPDATE events SET data = replace(data, %s, %s) WHERE position = %s",
            (old, new, position),
        )
        if not with_leaf:
            return
        row: Any = connection.execute(
            f"SELECT {ROW_COLUMNS} FROM events WHERE position = %s", (position,)
        ).fetchone()
        leaf = leaf_hash(row, row[13].encode())
        connection.execute("UPDATE events SET leaf = %s WHERE position = %s", (leaf, position))


def position_of(database: TestDatabase, name: str) -> int:
    """Return where the first event of a kind stands."""
    rows = database.query("SELECT min(position) FROM events WHERE name = %s", name)
    found = rows[0][0]
    assert isinstance(found, int), f"there is no {name}"
    return found


def whats(report: AuditReport) -> set[tuple[int, str]]:
    """Return where and what each difference is."""
    return {(each.position, each.what) for each in report.differences}
