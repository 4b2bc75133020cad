"""The process between us and a server: nothing of a server outlives it, and it not its starter.

Run as a program, with one JSON argument. It starts the server and adopts the children that a killed
server leaves behind. When its standard input ends (its starter has died), or on SIGUSR1, it kills
the server; SIGTERM it passes on. Whatever the end was, it then kills what is left, removes the
shared memory whose names begin with the server's own prefix, and exits as the server did.
It stands on the standard library alone, and on no module of ours: it starts in milliseconds.
"""

import ctypes
import json
import os
import select
import signal
import sys
from pathlib import Path
from types import FrameType

_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36


def main(order: str) -> int:
    """Keep one server until it ends, and return how it did."""
    wanted = json.loads(order)
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake)
    _prctl(_SET_CHILD_SUBREAPER, 1)
    server = _spawn(wanted["command"], wanted["environment"])

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(server, signal.SIGTERM if number == signal.SIGTERM else signal.SIGKILL)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGUSR1, pass_on)
    os.write(1, f"{server}\n".encode())
    code = _wait_for(server, woken)
    # From here on the number may belong to another process.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    _end_what_is_left()
    if wanted["shared_memory"]:
        remove_shared_memory(wanted["shared_memory"])
    return code


def remove_shared_memory(prefix: str) -> None:
    """Remove the regions of a server none of whose processes lives."""
    for region in Path("/dev/shm").glob(f"{prefix}*"):  # noqa: S108 - where Linux keeps them
        region.unlink(missing_ok=True)


def _spawn(command: list[str], environment: dict[str, str]) -> int:
    keeper = os.getpid()
    server = os.fork()
    if server:
        return server
    try:
        _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() == keeper:
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.dup2(2, 1)
            os.execve(command[0], command, os.environ | environment)  # noqa: S606 - no shell wanted
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _wait_for(server: int, woken: int) -> int:
    lifeline = [0]
    while True:
        readable, _, _ = select.select([*lifeline, woken], [], [])
        if 0 in readable and not os.read(0, 1):
            lifeline = []
            os.kill(server, signal.SIGKILL)
        if woken in readable:
            os.read(woken, 4096)
        while (ended := _collect(os.WNOHANG)) is not None:
            pid, status = ended
            if pid == server:
                return os.waitstatus_to_exitcode(status) & 0xFF


def _end_what_is_left() -> None:
    """Kill the children that were adopted, until there is none."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        for pid in children.read_text("ascii").split():
            os.kill(int(pid), signal.SIGKILL)  # ours until it is collected, so still its number
        if _collect(0) is None:
            return


def _collect(options: int) -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, options)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
