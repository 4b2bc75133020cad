"""What `tollbook reconcile` prints: a line a model, and the causes of its gap."""

from collections.abc import Sequence
from typing import Any

from tollbook.amounts import format_micro
from tollbook.times import format_instant

from domain.reconciliation import DeviceTime, Line
from domain.server_counters import Counted, Sample
from entrypoints.cli.tables import facts, instant, number, table

NOT_SOLD = "(not sold)"

_PART = ("cause", "count", "low", "high")


def document_of(
    lines: Sequence[Line], samples: Sequence[Sample], counts: Counted, position: int
) -> dict[str, Any]:
    """Return a reconciliation as one document."""
    return {
        "from": format_instant(samples[0].at),
        "to": format_instant(samples[-1].at),
        "samples": len(samples),
        "restarts": counts.restarts,
        "position": position,
        "explained": all(line.is_explained for line in lines),
        "models": [_line(line) for line in lines],
    }


def _line(line: Line) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": line.model,
        "served_as": list(line.served_as),
        "ran": line.ran,
        "charged": line.charged,
        "gap": line.gap,
        "causes": [dict(zip(_PART, part, strict=True)) for part in line.parts],
        "unexplained": line.unexplained,
    }
    if line.device_time is not None:
        found["gpu_seconds"] = _seconds(line.device_time)
    return found


def _seconds(time: DeviceTime) -> dict[str, Any]:
    return {
        "ran": format_micro(time.ran),
        "charged": format_micro(time.charged),
        "causes": list(time.causes),
        "unexplained": format_micro(time.unexplained),
    }


def reconciliation_text(document: dict[str, Any]) -> str:
    """Show a reconciliation to a person."""
    headings = ("model", "served as", "ran", "charged", "gap", "unexplained", "what")
    rows = [
        (
            each["model"] or NOT_SOLD,
            ", ".join(each["served_as"]),
            *(number(each[name]) for name in ("ran", "charged", "gap", "unexplained")),
            "; ".join([*(_cause(part) for part in each["causes"] if part["count"]), *_times(each)]),
        )
        for each in document["models"]
    ]
    head = [
        ("from", instant(document["from"])),
        ("to", instant(document["to"])),
        ("samples", number(document["samples"])),
        ("restarts", number(document["restarts"])),
        ("position", number(document["position"])),
    ]
    numbers = ("ran", "charged", "gap", "unexplained")
    body = table(headings, rows, right=numbers) if rows else "Nothing ran, and nothing was charged."
    unexplained = sum(bool(each["unexplained"]) or _lacks_time(each) for each in document["models"])
    end = (
        "Every gap is explained."
        if document["explained"]
        else f"{unexplained} of {len(rows)} models have a gap that nothing explains."
    )
    return "\n\n".join([facts(head), body, end])


def _cause(part: dict[str, Any]) -> str:
    """Say how much a cause accounts for, and how much it could."""
    told = f"{part['count']:+,} {part['cause']}"
    if part["low"] == part["high"]:
        return told
    return f"{told} ({part['low']:,} to {part['high']:,})"


def _times(line: dict[str, Any]) -> list[str]:
    time = line.get("gpu_seconds")
    if time is None:
        return []
    told = f"{time['ran']} gpu_seconds ran, {time['charged']} charged"
    if _lacks_time(line):
        return [f"{told}, {time['unexplained']} unexplained"]
    return [told + (f" ({', '.join(time['causes'])})" if time["causes"] else "")]


def _lacks_time(line: dict[str, Any]) -> bool:
    time = line.get("gpu_seconds")
    return time is not None and time["unexplained"] != "0"
