"""What `tollbook prices` prints: documents for programs, tables for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tollbook.amounts import parse_pico
from tollbook.times import format_instant

from domain.events import PricesPublished
from domain.outcomes import money
from domain.pricebook import PriceBook
from domain.pricebook_file import book_lines, check, place_of
from domain.pricebook_format import ModelBody
from domain.pricebook_lint import TYPICAL, remarks, typical_cost
from domain.toml_lines import line_of
from domain.units import TOKENS, quantities_to_wire
from entrypoints.cli.tables import exact, facts, instant, shown_name, table

if TYPE_CHECKING:
    from domain.event import Recorded

TYPICAL_TEXT = f"{TYPICAL['input_tokens']} input and {TYPICAL['output_tokens']} output"


def lint_document(book: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Return what the lint found in a book that was read from these bytes."""
    body = check(book)
    lines = book_lines(data)
    warnings = []
    for remark in remarks(body):
        line = line_of(lines, place_of(remark.field))
        warning = {"code": remark.code, "field": remark.field, "detail": remark.detail}
        warnings.append(warning if line is None else {**warning, "line": line})
    return {
        "valid": True,
        "book": body.id,
        "currency": body.currency,
        "effective_from": format_instant(body.effective_from),
        "models": [_linted(model, body.currency) for model in body.models],
        "warnings": warnings,
    }


def _linted(model: ModelBody, currency: str) -> dict[str, Any]:
    typical = typical_cost(model)
    cost = None
    if typical is not None:
        cost = {
            "usage": quantities_to_wire(typical.usage),
            "price": money(typical.first, currency),
            "price_in_last_tier": money(typical.last, currency),
        }
    return {
        "name": model.name,
        "pricing": "graduated" if model.tiers else "flat",
        "tiers": len(model.tiers or ()),
        "units": sorted({*model.prices, *(TOKENS if model.tiers else ())}),
        "max_output_tokens": model.max_output_tokens,
        "typical": cost,
    }


def lint_text(file: str, document: dict[str, Any]) -> str:
    """Say what the lint found, for a person."""
    rows = []
    for model in document["models"]:
        cost = model["typical"]
        bound = model["max_output_tokens"]
        rows.append(
            (
                model["name"],
                f"{model['tiers']} tiers" if model["tiers"] else "flat",
                _cost(cost["price"]) if cost else "-",
                _cost(cost["price_in_last_tier"]) if cost and model["tiers"] > 1 else "",
                f"{bound:,}" if bound else "-",
                ", ".join(model["units"]),
            )
        )
    headings = ("model", "pricing", "1,000 tokens", "in the last tier", "max output", "units")
    warnings = document["warnings"]
    since = instant(document["effective_from"])
    lines = [
        f"{shown_name(file)}: book {document['book']}, in {document['currency']}, from {since} on",
        "",
        table(headings, rows, right=headings[2:5]),
        "",
        f"1,000 tokens are {TYPICAL_TEXT} (all of one kind where only that has a price).",
    ]
    for warning in warnings:
        where = f"line {warning['line']}: " if "line" in warning else ""
        lines.append(f"warning: {where}{warning['detail']}")
    count = len(warnings)
    lines.append(f"Valid, with {count} warning{'s' * (count != 1)}." if count else "Valid.")
    return "\n".join(lines)


def _cost(amount: dict[str, str]) -> str:
    """Show a price to its last place: rounded to cents it would say nothing."""
    return exact(parse_pico(amount["amount"]), amount["currency"])


def version_document(recorded: "Recorded", book: PriceBook, now: int) -> dict[str, Any]:
    """Return one version of a price book as it was published, and how long it is in force."""
    event = recorded.event
    assert isinstance(event, PricesPublished)
    later = [each for each in book.versions if each.effective_from > event.effective_from]
    until = format_instant(later[0].effective_from) if later else None
    current = book.in_force(now)
    return {
        "book": event.book,
        "currency": event.currency,
        "version": event.version,
        "effective_from": format_instant(event.effective_from),
        "effective_until": until,
        "in_force": current is not None and current.version == event.version,
        "position": recorded.position,
        "recorded_at": format_instant(recorded.recorded_at),
        "actor": recorded.actor,
        "models": event.models,
    }


def version_text(document: dict[str, Any]) -> str:
    """Show a version of a price book: a row for every price."""
    rows: list[Sequence[str]] = []
    for model in document["models"]:
        bound = model.get("max_output_tokens")
        rows.extend(_price_rows(model["name"], f"{bound:,}" if bound else "", model))
    until = document["effective_until"]
    head = facts(
        (
            ("book", f"{document['book']}, version {document['version']}"),
            ("currency", document["currency"]),
            ("from", instant(document["effective_from"])),
            ("until", instant(until) if until else "the next version"),
            ("in force", "yes" if document["in_force"] else "no"),
            ("published", f"position {document['position']:,} by {document['actor']}"),
        )
    )
    headings = ("model", "tokens up to", "unit", "price", "per", "max output")
    return f"{head}\n\n{table(headings, rows, right=('tokens up to', 'price', 'max output'))}"


def _price_rows(name: str, bound: str, model: dict[str, Any]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for tier in model.get("tiers", ()):
        up_to = f"{tier['up_to']:,}" if "up_to" in tier else "above"
        for meter in ("input", "cached_input", "output"):
            if meter in tier:
                rows.append((name, up_to, f"{meter}_tokens", tier[meter], "million", bound))
    for unit, price in model.get("prices", {}).items():
        rows.append((name, "", unit, price, "million" if unit in TOKENS else "one", bound))
    return rows


def list_document(publications: "Sequence[Recorded]", now: int) -> dict[str, Any]:
    """Return every version of every book, and which of them are in force."""
    versions = []
    for recorded in publications:
        event = recorded.event
        assert isinstance(event, PricesPublished)
        versions.append((event.book, event.version, event, recorded))
    versions.sort(key=lambda each: each[:2])
    begun = [event for _, _, event, _ in versions if event.effective_from <= now]
    begun.sort(key=lambda event: event.effective_from)
    newest = {event.book: event for event in begun}
    return {
        "versions": [
            {
                "book": book,
                "version": version,
                "currency": event.currency,
                "effective_from": format_instant(event.effective_from),
                "in_force": newest.get(book) is event,
                "models": len(event.models),
                "position": recorded.position,
                "actor": recorded.actor,
            }
            for book, version, event, recorded in versions
        ]
    }


def list_text(document: dict[str, Any]) -> str:
    """Show the list of versions."""
    if not document["versions"]:
        return "No price book has been published: see `tollbook prices publish --help`."
    headings = ("book", "version", "currency", "from", "in force", "models", "position", "by")
    rows = [
        (
            each["book"],
            str(each["version"]),
            each["currency"],
            instant(each["effective_from"]),
            "yes" if each["in_force"] else "",
            f"{each['models']:,}",
            f"{each['position']:,}",
            each["actor"],
        )
        for each in document["versions"]
    ]
    return table(headings, rows, right=("version", "models", "position"))
