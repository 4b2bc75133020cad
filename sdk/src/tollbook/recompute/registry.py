"""Models, their versions and the export list: what no customer's history holds.

Written from docs/formats/licenses.md alone, like the rest of this folder.
"""

import re
from typing import Any

from tollbook.recompute.fact import Fact, Place
from tollbook.times import format_instant, parse_instant

_COUNTRY = re.compile("[A-Z]{2}")
_DIGEST = re.compile("[0-9a-f]{64}")

EVENTS = (
    "model_registered",
    "model_version_released",
    "model_version_yanked",
    "export_list_published",
)
"""The events that are checked here."""


class Registry:
    """Every registered model with its versions, and the export list in force."""

    def __init__(self) -> None:
        """Start without models, and with a list that nobody has published."""
        self.models: dict[str, dict[str, Any]] = {}
        self.denied: list[str] = []
        self._lists = 0

    def add(self, fact: Fact) -> Place:
        """Check a fact, take it into account, and return the place in its stream."""
        if fact.name == "export_list_published":
            return self._publish(fact)
        name = fact.data["model"]
        if fact.name == "model_registered":
            if name in self.models:
                fact.differ("model", "a name that is free", name)
            self.models.setdefault(name, {"version": 0, "versions": {}})
        elif name not in self.models:
            fact.differ("model", "a registered model", name)
            self.models[name] = {"version": 0, "versions": {}}
        model = self.models[name]
        model["version"] += 1
        if fact.name == "model_version_released":
            _release(model["versions"], fact)
        elif fact.name == "model_version_yanked":
            _yank(model["versions"], fact)
        return f"model-{name}", model["version"]

    def _publish(self, fact: Fact) -> Place:
        """Check that a list is the next one, and that its countries stand in order."""
        self._lists += 1
        fact.check("version", self._lists)
        countries = fact.data["countries"]
        if countries != sorted({each for each in countries if _COUNTRY.fullmatch(each)}):
            fact.differ("countries", "codes of countries in order, each once", countries)
        self.denied = countries
        return "export-0", self._lists

    def model_states(self) -> list[tuple[str, dict[str, Any]]]:
        """Return each model in the form of docs/formats/state.md, in order of name."""
        return sorted(self.models.items())

    def export_states(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the export list in the form of docs/formats/state.md, once there is one."""
        listed = {"countries": self.denied, "version": self._lists}
        return [("0", listed)] if self._lists else []


def _release(versions: dict[str, Any], fact: Fact) -> None:
    """Check a new version: nothing changes one that was there, and none comes from the future."""
    data = fact.data
    number, provenance = data["version"], data.get("provenance", [])
    if number in versions:
        fact.differ("version", "one that was not released before", number)
    if parse_instant(data["released_at"]) > fact.at:
        fact.differ("released_at", f"at most {format_instant(fact.at)}", data["released_at"])
    for digest in (data.get("digest"), *(field.get("digest") for field in provenance)):
        if digest is not None and not _DIGEST.fullmatch(digest):
            fact.differ("digest", "a SHA-256 in hex", digest)
    names = [field["name"] for field in provenance]
    if len(set(names)) < len(names):
        fact.differ("provenance", "each field once", names)
    for field in provenance:
        if not _well_founded(field, data.get("digest")):
            fact.differ("provenance", "verified only where a document was checked", field)
    versions[number] = {
        "digest": data.get("digest"),
        "provenance": provenance,
        "reason": None,
        "released_at": data["released_at"],
        "yanked_at": None,
    }


def _well_founded(field: dict[str, Any], weights: str | None) -> bool:
    """Say whether a field may have its standing: only a checked ML-BOM makes anything verified."""
    if field["standing"] != "verified":
        return bool(field["standing"] == "declared")
    if field["name"] == "ml_bom":
        return "digest" in field
    return field["name"] == "ml_bom.weights" and field.get("digest") == weights


def _yank(versions: dict[str, Any], fact: Fact) -> None:
    """Check that the version is there, and was not yanked before."""
    number = fact.data["version"]
    version = versions.get(number)
    if version is None:
        fact.differ("version", "one that was released", number)
        return
    if version["yanked_at"] is not None:
        fact.differ("version", f"one not yanked since {version['yanked_at']}", number)
    version["yanked_at"] = format_instant(fact.at)
    version["reason"] = fact.data["reason"]
