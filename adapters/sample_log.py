"""The log of samples: what servers had counted, a line a sample and a file a day.

Between them stand notes of what ran for nothing and the ledger never hears of, a line each. Files
are only appended to, each line in one write, so that several processes may write. A line that was
cut counts as never written. Files of old days are removed.
"""

import json
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tollbook.errors import Unavailable
from tollbook.times import SECOND, format_instant

from domain.free_inferences import Free
from domain.server_counters import Counters, Key, Sample

DAY = 86_400 * SECOND

_FREE = "free"
_PREFIX = "counters-"
_FILE = re.compile(rf"{_PREFIX}\d{{4}}-\d\d-\d\d\.jsonl")


def append(folder: Path, sample: Sample) -> None:
    """Write a sample down; raises Unavailable where that cannot be done."""
    _append(folder / _name(sample.at), line_of(sample))


def note(folder: Path, free: Free) -> None:
    """Write down what ran for nothing; raises Unavailable where that cannot be done."""
    _append(folder / _name(free.ended), _line({_FREE: free._asdict()}))


def notes(folder: Path, begin: int, end: int) -> list[Free]:
    """Return what was noted on the days from one instant to another and around them."""
    low, high = _name(begin - DAY), _name(end + DAY)
    paths = [path for path in _days(folder) if low <= path.name <= high]
    return [found for path in paths for line in _lines_of(path) for found in _notes_in(line)]


def _append(path: Path, data: bytes) -> None:
    folder = path.parent
    try:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            written = os.write(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(f"{path.name} cannot be written: {error}") from None
    if written != len(data):
        raise Unavailable(f"{path.name} cannot be written: the disk is full")


def read(folder: Path, begin: int | None = None, end: int | None = None) -> list[Sample]:
    """Return the samples of the days from one instant to another and around them, oldest first.

    Those nearest to the instants are among them, and those of the first and the last day. Raises
    Unavailable where a file cannot be read.
    """
    paths = _days(folder)
    names = [path.name for path in paths]
    low = 0 if begin is None else max(0, bisect_left(names, _name(begin)) - 1)
    high = len(paths) if end is None else bisect_right(names, _name(end)) + 1
    # A day of which nothing can be read is no neighbour.
    while low > 0 and not _samples_in(paths[low]):
        low -= 1
    while high < len(paths) and not _samples_in(paths[high - 1]):
        high += 1
    chosen = sorted({*paths[:1], *paths[low:high], *paths[-1:]})
    found = [sample for path in chosen for sample in _samples_in(path)]
    return sorted(found, key=lambda sample: sample.at)


def remove_before(folder: Path, instant: int) -> None:
    """Remove the files of the days before that of an instant; raises Unavailable if it cannot."""
    for path in _days(folder):
        if path.name < _name(instant):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise Unavailable(f"old samples cannot be removed: {error}") from None


def _name(instant: int) -> str:
    """Return the name of the file of a day."""
    return f"{_PREFIX}{format_instant(instant)[:10]}.jsonl"


def _days(folder: Path) -> list[Path]:
    """Return the files of samples, by their days."""
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in there if _FILE.fullmatch(path.name))


def _samples_in(path: Path) -> list[Sample]:
    return list(samples_of(_read(path)))


def _lines_of(path: Path) -> list[bytes]:
    return _read(path).split(b"\n")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""  # a gateway has just removed it
    except OSError as error:
        raise Unavailable(f"the samples cannot be read: {error}") from None


def _notes_in(line: bytes) -> Iterator[Free]:
    """Read a line as a note; what is none is passed over."""
    try:
        yield Free(**json.loads(line)[_FREE])
    except (ValueError, KeyError, TypeError):
        return


def line_of(sample: Sample) -> bytes:
    """Write a sample as a line of its own."""
    return _line(_to_wire(sample))


def _line(told: dict[str, Any]) -> bytes:
    """Write a line that is whole whatever stands before it: one that was cut ends here."""
    return b"\n" + json.dumps(told, separators=(",", ":")).encode() + b"\n"


def samples_of(data: bytes) -> Iterator[Sample]:
    """Read the samples of a file; what is none is passed over."""
    for line in data.split(b"\n"):
        try:
            yield _from_wire(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue


def _to_wire(sample: Sample) -> dict[str, Any]:
    servers: dict[str, dict[str, dict[str, dict[str, int]]]] = {}
    for server, counters in sample.servers.items():
        models = servers.setdefault(server, {})
        for (model, version), found in counters.items():
            models.setdefault(model, {})[version] = found._asdict()
    stages = {name: dict(steps) for name, steps in sample.stages.items()}
    return {**sample._asdict(), "servers": servers, "stages": stages}


def _from_wire(told: dict[str, Any]) -> Sample:
    servers: dict[str, dict[Key, Counters]] = {}
    for server, models in told["servers"].items():
        servers[server] = {
            (model, version): Counters(**found)
            for model, versions in models.items()
            for version, found in versions.items()
        }
    at, before, after = (int(told[name]) for name in ("at", "before", "after"))
    return Sample(at, before, after, servers, told["stages"])
