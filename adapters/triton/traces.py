"""Trace files of Triton: read while the server writes them, each trace once.

A server writes `NAME.0`, `NAME.1` and so on into a folder that is new with each of its starts.
Files follow each other in number, so that the next ones are asked for by name; the folder, which
may hold a million, is listed only at first, after a pause, and when nothing comes. Nothing here
waits: `look` reads what there is.
"""

import json
import logging
import os
import re
import stat
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from adapters.triton.trace_format import parsed
from domain.device_time import Trace

logger = logging.getLogger("tollbook.gateway")

FILE_BYTES_MAX = 64 * 1_048_576
BEYOND = 32
"""So many numbers after the last known file are asked for: files are not made quite in order."""
HALF_SECONDS = 5.0
"""A file that is not whole after so long never will be."""
PAUSE_SECONDS = 2.0
"""After so long without a look, files may be too many to be read one by one."""
BACKLOG = 1_000
"""So many files at least are too many."""
MISSED_MAX = 10_000
_STILL_SECONDS = 0.25
_NAMES_MAX = 16
_LISTING = 20
"""A listing is made again after so many times as long as it took."""

_NUMBERED = re.compile(r"(.{1,200})\.(0|[1-9][0-9]{0,17})", re.DOTALL)


class Written(NamedTuple):
    """One file's traces, and what the file says about when they were written."""

    boot: str
    written_at: int
    """When the file was changed last, in nanoseconds since 1970, by its disk's clock."""
    last: int
    """The latest instant in it, by the server's own clock."""
    traces: tuple[Trace, ...]


class _Files:
    """The files of one name in one folder: which numbers were read, and which come next."""

    def __init__(self, first: int) -> None:
        self.next = first
        """All before it were read, or never will be."""
        self.beyond: set[int] = set()
        """Those after it that were read."""

    def take(self, number: int) -> None:
        """Take note that a file needs no more reading."""
        self.beyond.add(number)
        self.pass_over(self.next if len(self.beyond) <= MISSED_MAX else min(self.beyond))

    def pass_over(self, number: int) -> None:
        """Take note that no file before a number needs reading any more."""
        if number > self.next:
            self.next = number
            self.beyond = {each for each in self.beyond if each >= number}
        while self.next in self.beyond:
            self.beyond.remove(self.next)
            self.next += 1

    def candidates(self) -> Iterator[int]:
        """Yield what may be there to read; goes on for as long as files are found and taken."""
        number, last = self.next, max(self.beyond, default=self.next)
        while number <= last + BEYOND:
            if number >= self.next and number not in self.beyond:
                yield number
            if number < self.next or number in self.beyond:
                last = max(last, number)
            number += 1


