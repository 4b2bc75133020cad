"""What `tollbook license` shows to people."""

import json
from collections.abc import Sequence
from typing import Any

from entrypoints.cli.tables import facts, instant, number, table

Document = dict[str, Any]


def validation_text(result: Document) -> str:
    """Show a decision: under which policy, and what it leaves."""
    tried = " (a dry run: nothing was counted)" if result.get("dry_run") else ""
    grace = ", in its grace" if result["grace"] else ""
    line = f"Admitted under {result['policy_version']}{grace}{tried}"
    rows = [
        (each["limit"], number(each["remaining"]), instant(each["resets_at"]) or "never")
        for each in result["remaining"]
    ]
    return f"{line}\n{_table(('limit', 'left', 'resets'), rows, 'left')}".rstrip()


def list_text(document: Document) -> str:
    """Show licences in short."""
    rows = [
        (
            each["license"],
            each["customer"],
            each["status"],
            each["deployment"],
            each["policy_version"],
            instant(each.get("expires_at")) or "never",
            instant(each.get("last_used_at")),
            number(each["admitted"]),
            number(each["denied"]),
        )
        for each in document["licenses"]
    ]
    headings = (
        *("license", "customer", "status", "deployment", "policy", "expires", "last used"),
        *("admitted", "denied"),
    )
    return _more(_table(headings, rows, "admitted", "denied") or "No licence.", document)


def license_text(document: Document) -> str:
    """Show a licence: what it is, then its limits, keys, devices and leases."""
    head = facts(
        (
            ("license", document["id"]),
            ("customer", document["customer"]),
            ("status", _status(document)),
            ("deployment", document["deployment"]),
            ("policy", document["policy_version"]),
            ("reference", document["reference"] or ""),
            ("starts", instant(document["starts_at"])),
            ("expires", _expires(document)),
            ("maintenance", f"versions until {instant(document['maintenance_until'])}"),
            ("seats", f"{len(document['leases'])} of {document['seats']} taken"),
        )
    )
    limits = [
        (
            each["limit"],
            f"{number(each['allowed'])} {each['unit']} per {each['per']}",
            number(each["used"]),
            number(each["remaining"]),
            instant(each["resets_at"]) or "never",
        )
        for each in document["limits"]
    ]
    keys = [(f"...{each['hint']}...", instant(each["ends_at"]) or "") for each in document["keys"]]
    machines = [
        (each["device"], ", ".join(each["components"]), each["holder"] or "")
        for each in document["devices"]
    ]
    leases = [
        (each["lease"], each["model"], instant(each["expires_at"]), each["holder"])
        for each in document["leases"]
    ]
    parts = (
        head,
        _table(("limit", "allows", "used", "left", "resets"), limits, "used", "left"),
        _table(("key", "ends"), keys),
        _table(("device", "components", "holder"), machines),
        _table(("lease", "model", "expires", "holder"), leases),
        policy_text(document),
    )
    return "\n\n".join(part for part in parts if part)


def _status(document: Document) -> str:
    since = f"since {instant(document['since'])}"
    reason = f": {document['reason']}" if document["reason"] else ""
    grace = ", in its grace" if document["grace"] else ""
    return f"{document['status']} {since}{reason}{grace}"


def _expires(document: Document) -> str:
    if document["expires_at"] is None:
        return "never"
    if document["ends_at"] == document["expires_at"]:
        return instant(document["expires_at"])
    return f"{instant(document['expires_at'])}, with grace {instant(document['ends_at'])}"


def policy_text(document: Document) -> str:
    """Show a policy field by field."""
    return facts((name, json.dumps(value)) for name, value in document["policy"].items())


def policies_text(items: Sequence[Document]) -> str:
    """Show templates in short."""
    rows = [
        (
            each["name"],
            number(each["version"]),
            instant(each["recorded_at"]) or "built in",
            ", ".join(each["policy"]),
        )
        for each in items
    ]
    return table(("name", "version", "published", "sets"), rows, right=("version",))


def devices_text(items: Sequence[Document]) -> str:
    """Show machines."""
    rows = [
        (
            each["device"],
            each["status"],
            instant(each["activated_at"]),
            ", ".join(each["components"]),
            each.get("holder", ""),
        )
        for each in items
    ]
    headings = ("device", "status", "activated", "components", "holder")
    return _table(headings, rows) or "The licence was activated on no device."


def seats_text(items: Sequence[Document]) -> str:
    """Show leases."""
    rows = [
        (
            each["lease"],
            each["model"],
            "yes" if each["borrowed"] else "",
            instant(each["leased_at"]),
            instant(each["expires_at"]),
            instant(each.get("returned_at") or each.get("revoked_at")),
        )
        for each in items
    ]
    headings = ("lease", "model", "borrowed", "leased", "expires", "given back")
    return _table(headings, rows) or "Nobody has taken a seat."


def decisions_text(items: Sequence[Document]) -> str:
    """Show decisions."""
    rows = [
        (
            number(each["position"]),
            instant(each["recorded_at"]),
            each["kind"],
            each["id"],
            each.get("model", ""),
            each["why"]["code"] if "why" in each else "admitted",
            each["policy_version"],
        )
        for each in items
    ]
    headings = ("position", "recorded", "asked by", "id", "model", "decision", "policy")
    return _table(headings, rows, "position") or "Nothing was decided under this licence."


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *right: str) -> str:
    return table(headings, rows, right=right) if rows else ""


def _more(text: str, document: Document) -> str:
    if document["next"] is None:
        return text
    return f"{text}\nMore follow: --after {document['next']!r}"
