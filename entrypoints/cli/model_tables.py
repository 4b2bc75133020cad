"""What `tollbook models` shows to people."""

from collections.abc import Sequence
from typing import Any

from entrypoints.cli.tables import facts, instant, table

Document = dict[str, Any]


def list_text(models: Sequence[Document]) -> str:
    """Show the models in short."""
    if not models:
        return "No model has been registered: see `tollbook models register --help`."
    headings = ("model", "versions", "yanked", "newest", "released", "position")
    rows = [
        (
            each["model"],
            f"{each['versions']:,}",
            f"{each['yanked']:,}" if each["yanked"] else "",
            each["newest"] or "",
            instant(each["newest_at"]),
            f"{each['position']:,}",
        )
        for each in models
    ]
    return table(headings, rows, right=("versions", "yanked", "position"))


def model_text(document: Document) -> str:
    """Show a model: a row for every version, and one for all that is known of its origin."""
    head = facts(
        (
            ("model", document["model"]),
            ("registered", instant(document["registered_at"])),
            ("provenance", document["provenance_hash"]),
        )
    )
    versions = document["versions"]
    if not versions:
        return f"{head}\n\nNo version has been released."
    rows = [
        (
            each["version"],
            instant(each["released_at"]),
            f"{instant(each['yanked_at'])}: {each['reason']}" if each["yanked_at"] else "",
            each["digest"] or "",
        )
        for each in versions
    ]
    shown = table(("version", "released", "yanked", "weights (SHA-256)"), rows)
    origins = [
        (each["version"], field["name"], field["standing"], _said(field))
        for each in versions
        for field in each["provenance"]
    ]
    told = table(("version", "provenance", "standing", "what"), origins) if origins else ""
    return "\n\n".join(part for part in (head, shown, told) if part)


def _said(field: Document) -> str:
    said = (field.get("value"), f"SHA-256 {field['digest']}" if "digest" in field else None)
    return ", ".join(part for part in said if part)


def export_list_text(document: Document) -> str:
    """Show the export list in force."""
    if not document["version"]:
        return "No export list has been published: no country is denied."
    return facts(
        (
            ("export list", f"version {document['version']}"),
            ("denied", ", ".join(document["countries"]) or "nobody"),
            ("published", f"{instant(document['recorded_at'])} by {document['actor']}"),
            ("note", document.get("note", "")),
        )
    )
