"""The format of Triton's trace files: a list of entries, some of each trace, in any order.

One entry of a trace names it, its model and its request, and its parent where it is a stage of an
ensemble; the others have times. What a server would not write is refused.
"""

from collections.abc import Iterator
from typing import Any

from domain.device_time import Trace

_NUMBER_MAX = 2**63


class TraceFormatError(ValueError):
    """A file is no file of traces; the message says why."""


def parsed(document: Any) -> tuple[tuple[Trace, ...], int]:
    """Read a file's entries: its traces, and its latest instant; raises TraceFormatError."""
    if not isinstance(document, list):
        raise TraceFormatError("it is no list")
    heads: dict[int, dict[str, Any]] = {}
    steps: dict[int, list[tuple[str, int]]] = {}
    for entry in document:
        id = entry.get("id") if isinstance(entry, dict) else None
        if type(id) is not int or not 0 < id < _NUMBER_MAX:
            raise TraceFormatError("an entry has no id")
        if "timestamps" in entry:
            steps.setdefault(id, []).extend(_steps(entry["timestamps"]))
        elif "model_name" in entry:
            heads.setdefault(id, entry)
    found = [head.get("parent_id") for head in heads.values()]
    parents = {parent for parent in found if type(parent) is int}
    ids = dict.fromkeys((*heads, *steps))
    traces = tuple(
        _trace(id, heads.get(id, {}), steps.get(id, []), leaf=id not in parents) for id in ids
    )
    return traces, max((instant for each in steps.values() for _, instant in each), default=0)


def _steps(found: Any) -> Iterator[tuple[str, int]]:
    for step in found if isinstance(found, list) else ():
        name, instant = (step.get("name"), step.get("ns")) if isinstance(step, dict) else (0, 0)
        if type(name) is not str or type(instant) is not int:
            raise TraceFormatError("a step has no name or no time")
        if not 0 <= instant < _NUMBER_MAX:
            raise TraceFormatError("a time is out of range")
        yield name, instant


def _trace(id: int, head: dict[str, Any], steps: list[tuple[str, int]], *, leaf: bool) -> Trace:
    """Put one trace together; one of a request that was no request has no model."""
    model, version = head.get("model_name", ""), head.get("model_version", 0)
    request = head.get("request_id")
    if type(model) is not str or type(version) is not int:
        raise TraceFormatError("a trace has no model")
    if request is not None and type(request) is not str:
        raise TraceFormatError("a request's id is no text")
    starts = sorted(instant for name, instant in steps if name == "COMPUTE_START")
    ends = sorted(instant for name, instant in steps if name == "COMPUTE_END")
    if len(starts) != len(ends) or any(
        start > end for start, end in zip(starts, ends, strict=True)
    ):
        raise TraceFormatError("a computation has no end, or ends before it starts")
    began = [instant for name, instant in steps if name == "REQUEST_START"]
    return Trace(
        id,
        request or None,
        model,
        version,
        min(began or [instant for _, instant in steps], default=0),
        tuple(zip(starts, ends, strict=True)),
        any(name == "INFER_RESPONSE_COMPLETE" for name, _ in steps),
        leaf,
    )
