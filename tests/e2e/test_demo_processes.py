"""What the demo's own processes do when somebody ends the demo in the middle."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from adapters.embedded_postgres.server import join

PROGRAM = """
import signal, sys, time
from pathlib import Path
from entrypoints.demo.processes import interruptible, started

# Whoever runs the tests in the background has had it ignored for all that is started from there.
signal.signal(signal.SIGINT, signal.default_int_handler)
folder = Path(sys.argv[1])
command = ("serve", "--port", "0", "--data", str(folder / "ledger"))
with interruptible(), started(folder, "server", *command) as server:
    print(server.told()["url"], flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(3)  # as long as a demo may take that is in the middle of something
        server.check()
        raise
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_ends_the_demo_ends_its_processes_and_reads_of_no_fault(
    tmp_path: Path, ending: signal.Signals
) -> None:
    """A terminal sends its signals to all that was started from it; others send theirs to one."""
    server = join(tmp_path / "ledger")
    try:
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as demo:
            assert demo.stdout is not None
            url = demo.stdout.readline().strip()
            assert httpx.get(f"{url}/healthz").status_code == 200
            (os.kill if ending is signal.SIGTERM else os.killpg)(demo.pid, ending)
            _, told = demo.communicate(timeout=60)
        assert told.rstrip().endswith("KeyboardInterrupt"), told
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/healthz")
    finally:
        server.leave()
