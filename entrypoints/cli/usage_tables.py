"""What `tollbook usage` prints: tables for people."""

from collections.abc import Sequence
from typing import Any

from entrypoints.cli.tables import amount, instant, number, table

SHOWN_MAX = 50
"""How many records a person gets to see; `--json` has them all."""


def usage_text(document: dict[str, Any]) -> str:
    """Show usage by customer, model and day."""
    if not document["usage"]:
        return f"No usage, at position {document['position']:,}."
    headings = ("customer", "model", "day", "charges", "charged", "receivable", "units")
    rows = [
        (
            each["customer"],
            each["model"],
            each["day"],
            number(each["charges"]),
            amount(each["charged"]),
            amount(each["receivable"]),
            ", ".join(f"{number(used)} {unit}" for unit, used in each["usage"].items()),
        )
        for each in document["usage"]
    ]
    lines = [table(headings, rows, right=("charges", "charged", "receivable"))]
    return "\n\n".join([*lines, _foot(document)])


def _foot(document: dict[str, Any]) -> str:
    """Say how current a list is, and how to go on when it was cut."""
    foot = f"As of position {document['position']:,}."
    if document["next"] is not None:
        foot += f" There are more: go on with --after '{document['next']}'"
    return foot


def sent_text(document: dict[str, Any]) -> str:
    """Say what became of the records of a file, and list what needs somebody's attention."""
    counts = [(name, document[name]) for name in ("accepted", "duplicate", "parked", "refused")]
    listed = ", ".join(f"{count:,} {name}" for name, count in counts if count)
    lines = [f"{document['records']:,} records: {listed}"]
    if document["results"]:
        lines += ["", _results(document["results"], _sent_row, ("place", "id", "status", "what"))]
    if document["parked"]:
        lines += ["", "Parked records are kept uncharged: see `tollbook usage parked`."]
    return "\n".join(lines)


def _results(results: list[dict[str, Any]], row: Any, headings: Sequence[str]) -> str:
    drawn = table(headings, [row(each) for each in results[:SHOWN_MAX]])
    more = len(results) - SHOWN_MAX
    return f"{drawn}\n... and {more:,} more (see --json)" if more > 0 else drawn


def _sent_row(result: dict[str, Any]) -> Sequence[str]:
    place = next(f"{name} {result[name]:,}" for name in ("line", "item") if name in result)
    head = (place, str(result.get("id") or ""), result["status"])
    return (*head, _what(result))


def _what(result: dict[str, Any]) -> str:
    """Say in a few words what became of one record."""
    reason = result.get("problem") or result.get("why")
    if reason:
        return f"{reason['code']}: {reason['detail']}"
    return f"charged {amount(result['charged'])}" if "charged" in result else ""


def parked_text(document: dict[str, Any]) -> str:
    """Show parked records with their reasons."""
    if not document["parked"]:
        return f"No parked usage, at position {document['position']:,}."
    headings = ("parked", "customer", "model", "occurred", "reason", "source", "id")
    rows = [
        (
            each["parked"],
            each["customer"],
            each["model"],
            instant(each["record"]["occurred_at"]),
            f"{each['why']['code']}: {each['why']['detail']}",
            each["source"],
            each["id"],
        )
        for each in document["parked"]
    ]
    pages = [table(headings, rows), _foot(document)]
    if any(each["why"]["code"] in ("unknown_model", "unknown_unit") for each in document["parked"]):
        pages.append(
            "What has no price can have one: `tollbook prices publish` takes versions that add to\n"
            "the past; then `tollbook usage release` charges the records."
        )
    return "\n\n".join(pages)


def released_text(document: dict[str, Any]) -> str:
    """Say what became of released records; what could not be charged stays parked."""
    lines = [f"{document['released']:,} released, {document['refused']:,} refused"]
    if document["results"]:
        headings = ("parked", "status", "what")
        lines += ["", _results(document["results"], _released_row, headings)]
    return "\n".join(lines)


def _released_row(result: dict[str, Any]) -> Sequence[str]:
    return result["parked"], result["status"], _what(result)
