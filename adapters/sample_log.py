"""The log of samples: what servers had counted, a line a sample and a file a day.

Files are only appended to, each line in one write, so that several processes may write. A line
that was cut counts as never written. Old files may be removed.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tollbook.errors import Unavailable
from tollbook.times import format_instant

from domain.server_counters import Counters, Key, Sample

_PREFIX = "counters-"
_FILE = re.compile(rf"{_PREFIX}\d{{4}}-\d\d-\d\d\.jsonl")


def append(folder: Path, sample: Sample) -> None:
    """Write a sample down; raises Unavailable where that cannot be done."""
    path = folder / f"{_PREFIX}{format_instant(sample.at)[:10]}.jsonl"
    data = line_of(sample)
    try:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            written = os.write(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(f"the sample cannot be written: {error}") from None
    if written != len(data):
        raise Unavailable("the sample cannot be written: the disk is full")


def read(folder: Path) -> list[Sample]:
    """Return all samples in a folder, oldest first; raises Unavailable where one cannot be read."""
    samples = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _FILE.fullmatch(path.name):
            try:
                samples += list(samples_of(path.read_bytes()))
            except OSError as error:
                raise Unavailable(f"the samples cannot be read: {error}") from None
    return sorted(samples, key=lambda sample: sample.at)


def line_of(sample: Sample) -> bytes:
    """Write a sample as a line of its own: one before it that was cut ends here."""
    return b"\n" + json.dumps(_to_wire(sample), separators=(",", ":")).encode() + b"\n"


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
