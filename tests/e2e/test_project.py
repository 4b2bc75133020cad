"""`tollbook project` from the outside: a process, its output, its exit code, and what it leaves."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest


def command(*arguments: str) -> list[str]:
    """Return how to run the console script."""
    return [sys.executable, "-m", "tollbook", *arguments]


def ran(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run it with --json; return its exit code and its document."""
    done = subprocess.run(
        command(*arguments, "--json"), capture_output=True, text=True, timeout=240, check=False
    )
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make a small ledger once, by the demo."""
    folder = str(tmp_path_factory.mktemp("project") / "ledger")
    code, _ = ran("demo", "--limit", "200", "--data", folder)
    assert code == 0
    return folder


def test_the_views_catch_up_and_are_built_anew(ledger: str) -> None:
    code, first = ran("project", "--data", ledger, "--until-caught-up")
    assert code == 0
    assert first["position"] == first["head"] > 400
    assert (first["events_behind"], first["parked"], first["building"]) == (0, 0, False)
    code, again = ran("project", "--data", ledger, "--until-caught-up", "--rebuild")
    assert code == 0
    assert again["build"] != first["build"]
    assert again["position"] == first["position"]


def wait_for_handler(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Wait until it handles SIGTERM: both of its handlers are set at once."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        text = Path(f"/proc/{process.pid}/status").read_text("utf-8")
        caught = next(line for line in text.splitlines() if line.startswith("SigCgt:"))
        time.sleep(0.05)  # SIGINT follows SIGTERM at once
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
    pytest.fail(f"it does not wait for {number.name}: exit {process.returncode}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(ledger: str, number: signal.Signals) -> None:
    process = subprocess.Popen(
        command("project", "--data", ledger), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_for_handler(process, number)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert b"The views hold everything up to position" in out


def test_a_folder_without_a_ledger_is_refused(tmp_path: Path) -> None:
    code, problem = ran("project", "--data", str(tmp_path))
    assert code == 2
    assert problem["code"] == "invalid"
