"""The folder of a ledger: which names lie in it, and which folders we refuse to take over."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from adapters.embedded_postgres.binaries import MAJOR_VERSION
from adapters.embedded_postgres.errors import ServerUnavailable, WrongDirectory

# A fresh cluster takes 40 MB and its first write-ahead log file 16 MB more.
SPACE_FOR_A_NEW_LEDGER = 128 * 1024 * 1024

_LEFT_BY_A_BROKEN_START = {"postgres.new", "run", "server.log", "server.log.1", "lost+found"}


@dataclass(frozen=True, slots=True)
class Place:
    """The layout of a ledger's folder, which alone decides where everything lies."""

    root: Path

    @property
    def cluster(self) -> Path:
        """The folder that PostgreSQL owns."""
        return self.root / "postgres"

    @property
    def new_cluster(self) -> Path:
        """Where a cluster is made before it gets its name, so that half a cluster has no name."""
        return self.root / "postgres.new"

    @property
    def run(self) -> Path:
        """The folder of our locks and of one file for each process that has joined."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """The file to which the server writes what happens to it."""
        return self.root / "server.log"

    def holds_cluster(self) -> bool:
        """Tell whether a complete cluster lies here."""
        try:
            return (self.cluster / "PG_VERSION").is_file()
        except PermissionError as error:
            raise WrongDirectory(f"{self.root} may not be read by this user") from error


def admit(root: Path, *, create: bool) -> Place:
    """Return the place for a folder that is a ledger's or may become one; refuse any other."""
    place = Place(root)
    if create and not root.exists():
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not root.is_dir():
        raise WrongDirectory(f"{root} is not a folder" if root.exists() else f"{root} is missing")
    _check_ownership(root)
    if place.holds_cluster():
        _check_version(place)
    elif not create:
        raise WrongDirectory(f"{root} holds no ledger")
    else:
        _check_vacant(place)
    place.run.mkdir(mode=0o700, exist_ok=True)
    return place


def _check_ownership(root: Path) -> None:
    status = root.stat()
    if status.st_uid != os.geteuid():
        raise WrongDirectory(
            f"{root} belongs to the user with id {status.st_uid}; "
            "run this command as that user or choose another folder"
        )
    if status.st_mode & stat.S_IWOTH:
        raise WrongDirectory(f"{root} can be written by everybody; close it: chmod o-w {root}")


def _check_version(place: Place) -> None:
    found = (place.cluster / "PG_VERSION").read_text(encoding="ascii").strip()
    if found != MAJOR_VERSION:
        raise WrongDirectory(
            f"{place.root} was written by PostgreSQL {found}, and this release runs PostgreSQL "
            f"{MAJOR_VERSION}; open it with the release that wrote it, or move it with pg_dump "
            f"{found} and pg_restore to a PostgreSQL of your own (--database URL)"
        )


def _check_vacant(place: Place) -> None:
    strangers = sorted({path.name for path in place.root.iterdir()} - _LEFT_BY_A_BROKEN_START)
    # Asked again: another process may have finished the ledger since it was looked for.
    if strangers and not place.holds_cluster():
        raise WrongDirectory(
            f"{place.root} is not empty and holds no ledger (found: {', '.join(strangers[:3])}); "
            "choose an empty or a new folder"
        )
    space = os.statvfs(place.root)
    free = space.f_bavail * space.f_frsize
    if free < SPACE_FOR_A_NEW_LEDGER:
        raise ServerUnavailable(
            f"{place.root} has {free // 2**20} MiB free, and a new ledger needs "
            f"{SPACE_FOR_A_NEW_LEDGER // 2**20} MiB"
        )