class BootFolder:
    """The trace files of one start of a server."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet."""
        self.path = path
        self.changed_at = 0
        """When its newest file was made, in nanoseconds since 1970."""
        self._files: dict[str, _Files] = {}
        self._half: dict[Path, tuple[int, float]] = {}
        self._looked_at = float("-inf")
        self._still_since = 0.0
        self._list_at = 0.0
        self._listed = -1
        """What `changed_at` was at the last listing."""

    def look(self, since: int) -> Iterator[Written]:
        """Yield what was written and not read before; files from before `since` may be left out."""
        now = time.monotonic()
        try:
            changed_at = self.path.stat().st_mtime_ns
        except OSError:
            return
        if changed_at != self.changed_at:
            self.changed_at, self._still_since = changed_at, now
        if changed_at < since or not self._may_have_more(now):
            return
        if self._must_list(now):
            self._list(since)
        self._looked_at = now
        for name, files in self._files.items():
            for number in files.candidates():
                for written in self._read(name, files, number):
                    # While files follow each other there is no need to list.
                    self._list_at = max(self._list_at, now + 1.0)
                    yield written

    def _may_have_more(self, now: float) -> bool:
        """Say whether anything can be new; a folder's time stands still for some milliseconds."""
        still = now - self._still_since > _STILL_SECONDS
        known = self.changed_at == self._listed or now < self._list_at
        return not (still and known and not self._half)

    def _must_list(self, now: float) -> bool:
        if self._listed < 0:
            return True
        if now - self._looked_at > PAUSE_SECONDS:
            ends = ((name, files.next + BACKLOG) for name, files in self._files.items())
            return not self._files or any(self._written_at(*end) for end in ends)
        return now >= self._list_at and self.changed_at != self._listed

    def _list(self, since: int) -> None:
        """Find every name and number, and pass over files that are older than anybody asks for."""
        began, changed_at = time.monotonic(), self.changed_at
        numbers: dict[str, list[int]] = {}
        try:
            for entry in os.listdir(self.path):  # noqa: PTH208 - one text each, of a million
                match = _NUMBERED.fullmatch(entry)
                if match is not None:
                    numbers.setdefault(match[1], []).append(int(match[2]))
        except OSError as error:
            logger.warning("the traces in %s cannot be listed: %s", self.path, error)
        for name in sorted(numbers)[:_NAMES_MAX]:
            self._begin(name, sorted(numbers[name]), since)
        took = time.monotonic() - began
        self._listed, self._list_at = changed_at, began + max(1.0, _LISTING * took)

    def _begin(self, name: str, numbers: list[int], since: int) -> None:
        """Put the next number to read at the first that is new enough, also across a gap."""
        files = self._files.setdefault(name, _Files(numbers[0]))
        new = [each for each in numbers if each >= files.next and each not in files.beyond]
        old = bisect_left(new, since, key=lambda number: self._written_at(name, number))
        if old:
            files.pass_over(new[old - 1] + 1)
        elif new and new[0] - files.next > BEYOND:
            files.pass_over(new[0])

    def _written_at(self, name: str, number: int) -> int:
        try:
            return (self.path / f"{name}.{number}").stat().st_mtime_ns
        except OSError:
            return 0

    def _read(self, name: str, files: _Files, number: int) -> Iterator[Written]:
        path = self.path / f"{name}.{number}"
        try:
            data, written_at = _bytes_of(path)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self._skip(path, files, number, error)
            return
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            if not self._waits_for(path, len(data)):
                self._skip(path, files, number, error)
            return
        self._half.pop(path, None)
        try:
            traces, last = parsed(found)
        except ValueError as error:
            self._skip(path, files, number, error)
            return
        files.take(number)
        yield Written(self.path.name, written_at, last, traces)

    def _skip(self, path: Path, files: _Files, number: int, error: Exception) -> None:
        self._half.pop(path, None)
        files.take(number)
        logger.warning("the trace file %s is left out: %s", path, str(error)[:200])

    def _waits_for(self, path: Path, size: int) -> bool:
        """Say whether a file that is not whole may become so: it grows, or is new."""
        now = time.monotonic()
        before, since = self._half.get(path, (-1, now))
        if size != before:
            since = now
        self._half[path] = (size, since)
        return now - since < HALF_SECONDS

    def remove_before(self, instant: int) -> int:
        """Remove files that were read or passed over and are older; return how many."""
        removed = 0
        for name, files in self._files.items():
            for number in sorted(self._numbers(name)):
                path = self.path / f"{name}.{number}"
                if number >= files.next or self._written_at(name, number) >= instant:
                    break
                with suppress(OSError):
                    path.unlink()
                    removed += 1
        if self.changed_at < instant:
            with suppress(OSError):
                self.path.rmdir()  # only where nothing is left in it
        return removed

    def _numbers(self, name: str) -> Iterator[int]:
        with suppress(OSError):
            for entry in os.listdir(self.path):  # noqa: PTH208
                match = _NUMBERED.fullmatch(entry)
                if match is not None and match[1] == name:
                    yield int(match[2])


class TraceFolder:
    """A pool's folder of traces: a sub-folder for each start of each server of the pool."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet."""
        self.path = path
        self.boots: dict[str, BootFolder] = {}
        self._listed_at = 0
        self._is_missing = False

    def look(self, since: int) -> list[Written]:
        """Return what was written and not read before, since an instant in nanoseconds."""
        self._find()
        return [each for boot in self.boots.values() for each in boot.look(since)]

    def _find(self) -> None:
        try:
            changed_at = self.path.stat().st_mtime_ns
            if changed_at == self._listed_at:
                return
            # A folder made in the same instant may be missed; the next start changes it again.
            fresh = time.time_ns() - changed_at < 1_000_000_000
            with os.scandir(self.path) as entries:
                names = sorted(each.name for each in entries if each.is_dir(follow_symlinks=False))
        except OSError as error:
            if not self._is_missing:
                logger.warning("the traces in %s cannot be listed: %s", self.path, error)
            self._is_missing = True
            return
        self._is_missing = False
        self._listed_at = 0 if fresh else changed_at
        self.boots = {name: self.boots.get(name) or BootFolder(self.path / name) for name in names}

    def remove_before(self, instant: int) -> int:
        """Remove used files that are older than an instant; return how many."""
        return sum(boot.remove_before(instant) for boot in self.boots.values())


def _bytes_of(path: Path) -> tuple[bytes, int]:
    """Read a file, and when it was written; raises ValueError for what is no plain file."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - closes the descriptor
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("it is no plain file")
        if facts.st_size > FILE_BYTES_MAX:
            raise ValueError(f"it has more than {FILE_BYTES_MAX} bytes")
        return file.read(FILE_BYTES_MAX + 1), facts.st_mtime_ns
