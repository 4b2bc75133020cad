"""What the lists of licences should say, worked out from the events of a ledger one by one."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from random import Random
from typing import Any

from tollbook.times import format_instant

from adapters.event_store.store import PostgresEventStore
from domain.allocation import NEVER
from domain.events import CommandRefused
from domain.license import License, evolve
from domain.license_events import OF_LICENSE
from projections.model import Run
from tests.integration.audit_workload import Rows
from tests.integration.view_reading import Items, events_of
from tests.support.databases import TestDatabase
from tests.support.views import project, store_rows

KINDS = {
    "reservation_held": "reserve",
    "reservation_extended": "extend",
    "license_validated": "validate_license",
    "seat_leased": "lease_seat",
    "lease_renewed": "renew_lease",
}

LAST = "9999-12-31T23:59:59.999999Z"
"""What events keep where a limit never resets."""


@contextmanager
def projected(database: TestDatabase, rows: Rows, seed: int) -> Iterator[Run]:
    """Store a ledger, project it in batches of any size, and give what runs queries."""
    store_rows(database, rows)
    chosen = Random(seed)
    position = 0
    while position < len(rows):
        position = project(database, min(len(rows), position + chosen.randint(1, 150)))
    with closing(PostgresEventStore(database.app_url)) as store:
        yield store.run


def without_absent(item: dict[str, Any]) -> dict[str, Any]:
    """Leave out what an item does not have."""
    return {name: value for name, value in item.items() if value is not None}


def time_of(instant: int | None) -> str | None:
    """Write an instant as it travels; no end is none."""
    return None if instant in (None, NEVER) else format_instant(instant)


def histories(rows: Rows) -> Iterator[tuple[int, License]]:
    """Yield each licence after each event of its life, with the event's position."""
    states: dict[str, License] = {}
    for recorded in events_of(rows):
        event: Any = recorded.event
        if isinstance(event, OF_LICENSE):
            state = evolve(states.get(event.license), event, recorded.recorded_at)
            assert state is not None
            states[event.license] = state
            yield recorded.position, state


def expected_decisions(rows: Rows) -> Items:
    """Lay out each decision under a licence as the list should show it, oldest first."""
    settled = {
        row[3]: json.loads(row[13]) for row in rows if row[1] == "reservation_settled"
    }  # the newest of each stream
    licensed: dict[str, str] = {}
    items = []
    for row, recorded in zip(rows, events_of(rows), strict=True):
        event, data = recorded.event, json.loads(row[13])
        item = {
            "position": recorded.position,
            "recorded_at": format_instant(recorded.recorded_at),
            "customer": recorded.customer,
            "id": recorded.command,
        }
        if isinstance(event, CommandRefused) and event.code.startswith("license_"):
            items.append(without_absent({**item, **_denied(data)}))
        elif recorded.name in KINDS and "decision" in data:
            license = data.get("license") or licensed[data["reservation"]]
            if recorded.name == "reservation_held":
                licensed[data["reservation"]] = license
                end = {} if "inferences" in data else settled.get(recorded.stream, {})
                data["request_hash"] = data.get("request_hash") or end.get("request_hash")
                item["response_hash"] = end.get("response_hash")
            item |= {"license": license, "kind": KINDS[recorded.name], **_admitted(data)}
            items.append(without_absent(item))
    return items


def _named(said: dict[str, Any]) -> dict[str, Any]:
    wanted = ("model", "reservation", "lease", "request_hash")
    return {name: said.get(name) for name in wanted}


def _denied(said: dict[str, Any]) -> dict[str, Any]:
    return {
        **_named(said["body"]),
        "kind": said["kind"],
        "status": "denied",
        "license": said["facts"]["license"],
        "policy_version": said["facts"]["policy_version"],
        "why": {"code": said["code"], "detail": said["detail"], **_shown_facts(said)},
    }


def _shown_facts(said: dict[str, Any]) -> dict[str, Any]:
    facts = dict(said["facts"])
    if facts.get("per") == "total":
        assert facts["resets_at"] == LAST
        facts["resets_at"] = None
    return facts


def _reset(stored: str) -> str | None:
    return None if stored == LAST else stored


def _admitted(said: dict[str, Any]) -> dict[str, Any]:
    decision = said["decision"]
    return {
        **_named(said),
        "status": "admitted",
        "policy_version": decision["policy"],
        "grace": decision.get("grace", False),
        "remaining": [
            {"limit": limit, "remaining": left, "resets_at": _reset(resets_at)}
            for limit, left, resets_at in decision.get("remaining", [])
        ],
    }


def expected_licenses(rows: Rows) -> Items:
    """Lay out each licence as the list should show it, in the order of their issue."""
    decided = expected_decisions(rows)
    counts = Counter((item["license"], item["status"]) for item in decided)
    used: dict[tuple[str, str | None], str] = {}
    for item in decided:
        if item["status"] == "admitted":
            key = json.loads(rows[item["position"] - 1][13]).get("license_key")
            used[item["license"], key] = used[item["license"], "any"] = item["recorded_at"]
    issued: dict[str, int] = {}
    items: dict[str, dict[str, Any]] = {}
    for position, state in histories(rows):
        items[state.id] = {
            **_state(state, used),
            "position": issued.setdefault(state.id, position),
            "updated": position,
            "last_used_at": used.get((state.id, "any")),
            "admitted": counts[state.id, "admitted"],
            "denied": counts[state.id, "denied"],
        }
    return [without_absent(item) for item in items.values()]


def _state(state: License, used: dict[tuple[str, str | None], str]) -> dict[str, Any]:
    return {
        "license": state.id,
        "customer": state.customer,
        "status": state.status,
        "since": time_of(state.since),
        "reason": state.reason or None,
        "deployment": state.deployment,
        "template": state.template,
        "policy_version": state.policy_version(),
        "reference": state.reference,
        "issued_at": time_of(state.issued_at),
        "starts_at": time_of(state.starts_at),
        "expires_at": time_of(state.expires_at),
        "ends_at": None if state.expires_at == NEVER else time_of(state.ends_at()),
        "maintenance_until": time_of(state.maintenance_until),
        "keys": [
            without_absent(
                {
                    "hint": key.hint,
                    "ends_at": time_of(key.ends_at),
                    "last_used_at": used.get((state.id, key.hash)),
                }
            )
            for key in state.keys
        ],
    }
