"""Logs: one JSON document a line on standard error, written by a thread of its own.

Whoever logs never waits for the reader of the log. When that reader falls far behind, lines are
left out, and the next one that is written says how many.
"""

import json
import logging
import sys
import threading
from collections import deque
from typing import Any, TextIO

from tollbook.times import format_instant

LINES_MAX = 20_000
"""So many lines may wait to be written."""

PAUSE_SECONDS = 0.05
"""Lines that come within this time are written together."""


class JsonLines(logging.Formatter):
    """Writes a record as one JSON document: time, level, logger, message, and its `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        document: dict[str, Any] = {
            "time": format_instant(int(record.created * 1_000_000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, separators=(",", ":"), default=str)


class LogWriter(logging.Handler):
    """Writes lines in a thread; `close` writes what is left."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to a stream, by default to standard error."""
        super().__init__()
        self.setFormatter(JsonLines())
        self._stream = stream or sys.stderr
        self._lines: deque[str] = deque()
        self._lost = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line of a record."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a line that cannot be written must not stop its writer
            self.handleError(record)
            return
        if len(self._lines) >= LINES_MAX:
            self._lost += 1
            return
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Write what is left, and end the thread."""
        self._stop.set()
        self._wake.set()
        self._thread.join(5)
        super().close()

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            self._write()
            self._stop.wait(PAUSE_SECONDS)
        self._write()

    def _write(self) -> None:
        waiting = [self._lines.popleft() for _ in range(len(self._lines))]
        if self._lost:
            lost, self._lost = self._lost, 0
            waiting.append(json.dumps({"level": "warning", "message": f"{lost} lines were lost"}))
        if not waiting:
            return
        try:
            self._stream.write("\n".join(waiting) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads the log any more, and there is nowhere else to say so


class Logging:
    """The logging of a process that serves: set up on entry, put back on exit."""

    def __init__(self, level: str, stream: TextIO | None = None) -> None:
        """Log what is at least of a level."""
        self._level = getattr(logging, level.upper())
        self._stream = stream

    def __enter__(self) -> None:
        """Send every logger's lines to one writer."""
        root = logging.getLogger()
        self._before = root.handlers[:], root.level
        self._writer = LogWriter(self._stream)
        root.handlers[:] = [self._writer]
        root.setLevel(self._level)
        # The server's own lines say what ours say better, and name what clients send.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        """Write what is left, and restore what was."""
        root = logging.getLogger()
        root.handlers[:], level = self._before
        root.setLevel(level)
        self._writer.close()
