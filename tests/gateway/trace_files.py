"""Trace files as Triton writes them, for tests that say when what is written."""

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

MILLI = 1_000_000


class Boot:
    """One start of a server that writes its traces below a pool's folder."""

    def __init__(self, pool: Path, name: str = "boot-0000000000000001") -> None:
        """Make the folder."""
        self.folder = pool / name
        self.folder.mkdir(parents=True)
        self.ids = itertools.count(1)
        self.files = itertools.count()

    def trace(
        self,
        request: str | None,
        *spans: tuple[int, int],
        model: str = "timed",
        parent: int | None = None,
        answered: bool = True,
    ) -> list[dict[str, Any]]:
        """Return the entries of one trace, beginning now."""
        id = next(self.ids)
        head: dict[str, Any] = {"id": id, "model_name": model, "model_version": 1}
        if request is not None:
            head["request_id"] = request
        if parent is not None:
            head["parent_id"] = parent
        steps = [("REQUEST_START", time.monotonic_ns())]
        for start, end in spans:
            steps += [("COMPUTE_START", start), ("COMPUTE_END", end)]
        if answered:
            steps.append(("INFER_RESPONSE_COMPLETE", time.monotonic_ns()))
        steps.append(("REQUEST_END", time.monotonic_ns()))
        return [head] + [
            {"id": id, "timestamps": [{"name": name, "ns": instant}]} for name, instant in steps
        ]

    def write(self, *traces: list[dict[str, Any]], age: float = 0) -> Path:
        """Write traces into the next file, as if so many seconds ago."""
        return self.write_text(json.dumps([entry for trace in traces for entry in trace]), age)

    def write_text(self, text: str, age: float = 0) -> Path:
        """Write anything into the next file."""
        path = self.folder / f"trace.json.{next(self.files)}"
        path.write_text(text, "utf-8")
        if age:
            then = time.time() - age
            os.utime(path, (then, then))
        return path

    def batch(self, *requests: str | None, start: int = 0, end: int = 6 * MILLI) -> None:
        """Write a batch, a file for each of its requests."""
        for request in requests:
            self.write(self.trace(request, (start, end)))
