"""A `tollbook` for scripts whose commands do not each start an interpreter and import everything.

A process that has imported the program forks for each command: with the command's arguments,
environment, folder and streams, and to its own end, whose code the caller gets. What runs until it
is told to stop is started as ever. On the search path it stands before the console script, so that
a page's commands are run as they are written.
"""

import contextlib
import gc
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tollbook import cli

ROOT = Path(__file__).resolve().parents[2]
STREAMS = (0, 1, 2)
HEAD_BYTES = 8
CLIENT = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] in (["gateway"], ["serve"]):
    os.execv({script!r}, [{script!r}, *sys.argv[1:]])
place = {{"arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd()}}
asked = json.dumps(place).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(asked).to_bytes({head}, "big")], [0, 1, 2])
    server.sendall(asked)
    told = server.recv(16)
sys.exit(int(told or b"70"))
"""


@contextmanager
def forked_commands() -> Iterator[dict[str, str]]:
    """Run the process that forks; yields the environment in which it is `tollbook`."""
    with tempfile.TemporaryDirectory(prefix="tollbook-commands-") as folder:
        address, command = str(Path(folder) / "socket"), Path(folder) / "tollbook"
        script = str(Path(sys.executable).with_name("tollbook"))
        text = CLIENT.format(python=sys.executable, script=script, address=address, head=HEAD_BYTES)
        command.write_text(text, "utf-8")
        command.chmod(0o700)
        path = os.pathsep.join((folder, str(Path(sys.executable).parent), os.environ["PATH"]))
        environment = {**os.environ, "PATH": path}
        program = [sys.executable, "-m", "tests.support.forked_commands", address]
        with subprocess.Popen(
            program, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                yield environment
            finally:
                process.kill()


def main(address: str) -> int:
    """Fork for each command that comes; return the code of one, in the process that ran it."""
    _import_everything()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that report
        while True:
            caller, _ = listening.accept()
            with caller:
                if os.fork() == 0:
                    listening.close()
                    return _reported(caller)


def _import_everything() -> None:
    """Import what commands import when they run, by one that finds no ledger."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        assert cli.main(["license", "show", "nobody", "--data", folder]) != 0
    assert threading.active_count() == 1, "a fork would lack a thread"
    gc.collect()
    gc.freeze()


def _reported(caller: socket.socket) -> int:
    """Run the command in a process of its own, which ends as any does; tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(caller, HEAD_BYTES, len(STREAMS))
    with caller.makefile("rb") as more:
        place = json.loads(more.read(int.from_bytes(head, "big")))
    worker = os.fork()
    if worker == 0:
        caller.close()
        return _run(place, streams)
    ended = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    caller.sendall(b"%d" % (ended if ended >= 0 else 128 - ended))
    os._exit(0)


def _run(place: dict[str, Any], streams: list[int]) -> int:
    for stream, given in zip(STREAMS, streams, strict=True):
        os.dup2(given, stream)
        os.close(given)
    os.chdir(place["folder"])
    os.environ.clear()
    os.environ.update(place["environment"])
    sys.argv = ["tollbook", *place["arguments"]]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
