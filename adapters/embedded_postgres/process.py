"""The server's process: is it alive, start it, wait until it serves, stop it.

All processes of a server inherit one locked file. While that lock is held, some process of the
server lives; when it is free, none does, whatever a process id written down once may claim.
"""

import logging
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from adapters.embedded_postgres import sockets
from adapters.embedded_postgres.cluster import HERE
from adapters.embedded_postgres.errors import ServerUnavailable
from adapters.embedded_postgres.identity import ServerUser
from adapters.embedded_postgres.place import Place
from adapters.embedded_postgres.registry import try_lock

LOG_LIMIT = 8 * 1024 * 1024
_PAUSE_SECONDS = 0.01
_LINES_OF_A_COMPLETE_PID_FILE = 8

# What nobody may loosen: on the command line, these win over every file and over ALTER SYSTEM.
# Statements and values stay out of the log: they may hold secrets.
_FIXED = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": "",
    "port": str(sockets.PORT),
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_error_verbosity": "terse",
}

_log = logging.getLogger("tollbook.embedded")
# The servers this process has started, by folder, so that the exit of each is collected.
_children: dict[Path, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What the server says about itself in its own pid file."""

    pid: int
    socket_folder: Path
    word: str


def read_status(place: Place) -> ServerStatus | None:
    """Read the server's pid file; None while there is none or it is not complete."""
    try:
        text = (place.cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    lines = text.splitlines()
    if len(lines) < _LINES_OF_A_COMPLETE_PID_FILE or not lines[0].isdecimal():
        return None
    return ServerStatus(int(lines[0]), Path(lines[4]), lines[7].strip())


def take_server_lock(place: Place) -> int | None:
    """Take the lock that a server's processes hold; None while any of them lives."""
    lock = try_lock(place.run / "server")
    if lock is not None and (child := _children.pop(place.root, None)) is not None:
        child.wait()  # it is dead, or the lock would not be free
    return lock


def start(place: Place, user: ServerUser, install: Path, server_lock: int) -> None:
    """Start the server in a session of its own; it takes over the lock."""
    # The lock was free, so no process of an earlier server lives; its pid file would only mislead
    # the new one when another program has got that process id meanwhile.
    (place.cluster / "postmaster.pid").unlink(missing_ok=True)
    folder = sockets.make_socket_folder(place.root, user)
    settings = {**_FIXED, "unix_socket_directories": str(folder)}
    command = [str(install / "bin" / "postgres"), "-D", HERE]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    log = _open_log(place.log)
    try:
        child = subprocess.Popen(
            command,
            cwd=place.cluster,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(server_lock,),
            start_new_session=True,
            **user.spawn_options(),
        )
    finally:
        os.close(log)
    _children[place.root] = child
    _log.info("started the server of %s as process %d", place.root, child.pid)


def stop(place: Place, seconds: float) -> None:
    """Stop the server (a fast shutdown with a checkpoint) and wait until none of it is left."""
    deadline = time.monotonic() + seconds
    told = False
    while (lock := take_server_lock(place)) is None:
        status = read_status(place)
        if not told and status is not None and _is_server(place, status.pid):
            _log.info("stopping the server of %s, process %d", place.root, status.pid)
            os.kill(status.pid, signal.SIGINT)
            told = True
        if time.monotonic() >= deadline:
            raise ServerUnavailable(
                f"the server of {place.root} has not stopped within {seconds:.0f} s; "
                f"its last words: {last_words(place)}"
            )
        time.sleep(_PAUSE_SECONDS)
    os.close(lock)
    sockets.remove_socket_folder(place.root)


def last_words(place: Place, lines: int = 3) -> str:
    """Return the end of the server's log, which is where it says why it does not serve."""
    try:
        with place.log.open("rb") as file:
            file.seek(max(0, place.log.stat().st_size - 4096))
            tail = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        tail = []
    return " | ".join(tail[-lines:]) or "none"


def _is_server(place: Place, pid: int) -> bool:
    # The server's user writes the pid file, and we may be root: signal only what is that user's.
    # The name guards against a number that another program got while the last children die.
    entry = Path(f"/proc/{pid}")
    try:
        is_postgres = (entry / "comm").read_text(encoding="utf-8").strip() == "postgres"
        return is_postgres and entry.stat().st_uid == place.cluster.stat().st_uid
    except OSError:
        return False


def _open_log(path: Path) -> int:
    """Open the log for appending; when it is beyond the limit, its text moves to one older file."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(path, flags, 0o600)
    if os.fstat(log).st_size > LOG_LIMIT:
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.ftruncate(log, 0)
    return log
