"""Joining a ledger's folder and leaving it: the first to come starts the server, the last stops it.

A process that dies without leaving is noticed by the next one that joins or leaves. Until then its
server stays up, with nobody connected: it holds nothing that a later start would miss.
"""

import errno
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg

from adapters.embedded_postgres import cluster, process, registry, roles, sockets
from adapters.embedded_postgres.binaries import install_for
from adapters.embedded_postgres.errors import ServerUnavailable, WrongDirectory
from adapters.embedded_postgres.identity import ServerUser, server_user
from adapters.embedded_postgres.place import Place, admit

STOP_SECONDS = 300.0
_LONGEST_PAUSE_SECONDS = 0.1
_WRONG_DIRECTORY = {errno.EACCES, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR}

_log = logging.getLogger("tollbook.embedded")


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server that this process has joined."""

    owner_url: str
    app_url: str
    super_url: str
    data_dir: Path
    membership: registry.Membership = field(repr=False, compare=False)

    def leave(self) -> None:
        """Leave the server; the last to leave stops it and waits until it has stopped."""
        if not self.membership.is_ours:
            return
        place = Place(self.data_dir)
        try:
            with registry.guard(place.run, time.monotonic() + STOP_SECONDS):
                self.membership.end()
                _stop_if_unused(place)
        except FileNotFoundError:
            # PostgreSQL looks for its own files every minute and stops when they are gone.
            _log.warning("the folder %s was removed while its server ran", place.root)
            sockets.remove_socket_folder(place.root)
        finally:
            self.membership.end()


def is_ledger_dir(data_dir: Path) -> bool:
    """Tell whether a folder already holds a ledger's cluster."""
    return Place(data_dir.absolute()).holds_cluster()


def join(data_dir: Path, *, create: bool = True, wait_seconds: float = 60) -> EmbeddedServer:
    """Join the server of a folder; make its cluster and start it when nobody has."""
    deadline = time.monotonic() + wait_seconds
    with _plain_words(data_dir):
        root = data_dir.expanduser().resolve()
        place = admit(root, create=create)
        with registry.guard(place.run, deadline):
            membership = registry.Membership(place.run)
            try:
                folder = _serve(place, deadline)
            except BaseException:
                membership.end()
                _stop_if_unused(place)
                raise
    return EmbeddedServer(
        owner_url=sockets.url(folder, cluster.OWNER_ROLE),
        app_url=sockets.url(folder, cluster.APP_ROLE),
        super_url=sockets.url(folder, cluster.SUPER_ROLE),
        data_dir=root,
        membership=membership,
    )


def revive(server: EmbeddedServer, *, wait_seconds: float = 60) -> EmbeddedServer:
    """Bring back the server that this process has joined, after somebody killed it."""
    if not server.membership.is_ours:
        raise ServerUnavailable(f"this process has already left the server of {server.data_dir}")
    fresh = join(server.data_dir, create=False, wait_seconds=wait_seconds)
    fresh.membership.end()
    return replace(fresh, membership=server.membership)


def _serve(place: Place, deadline: float) -> Path:
    """Make sure that the server serves, and return the folder of its socket."""
    user = server_user(place.cluster)
    started = False
    pause = 0.005
    while True:
        lock = process.take_server_lock(place)
        if lock is not None:
            try:
                if started:
                    words = process.last_words(place)
                    raise ServerUnavailable(f"the server of {place.root} did not start: {words}")
                _start(place, user, lock, deadline)
                started = True
            finally:
                os.close(lock)
        answer = _try_to_connect(place, user)
        if isinstance(answer, Path):
            return answer
        if time.monotonic() >= deadline:
            raise ServerUnavailable(
                f"the server of {place.root} does not serve yet ({answer}); "
                f"its last words: {process.last_words(place)}"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


def _start(place: Place, user: ServerUser, lock: int, deadline: float) -> None:
    if not os.path.lexists(cluster.HERE):
        raise ServerUnavailable("an embedded server needs Linux with /proc; use --database URL")
    install = install_for(user)
    if not place.holds_cluster():
        cluster.make_cluster(place, user, install, max(1.0, deadline - time.monotonic()))
    cluster.write_configuration(place)
    process.start(place, user, install, lock)


def _try_to_connect(place: Place, user: ServerUser) -> Path | str:
    """Return the socket's folder when the server answers and is prepared, else why it does not."""
    status = process.read_status(place)
    if status is None or status.word != "ready":
        return f"its state is: {status.word if status else 'not known'}"
    folder = status.socket_folder
    try:
        sockets.check_socket_folder(folder, user)
        roles.prepare(
            sockets.url(folder, cluster.SUPER_ROLE, "postgres"),
            sockets.url(folder, cluster.SUPER_ROLE),
        )
    except (psycopg.OperationalError, FileNotFoundError) as error:
        # Killed a moment ago, or going down: the lock will tell in the next round.
        return str(error).strip()
    return folder


def _stop_if_unused(place: Place) -> None:
    if not registry.anybody_else(place.run):
        process.stop(place, STOP_SECONDS)


@contextmanager
def _plain_words(data_dir: Path) -> Iterator[None]:
    """Turn an error of the operating system into one that says what is wrong with the folder."""
    try:
        yield
    except psycopg.Error as error:
        raise ServerUnavailable(f"{data_dir}: {error}") from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        text = f"{data_dir}: {error.strerror or error}{where}"
        if error.errno in _WRONG_DIRECTORY:
            raise WrongDirectory(text) from error
        raise ServerUnavailable(text) from error
