"""The intent log: what a gateway is about to do, did, and has told the ledger, line by line.

A line is one write to a file that is only appended to, without fsync: it survives the process
being killed at any moment, and not the machine losing power (docs/decisions/intent-log.md). A line
that was cut is the last of its file and counts as never written. Each process writes segments of
its own and holds a lock on its folder; whoever finds a folder without a lock may adopt it.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic_core import to_json
from tollbook.errors import Unavailable

SEGMENT_BYTES = 16 * 1_048_576
_LOCK = "lock"
_SUFFIX = ".jsonl"
_CUT = b"!\n"
"""Follows what stands of a line that was cut."""
_encoded = json.JSONEncoder(separators=(",", ":")).encode
_RECOVERED = "recovered"
"""The segment of those who adopt a folder: read after all of the process's own."""


class Open(NamedTuple):
    """An inference that was begun and of which the ledger has not been told the end."""

    intent: dict[str, Any]
    outcome: dict[str, Any] | None
    """What is to be told; None when the process died before it was known."""


class _Segment:
    """One file, and the ids in it of which the ledger has not been told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self.size = 0
        self.is_cut = False
        """Whether its last line was cut, for want of room."""
        self.waiting: set[str] = set()

    def close(self) -> None:
        os.close(self.descriptor)


class IntentLog:
    """One process's log. Lines of one inference all go to the segment of its intent."""

    def __init__(self, folder: Path, lock: int) -> None:
        """Write into a folder whose lock is held; use `create`."""
        self._folder = folder
        self._lock = lock
        self._count = 0
        self._is_closed = False
        self._current = self._next()
        self._of: dict[str, _Segment] = {}

    @classmethod
    def create(cls, home: Path, name: str) -> Self:
        """Begin a log in a new folder below `home`, which every process of a gateway shares."""
        hidden, folder = home / f".{name}", home / name
        try:
            hidden.mkdir(parents=True, mode=0o700)
            lock = _locked(hidden)
            hidden.rename(folder)  # only now does `left_behind` see it, locked
        except OSError as error:
            raise Unavailable(f"the intent log cannot be written: {error}") from None
        assert lock is not None  # nobody else knows this folder yet
        return cls(folder, lock)

    def begin(self, id: str, intent: dict[str, Any]) -> None:
        """Write, before a request goes to the server, what it is; raises Unavailable."""
        if self._current.size >= SEGMENT_BYTES:
            self._current = self._rolled()
        segment = self._current
        self._write(segment, {"intent": id, **intent})
        segment.waiting.add(id)
        self._of[id] = segment

    def end(self, id: str, outcome: dict[str, Any]) -> None:
        """Write, before the last byte of an answer leaves, what the ledger is to be told."""
        self._write(self._of[id], {"outcome": id, **outcome})

    def told(self, id: str) -> None:
        """Forget an inference whose end the ledger knows; a segment without others is removed."""
        segment = self._of.pop(id, None)
        if segment is None or self._is_closed:  # then another process may have the folder
            return
        segment.waiting.discard(id)
        if segment is not self._current and not segment.waiting:
            segment.close()
            segment.path.unlink(missing_ok=True)

    def is_open(self, id: str) -> bool:
        """Say whether an inference was begun of whose end the ledger has not been told."""
        return id in self._of

    @property
    def waiting(self) -> int:
        """How many inferences were begun of whose end the ledger has not been told."""
        return len(self._of)

    def close(self) -> None:
        """Let go of the folder, which stays where something in it is open, and goes otherwise.

        Whoever writes from now on is refused: its descriptor may be of another file.
        """
        self._is_closed = True
        segments = {self._current, *self._of.values()}
        for segment in segments:
            segment.close()
        if not self._of:
            shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the intent log is closed: this process stops")

    def _next(self) -> _Segment:
        self._check_open()
        self._count += 1
        try:
            return _Segment(self._folder / f"{self._count:08d}{_SUFFIX}")
        except OSError as error:
            raise Unavailable(f"the intent log cannot be written: {error}") from None

    def _rolled(self) -> _Segment:
        before, fresh = self._current, self._next()  # where there is no next, this one stays open
        if not before.waiting:
            before.close()
            before.path.unlink(missing_ok=True)
        return fresh

    def _write(self, segment: _Segment, line: dict[str, Any]) -> None:
        self._check_open()
        data = _written(line) + b"\n"
        if segment.is_cut:
            # The cut line ends here, and is none even where only its end was missing.
            data = _CUT + data
        try:
            written = os.write(segment.descriptor, data)
        except OSError as error:
            raise Unavailable(f"the intent log cannot be written: {error}") from None
        segment.size += written
        if written:
            segment.is_cut = written != len(data)
        if written != len(data):
            raise Unavailable("the intent log cannot be written: the disk is full")


def _written(line: dict[str, Any]) -> bytes:
    try:
        return to_json(line)  # there are two lines for every inference: it takes a third as long
    except ValueError:
        return _encoded(line).encode()  # half of a pair of surrogates, which has to be escaped


class Left(NamedTuple):
    """The folder of a process that is gone, which is ours now."""

    folder: Path
    lock: int

    def opened(self) -> list[Open]:
        """Return what the process began, oldest first, with what it knew of its end."""
        intents: dict[str, dict[str, Any]] = {}
        outcomes: dict[str, dict[str, Any]] = {}
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            for line in _lines(path):
                if "intent" in line:
                    intents[line["intent"]] = line
                elif "outcome" in line:
                    outcomes[line["outcome"]] = line
        return [Open(intent, outcomes.get(id)) for id, intent in intents.items()]

    def decided(self, id: str, outcome: dict[str, Any]) -> None:
        """Write down what the ledger is to be told of an inference, so that it is told the same.

        The line before may have been cut by the end of another who recovered: it ends here.
        """
        line = _encoded({"outcome": id, **outcome}).encode()
        data = b"\n" + line + b"\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            descriptor = os.open(self.folder / f"{_RECOVERED}{_SUFFIX}", flags, 0o600)
            try:
                written = os.write(descriptor, data)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise Unavailable(f"the intent log cannot be written: {error}") from None
        if written != len(data):
            raise Unavailable("the intent log cannot be written: the disk is full")

    def remove(self) -> None:
        """Remove the folder: the ledger knows everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock)

    def leave(self) -> None:
        """Leave the folder for a later try."""
        os.close(self.lock)


def left_behind(home: Path) -> Iterator[Left]:
    """Yield the folders below `home` whose processes are gone, each locked for the caller."""
    if not home.is_dir():
        return
    for folder in sorted(home.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            lock = _locked(folder)
            if lock is not None:
                yield Left(folder, lock)


def _locked(folder: Path) -> int | None:
    """Lock a folder for this process's life, or return None where another has it."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None  # another has removed the folder meanwhile
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a segment; a line that was cut is skipped."""
    with path.open("rb") as file:
        for data in file:
            try:
                line = json.loads(data)
            except ValueError:
                continue
            if isinstance(line, dict) and data.endswith(b"\n"):
                yield line
