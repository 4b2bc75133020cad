"""What `tollbook pipelines` shows to people."""

from collections.abc import Sequence
from typing import Any

from tollbook.amounts import parse_pico

from entrypoints.cli.tables import exact, facts, instant, table

Document = dict[str, Any]


def list_text(pipelines: Sequence[Document]) -> str:
    """Show the pipelines in short."""
    if not pipelines:
        return "No pipeline has been published: see `tollbook pipelines publish --help`."
    headings = ("pipeline", "version", "stages", "published", "position")
    rows = [
        (
            each["pipeline"],
            str(each["version"]),
            " > ".join(stage["name"] for stage in each["stages"]),
            instant(each["published_at"]),
            f"{each['position']:,}",
        )
        for each in pipelines
    ]
    return table(headings, rows, right=("version", "position"))


def pipeline_text(document: Document) -> str:
    """Show a pipeline: a row for every stage."""
    head = facts(
        (
            ("pipeline", document["pipeline"]),
            ("version", str(document["version"])),
            ("published", instant(document["published_at"])),
        )
    )
    rows = [
        (
            stage["name"],
            stage["model"],
            "required" if stage["licensed"] else "",
            _units(stage.get("estimate", {})),
        )
        for stage in document["stages"]
    ]
    return f"{head}\n\n{table(('stage', 'model', 'licence', 'units'), rows)}"


def run_text(document: Document) -> str:
    """Show a run: a row for every stage, and the exact sums."""
    head = facts(
        (
            ("run", document["id"]),
            ("customer", document["customer"]),
            ("pipeline", f"{document['pipeline']}, version {document['version']}"),
            ("status", document["status"]),
        )
    )
    rows = [
        (
            stage["stage"],
            stage["model"],
            stage["status"],
            _all_of(stage["held"]),
            _all_of(stage["charged"]),
        )
        for stage in document["stages"]
    ]
    rows.append(("sum", "", "", _all_of(document["held"]), _all_of(document["charged"])))
    headings = ("stage", "model", "status", "held", "charged")
    return f"{head}\n\n{table(headings, rows, right=('held', 'charged'))}"


def _all_of(money: dict[str, str]) -> str:
    return exact(parse_pico(money["amount"]), money["currency"])


def _units(usage: Document) -> str:
    return ", ".join(f"{quantity} {unit}" for unit, quantity in usage.items())
