"""An embedded server for one test, with the ways in which a test may kill it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adapters.embedded_postgres.server import join, revive
from adapters.postgres import connect, migrate
from entrypoints.bootstrap import Database
from tests.integration.embedded_postgres_helpers import family, postmaster, wait_until_dead
from tests.support.databases import MASTER_KEY, query


class OwnServer:
    """A server that this test alone has joined, with every migration run."""

    def __init__(self, folder: Path) -> None:
        """Start it and make the tables."""
        self.folder = folder
        self.server = join(folder)
        connection = connect(self.server.owner_url)
        try:
            migrate(connection)
        finally:
            connection.close()

    def close(self) -> None:
        """Leave the server, which stops it."""
        self.server.leave()

    @property
    def parts(self) -> Database:
        """Return what the composition root needs to put a Tollbook on it."""
        return Database(self.server.owner_url, self.server.app_url, MASTER_KEY)

    @property
    def super_url(self) -> str:
        """Return the URL of the ledger's database for the superuser."""
        return self.server.super_url

    def kill_postmaster(self) -> None:
        """Kill the first process alone; the others notice, and end by themselves."""
        leader = postmaster(self.folder)
        everybody = family(leader)
        os.kill(leader, signal.SIGKILL)
        wait_until_dead(everybody)

    def kill_everything(self) -> None:
        """Kill every process of the server at once, as a power cut would."""
        everybody = family(postmaster(self.folder))
        for pid in everybody:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until_dead(everybody)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Have every process of the server hang, as a machine does that swaps; then go on."""
        everybody = family(postmaster(self.folder))
        try:
            for pid in everybody:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in everybody:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def kill_a_writer(self) -> None:
        """Kill one session of the application; the server then restarts itself."""
        sessions = query(
            self.super_url,
            "SELECT pid FROM pg_stat_activity WHERE usename = 'tollbook_app' "
            "ORDER BY query LIKE '%%append_events%%' DESC LIMIT 1",
        )
        for (pid,) in sessions:
            assert isinstance(pid, int)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def revive(self) -> None:
        """Bring the server back."""
        self.server = revive(self.server)
