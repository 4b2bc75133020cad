"""Where the tests keep what they write: in memory, where this machine has the room for it.

A test's database is 400 small files. To make and to drop them on a disk takes ten times the work
that it takes in memory, and no test reads them after a loss of power, which is all that a disk is
better for. `TOLLBOOK_TEST_FOLDER` names another folder, for example one that is on a disk.
"""

import fcntl
import os
import re
import shutil
import tempfile
from pathlib import Path

VARIABLE = "TOLLBOOK_TEST_FOLDER"
MEMORY = Path("/dev/shm")
PREFIX = "tollbook-tests-"

NEEDED = 4 * 2**30
"""Bytes that must be free; a worker mostly has 100 to 200 MB there."""


def take_room() -> Path | None:
    """Make this run's folder, and name it to the run's processes; None where memory lacks room."""
    place = os.environ.get(VARIABLE) or (MEMORY if _is_roomy() else None)
    if place is None:
        return None
    _sweep(Path(place))
    made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place))
    made.chmod(0o711)  # a server that is run for another user walks through
    fcntl.flock(os.open(made, os.O_RDONLY), fcntl.LOCK_EX)  # held until this process ends
    os.environ[VARIABLE] = str(made)
    return made


def room() -> str | None:
    """Return the folder to make folders in; None is the system's own place for them."""
    return os.environ.get(VARIABLE) or None


def _is_roomy() -> bool:
    """Say whether memory is a folder here, with the room, where programs may be run as well."""
    try:
        space, facts = os.statvfs(MEMORY), Path("/proc/meminfo").read_text("ascii")
    except OSError:
        return False
    available = re.search(r"^MemAvailable: +([0-9]+) kB$", facts, re.MULTILINE)
    free = min(space.f_bavail * space.f_frsize, 1024 * int(available[1]) if available else 0)
    return free >= NEEDED and not space.f_flag & os.ST_NOEXEC and os.access(MEMORY, os.W_OK)


def _sweep(place: Path) -> None:
    """Remove what runs have left that no longer run: a failed one keeps its files till then."""
    for left in place.glob(f"{PREFIX}*"):
        process = left.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", process).exists() and not _is_held(left):
            shutil.rmtree(left, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    """Say whether a run holds a folder, be it one in another container, which we cannot see."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
