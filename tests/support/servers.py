"""PostgreSQL servers for the tests: the embedded one, and a plain one that is reached by URL.

Each is started once per run, by whichever test needs it first, and stopped when the run ends. Both
forgo what only a power cut would call for; whoever kills a server has one of its own, with all of
that (tests/faults/own_server.py).
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from adapters.embedded_postgres import process
from adapters.embedded_postgres.server import EmbeddedServer, join
from adapters.embedded_postgres.sockets import url
from tests.support.room import room

PREFIX = f"tollbook_test_{os.getpid()}"
"""How the names of this run's databases begin: on a server that is given there may be others."""

TEMPLATE = f"{PREFIX}_template"

SHORT_LIVED = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "256MB"}
"""Settings of servers whose disk nobody reads after a power cut, and whose disk may be memory."""

PLAIN_VERSION_MIN = 15
PLAIN_OWNER = "ledger_owner"
"""The one role that a ledger on the plain server has: it owns the tables, and writes them."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: who may make databases on it, and as whom a ledger uses them."""

    kind: str
    super_url: str
    owner: str
    app: str

    def as_role(self, role: str | None, database: str) -> str:
        """Return the URL of a database for a role; None keeps the role that makes databases."""
        parts = urlsplit(self.super_url)
        host = parts.netloc.rpartition("@")[2]
        netloc = parts.netloc if role in (None, parts.username) else f"{role}@{host}"
        return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))


@cache
def embedded_server(config: pytest.Config) -> Server:
    """Return a server from the wheel, with an owner role and an application role."""
    joined = _joined(config)
    return Server("embedded", joined.super_url, "tollbook_owner", "tollbook_app")


@cache
def plain_server(config: pytest.Config) -> Server:
    """Return a server reached by URL, on which one role is everything.

    It is the one that TOLLBOOK_TEST_DATABASE names (with the right to make databases), else one
    of this machine's own programs, else a second embedded cluster that is used by its URL alone.
    """
    given = os.environ.get("TOLLBOOK_TEST_DATABASE")
    if given:
        role = urlsplit(given).username or pwd.getpwuid(os.geteuid()).pw_name
        config.add_cleanup(lambda: _drop_template(given))
        return Server("plain", given, role, role)
    programs = _programs()
    if programs is None:
        joined = _joined(config)
        return Server("plain", joined.super_url, "tollbook_owner", "tollbook_owner")
    super_url = _start(config, programs)
    with psycopg.connect(super_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {PLAIN_OWNER} LOGIN".encode())
    return Server("plain", super_url, PLAIN_OWNER, PLAIN_OWNER)


def _drop_template(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)".encode())


def _joined(config: pytest.Config) -> EmbeddedServer:
    folder = Path(tempfile.mkdtemp(prefix="tollbook-test-", dir=room()))
    with mock.patch.dict(process._FIXED, SHORT_LIVED):
        joined = join(folder / "ledger")

    def stop() -> None:
        joined.leave()
        shutil.rmtree(folder, ignore_errors=True)

    config.add_cleanup(stop)
    return joined


def _programs() -> Path | None:
    """Find the newest PostgreSQL of this machine that is new enough."""
    found = shutil.which("postgres")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if not (place / "initdb").exists() or not (place / "postgres").exists():
            continue
        words = subprocess.run(
            [place / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout.split()
        if int(words[2].split(".")[0]) >= PLAIN_VERSION_MIN:
            return place
    return None


def _start(config: pytest.Config, programs: Path) -> str:
    """Start a cluster of the machine's own programs on a socket in a private folder."""
    folder = Path(tempfile.mkdtemp(prefix="tollbook-plain-", dir=room()))
    user: dict[str, object] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        lesser = pwd.getpwnam("nobody")
        os.chown(folder, lesser.pw_uid, lesser.pw_gid)
        user = {"user": lesser.pw_uid, "group": lesser.pw_gid, "extra_groups": []}
    data, log = folder / "data", folder / "log"

    def run(program: str, *arguments: str) -> None:
        subprocess.run(  # type: ignore[call-overload]
            [str(programs / program), *arguments],
            cwd=folder,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=120,
            **user,
        )

    def stop() -> None:
        run("pg_ctl", "-D", str(data), "-m", "fast", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)

    # The folder is private to the server's user, so trusting whoever reaches its socket is safe.
    run("initdb", "-D", str(data), "-U", "super", "-A", "trust", "-E", "UTF8", "--locale=C")
    settings = {"listen_addresses": "''", "unix_socket_directories": f"'{folder}'", **SHORT_LIVED}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    run("pg_ctl", "-D", str(data), "-l", str(log), "-o", options, "-w", "start")
    config.add_cleanup(stop)
    return url(folder, "super", "postgres")
