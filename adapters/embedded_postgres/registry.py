"""Who has joined a ledger's folder: one locked file for each, which tells the living from the dead.

A lock (flock) ends with the process that holds it, however that process ends. So a file whose lock
can be taken was left behind by a process that is gone, and no process id is ever guessed about.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from adapters.embedded_postgres.errors import ServerUnavailable

_PREFIX = "member-"
_PAUSE_SECONDS = 0.01
_numbers = count(1)


def try_lock(path: Path) -> int | None:
    """Lock a file and return its descriptor, or return None while somebody else holds it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def guard(run: Path, deadline: float) -> Iterator[None]:
    """Let one process at a time join, start, stop or leave; wait for it until the deadline."""
    while (descriptor := try_lock(run / "guard")) is None:
        if time.monotonic() >= deadline:
            raise ServerUnavailable(
                f"another process is still starting or stopping the server of {run.parent}"
            )
        time.sleep(_PAUSE_SECONDS)
    try:
        yield
    finally:
        _unlock(descriptor)


class Membership:
    """One stay of this process in the folder, from entering to leaving."""

    def __init__(self, run: Path) -> None:
        """Enter: make the file of this stay and hold its lock."""
        self._process = os.getpid()
        self._path = run / f"{_PREFIX}{self._process}-{next(_numbers)}"
        self._descriptor = try_lock(self._path)
        if self._descriptor is None:
            raise ServerUnavailable(f"{self._path} is locked by a process of another container")

    @property
    def is_ours(self) -> bool:
        """Whether this process still stays (a forked child inherits a stay not its own)."""
        return self._descriptor is not None and self._process == os.getpid()

    def end(self) -> None:
        """Leave: remove the file and let go of its lock."""
        if self._descriptor is None or not self.is_ours:
            return
        descriptor, self._descriptor = self._descriptor, None
        self._path.unlink(missing_ok=True)
        _unlock(descriptor)


def anybody_else(run: Path) -> bool:
    """Tell whether a living process has joined; remove the files of those who are gone.

    Only under the guard: between a file's making and its locking, nobody may look.
    """
    alive = False
    for path in run.glob(f"{_PREFIX}*"):
        descriptor = try_lock(path)
        if descriptor is None:
            alive = True
            continue
        path.unlink(missing_ok=True)
        _unlock(descriptor)
    return alive


def _unlock(descriptor: int) -> None:
    # Unlocking, not only closing: a forked child may hold a copy of the descriptor.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
