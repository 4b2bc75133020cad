"""The tour of docs/api.md, run as a new user would: from an empty folder to a clean audit."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEGIN = """set -eu
trap 'kill -TERM "$!"; wait "$!" || true' EXIT  # the server, however the tour ends
"""


def tour(port: int) -> str:
    """Return the page's commands as one script, on a port that is free."""
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    blocks = BLOCK.findall(page)
    assert len(blocks) >= 10
    return BEGIN + "\n".join(blocks).replace("8400", str(port))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the tour once; return its folder and what it printed."""
    if shutil.which("curl") is None:
        assert "TOLLBOOK_REQUIRE" not in os.environ, "curl is missing"
        pytest.skip("the tour needs curl, which is not on this machine")
    folder = tmp_path_factory.mktemp("tour")
    script = folder / "tour.sh"
    script.write_text(tour(free_port()), encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Files, not pipes: what the server leaves running for a moment would keep a pipe open.
    with (folder / "out.txt").open("w") as out, (folder / "err.txt").open("w") as errors:
        outcome = subprocess.run(
            ["sh", str(script)],
            cwd=folder,
            env={**os.environ, "PATH": path, "TOLLBOOK_LOG_LEVEL": "warning"},
            stdout=out,
            stderr=errors,
            timeout=200,
            check=False,
        )
    printed = (folder / "out.txt").read_text("utf-8")
    assert outcome.returncode == 0, printed + (folder / "err.txt").read_text("utf-8")
    return folder, printed


def documents(printed: str) -> list[dict[str, object]]:
    """Return the answers of the API, in order."""
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def test_the_tour_ends_with_a_clean_audit(done: tuple[Path, str]) -> None:
    assert "Clean" in done[1]


def test_a_settled_charge_is_exact_and_a_retry_repeats_it(done: tuple[Path, str]) -> None:
    settled = [each for each in documents(done[1]) if each.get("id") == "settle-1"]
    # 1,200 input tokens at 0.50 and 250 output tokens at 1.50 USD per million.
    assert settled[0]["charged"] == {"amount": "0.000975000000", "currency": "USD"}
    assert settled[0] == settled[1]


def test_what_was_parked_is_charged_once_it_is_released(done: tuple[Path, str]) -> None:
    released = next(each for each in documents(done[1]) if each.get("id") == "release-1")
    # 700 input tokens at 5.00 USD per million.
    assert released["charged"] == {"amount": "0.003500000000", "currency": "USD"}


def test_the_exports_hold_every_charge(done: tuple[Path, str]) -> None:
    folder, _ = done
    first, header, *rows = (folder / "charges.csv").read_text("utf-8").splitlines()
    assert first.startswith("# tollbook export")
    assert "root" in first
    assert "charged" in header
    assert len(rows) == 4
    question = "SELECT count(*) FROM read_parquet(?)"
    found = duckdb.execute(question, [str(folder / "journal.parquet")]).fetchone()
    assert found is not None
    assert found[0] > 0
