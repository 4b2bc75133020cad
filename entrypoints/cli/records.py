"""A file of usage records: CloudEvents as one JSON object, a JSON batch, or JSON Lines.

A file whose first line is a whole object is JSON Lines and is read line by line, however long it
is; a line that cannot be read is an error of that line alone. Any other file is one JSON document.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from tollbook import canonical
from tollbook.cli_support import MAX_INPUT_BYTES
from tollbook.errors import Invalid, TollbookError

LINE_BYTES_MAX = canonical.MAX_BYTES


class Entry(NamedTuple):
    """One event of a file, or what is wrong with its line."""

    place: tuple[str, int]
    """`line` and its number, or `item` and which event of a JSON list it is; both from 1."""
    event: Any
    problem: Invalid | None
    size: int
    """How many bytes of the file were read with it."""


def entries(file: BinaryIO, name: str) -> Iterator[Entry]:
    """Read a file's events one after another; raises Invalid when it is no such file at all."""
    number, skipped = 0, 0
    while True:
        line = file.readline(LINE_BYTES_MAX + 1)
        number += 1
        if line.strip() or not line:
            break
        skipped += len(line)
    start = line.strip()
    if not start:
        raise Invalid(f"{name} is empty: there is no usage record in it", field="file", value=name)
    if start.startswith(b"{") and (start.endswith(b"}") or len(line) > LINE_BYTES_MAX):
        yield from _lines(file, line, number, skipped)
    else:
        yield from _document(line + file.read(MAX_INPUT_BYTES + 1), name, skipped)


def _lines(file: BinaryIO, line: bytes, number: int, skipped: int) -> Iterator[Entry]:
    while line:
        size = len(line) + skipped
        skipped = 0
        if len(line) > LINE_BYTES_MAX:
            size += _skip_line(file, line)
            problem = Invalid.because(f"line {number}", "a line", f"at most {LINE_BYTES_MAX} bytes")
            yield Entry(("line", number), None, problem, size)
        elif line.strip():
            yield _entry(line, number, size)
        line = file.readline(LINE_BYTES_MAX + 1)
        number += 1


def _skip_line(file: BinaryIO, line: bytes) -> int:
    """Pass over the rest of a line; return how many bytes that were."""
    size = 0
    while line and not line.endswith(b"\n"):
        line = file.readline(LINE_BYTES_MAX)
        size += len(line)
    return size


def _entry(line: bytes, number: int, size: int) -> Entry:
    try:
        return Entry(("line", number), canonical.loads(line), None, size)
    except Invalid as error:
        return Entry(("line", number), None, error, size)


def _document(data: bytes, name: str, skipped: int) -> Iterator[Entry]:
    if len(data) > MAX_INPUT_BYTES:
        rule = f"at most {MAX_INPUT_BYTES} bytes as one document; JSON Lines may be longer"
        raise Invalid.because("file", name, rule)
    try:
        document = canonical.loads(data, max_bytes=MAX_INPUT_BYTES)
    except TollbookError as error:
        error.message = f"{name}: {error.message}"
        raise
    events = document if isinstance(document, list) else [document]
    if not events:
        raise Invalid(f"{name} is empty: there is no usage record in it", field="file", value=name)
    each, rest = divmod(len(data) + skipped, len(events))
    for number, event in enumerate(events, 1):
        size = each + (rest if number == len(events) else 0)
        yield Entry(("item", number), event, None, size)
