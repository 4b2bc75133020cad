"""The private folder of the server's socket: a short path, and nobody else's folder."""

import os
import stat
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from adapters.embedded_postgres.cluster import DATABASE
from adapters.embedded_postgres.errors import ServerUnavailable
from adapters.embedded_postgres.identity import ServerUser

PORT = 5432  # no port is opened: the number is the end of the socket's name
SOCKET = f".s.PGSQL.{PORT}"
_LONGEST_PATH = 107
# First the folder that every process sees alike, whatever TMPDIR it was given: the address of a
# server then stays the same when another process starts it again.
_COMMON_FOLDER = "/tmp"  # noqa: S108 - a private folder is made below it and checked


def make_socket_folder(root: Path, user: ServerUser) -> Path:
    """Return the empty private folder for the socket of the server of a ledger's folder."""
    for folder in _candidates(root):
        if len(os.fsencode(folder / SOCKET)) <= _LONGEST_PATH and _usable(folder.parent, user):
            break
    else:
        raise ServerUnavailable(
            f"neither {_COMMON_FOLDER} nor {tempfile.gettempdir()} can hold the server's socket: "
            f"it needs a folder that can be written to, with a path under {_LONGEST_PATH} bytes"
        )
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        _check_private(folder, {user.uid, os.geteuid()})
    if user.is_another:
        os.chown(folder, user.uid, user.gid, follow_symlinks=False)
    _remove_sockets(folder)
    return folder


def check_socket_folder(folder: Path, user: ServerUser) -> None:
    """Refuse a socket folder that is not the server's own private one."""
    _check_private(folder, {user.uid})


def remove_socket_folder(root: Path) -> None:
    """Remove the socket folder of a server that has stopped."""
    # The names are our own, never read from a file that the server's user could have written.
    for folder in _candidates(root):
        with suppress(OSError):
            _remove_sockets(folder)
            folder.rmdir()


def url(folder: Path, role: str, database: str = DATABASE) -> str:
    """Return the URI with which libpq reaches the server over its socket."""
    return f"postgresql://{role}@{quote(str(folder), safe='')}:{PORT}/{database}"


def _candidates(root: Path) -> list[Path]:
    name = "tollbook-" + sha256(os.fsencode(root)).hexdigest()[:16]
    return [Path(base) / name for base in (_COMMON_FOLDER, tempfile.gettempdir())]


def _remove_sockets(folder: Path) -> None:
    for left_behind in (SOCKET, f"{SOCKET}.lock"):
        (folder / left_behind).unlink(missing_ok=True)


def _usable(base: Path, user: ServerUser) -> bool:
    if not os.access(base, os.W_OK | os.X_OK):
        return False
    # Another user has to walk to the socket: every folder above it must let everybody pass.
    steps = (base.resolve(), *base.resolve().parents)
    return not user.is_another or all(step.stat().st_mode & stat.S_IXOTH for step in steps)


def _check_private(folder: Path, owners: set[int]) -> None:
    status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if not private or status.st_uid not in owners:
        raise ServerUnavailable(
            f"{folder} should be a private folder of the server's user and is not; "
            "somebody else made it: look who owns it, and remove it"
        )
