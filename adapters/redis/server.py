"""A Redis of our own: started on loopback, watched until it serves, stopped, killed, restarted.

Everything that it writes lies in one private folder, and its address stays the same for its life.
What it still knows after a restart is a choice: nothing, its last snapshot, or every write.
"""

from pathlib import Path
from typing import Literal, Self

from redis import Redis, RedisError

from adapters.child_servers.child import ChildServer, Program
from adapters.child_servers.ports import LOOPBACK, free_ports
from adapters.redis.errors import RedisUnavailable
from adapters.redis.installation import find

Keeps = Literal["nothing", "snapshots", "everysec", "always"]
"""What survives: nothing; snapshots when asked for; a log, flushed each second or each write."""

_ANSWER_SECONDS = 2.0


class RedisServer:
    """One Redis and its folder; a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        keeps: Keeps = "nothing",
        password: str = "",
        start_seconds: float = 30,
        program: Path | None = None,
    ) -> None:
        """Prepare a server in a folder of its own."""
        self._child = ChildServer(
            "Redis", folder, unavailable=RedisUnavailable, errors=r".* # (?!WARNING)|\*\*\*|>>>|'"
        )
        self.folder = self._child.folder
        self.keeps = keeps
        self.password = password
        self.start_seconds = start_seconds
        self._program = program
        self._port = 0

    def __enter__(self) -> Self:
        """Start the server and wait until it serves."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    @property
    def port(self) -> int:
        """The port it serves on, from the first start on."""
        if not self._port:
            raise RedisUnavailable("the server was never started")
        return self._port

    @property
    def url(self) -> str:
        """Where clients reach it, and the word that lets them in."""
        word = f":{self.password}@" if self.password else ""
        return f"redis://{word}{LOOPBACK}:{self.port}/0"

    @property
    def snapshot(self) -> Path:
        """The file that a snapshot is written to, and that a start reads."""
        return self.folder / "data" / "dump.rdb"

    @property
    def log(self) -> Path:
        """The file that the server writes its messages to, over all its starts."""
        return self._child.log

    @property
    def pid(self) -> int:
        """The number of the server's process while it runs, else zero."""
        return self._child.pid

    @property
    def run_id(self) -> str:
        """The name that the server gave itself at this start."""
        with self._asked() as client:
            return str(client.info("server")["run_id"])

    def start(self) -> None:
        """Start the server and wait until it serves; a free port at the first start."""
        if not self.is_running():
            self._child.start(self._prepare, self.is_ready, self.start_seconds)

    def stop(self) -> None:
        """Let the server keep what it is to keep, and end it."""
        self._child.stop()

    def kill(self) -> None:
        """Kill the server at once, as the kernel would."""
        self._child.kill()

    def restart(self) -> None:
        """Stop the server if it runs, and start it again on the same port."""
        self.stop()
        self.start()

    def is_running(self) -> bool:
        """Tell whether the server's process lives."""
        return self._child.is_running()

    def is_ready(self) -> bool:
        """Ask the server whether it answers; while it reads its data it does not."""
        try:
            with self._asked() as client:
                return bool(client.ping())
        except RedisError:
            return False

    def _prepare(self) -> Program:
        """Write the settings, and say how the server is started."""
        program = self._program or find()
        if not self._port:
            (self._port,) = free_ports(1)
        (self.folder / "data").mkdir(exist_ok=True)
        file = self.folder / "redis.conf"
        file.touch(mode=0o600)
        file.write_text(self._settings(), encoding="utf-8")
        return Program([str(program), str(file)])

    def _settings(self) -> str:
        settings = {
            "bind": LOOPBACK,
            "port": str(self._port),
            "dir": f'"{self.folder / "data"}"',
            # By itself a snapshot is taken once a day and at an orderly end.
            "save": "86400 1" if self.keeps == "snapshots" else '""',
            "appendonly": "yes" if self.keeps in {"everysec", "always"} else "no",
            "appendfsync": self.keeps if self.keeps in {"everysec", "always"} else "no",
        }
        if self.password:
            settings["requirepass"] = f'"{self.password}"'
        return "".join(f"{name} {value}\n" for name, value in settings.items())

    def _asked(self) -> Redis:
        return Redis.from_url(self.url, socket_timeout=_ANSWER_SECONDS, retry=None)
