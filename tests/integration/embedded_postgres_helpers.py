"""What the tests of the embedded server share: other processes, other users, a look at /proc."""

import codecs
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from adapters.embedded_postgres.identity import ServerUser

ROOT = Path(__file__).resolve().parents[2]

_COMPANION = """
import sys
from pathlib import Path
from adapters.embedded_postgres.server import join
server = join(Path(sys.argv[1]))
print("joined", flush=True)
sys.stdin.readline()
server.leave()
print("left", flush=True)
"""


class Companion:
    """Another process that joins a folder's server and leaves when told."""

    def __init__(self, folder: Path) -> None:
        """Start the process; it joins by itself."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _COMPANION, str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_joined(self) -> "Companion":
        """Wait until it has joined."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "joined\n"
        return self

    def leave(self) -> None:
        """Let it leave and end."""
        output, _ = self.process.communicate("leave\n", timeout=60)
        assert output == "left\n"

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.kill()
        self.process.communicate(timeout=60)


def postmaster(folder: Path) -> int:
    """Return the process id of the server of a folder."""
    return int((folder / "postgres" / "postmaster.pid").read_text().split()[0])


def family(pid: int) -> list[int]:
    """Return a process and its children, as far as they live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and pid in (int(entry.name), int(fields[1])):
            found.append(int(entry.name))
    return found


def shown_to_its_user(pid: int, *command: str) -> str:
    """Run a command as the user of a process: root in a container may not look into others'."""
    owner = Path(f"/proc/{pid}").stat()
    user = ServerUser("the server's", owner.st_uid, owner.st_gid)
    return subprocess.check_output(command, cwd="/", text=True, timeout=30, **user.spawn_options())


def wait_until_dead(pids: list[int]) -> None:
    """Wait until none of these processes lives."""
    deadline = time.monotonic() + 30
    while any(pid in family(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still alive: {pids}"
        time.sleep(0.01)


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement in a session of its own and return its rows, if it has any."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def as_a_lesser_user(action: Callable[[], None], *folders: Path) -> str:
    """Run an action as an unprivileged user who owns the folders; return its error, or nothing.

    As root, a forked child changes its user: it could not load the modules again, since they may
    lie below a folder that only root can enter. Codecs are modules too, loaded at their first use.
    """
    codecs.lookup("ascii")
    lesser = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    for folder in folders:
        os.chown(folder, lesser.pw_uid, lesser.pw_gid)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _run_in_child(action, lesser, writing)
    os.close(writing)
    with os.fdopen(reading) as answers:
        answer = answers.read()
    os.waitpid(child, 0)
    assert answer.startswith("ran:"), f"the child died: {answer!r}"
    return answer.removeprefix("ran:")


def _run_in_child(action: Callable[[], None], user: pwd.struct_passwd, writing: int) -> None:
    answer = ""
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        action()
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    finally:
        os.write(writing, f"ran:{answer}".encode())
        os._exit(0)
