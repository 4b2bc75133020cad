"""`tollbook demo --triton` from the outside: a real Triton, and charges that owe it nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from entrypoints.demo.counting import counted
from tests.support.processes import processes_that_name
from tests.support.triton import installed

ROOT = Path(__file__).resolve().parents[2]
TRACE = ROOT.parent / "shared" / "data" / "azure-llm-2023-conv.csv"
ROWS = ["--limit", "200", *(["--trace", str(TRACE)] if TRACE.exists() else [])]


def demo(*arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
    """Run a demo; return its exit code and its one document."""
    done = subprocess.run(
        [sys.executable, "-m", "tollbook", "demo", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the demo makes its temporary ones."""
    return tmp_path_factory.mktemp("tmp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name the folder of the demo's ledger."""
    return tmp_path_factory.mktemp("through") / "ledger"


@pytest.fixture(scope="module")
def through(folder: Path, temporary: Path) -> dict[str, Any]:
    """Run the demo through Triton, once for this file."""
    installed()
    code, document = demo(*ROWS, "--triton", "--data", str(folder), TMPDIR=str(temporary))
    assert code == 0, document
    return document


def test_every_charge_is_the_one_that_the_plain_demo_makes(through: dict[str, Any]) -> None:
    code, plain = demo(*ROWS)
    assert code == 0
    assert through["customers"] == plain["customers"]
    for name in ("inferences", "settled", "refused", "blocked", "charged", "licenses", "position"):
        assert through[name] == plain[name], name
    assert through["settled"] == 200
    assert not {"through_triton", "counted_by_model"} & set(plain)


def test_every_charge_is_what_the_model_itself_counted(
    through: dict[str, Any], folder: Path
) -> None:
    tokens = {
        kind: sum(each[kind] for each in through["customers"].values())
        for kind in ("input_tokens", "output_tokens")
    }
    assert through["through_triton"] == 200
    assert through["counted_by_model"] == {"inferences": 200, **tokens, "equal": True}
    lines = (folder / "model-log" / "textgen.jsonl").read_text("utf-8").splitlines()
    assert sum(json.loads(line)["input_tokens"] for line in lines) == tokens["input_tokens"]


def test_the_audit_is_clean_and_nothing_is_left_behind(
    through: dict[str, Any], folder: Path, temporary: Path
) -> None:
    assert through["audit"] == {**through["audit"], "ok": True, "differences": []}
    assert processes_that_name(str(folder)) == []
    assert processes_that_name(str(temporary)) == []
    assert list(temporary.iterdir()) == []
    assert not (folder / "postgres" / "postmaster.pid").exists()


def test_where_there_is_no_triton_it_says_what_to_do_and_makes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "ledger"
    home = {"TOLLBOOK_TRITON_HOME": str(tmp_path / "none")}
    code, problem = demo("--triton", "--data", str(data), **home)
    assert (code, problem["code"]) == (4, "unavailable")
    assert "make triton" in problem["detail"]
    assert not data.exists()


LINE = {"input_tokens": 3, "output_tokens": 5, "outcome": "ok"}


@pytest.mark.parametrize(
    ("charges", "equal"),
    [
        pytest.param([("a", 3, 5), ("b", 3, 5)], True, id="as it was"),
        pytest.param([("b", 3, 5), ("a", 3, 5)], True, id="in another order"),
        pytest.param([("a", 3, 5)], False, id="one is not charged"),
        pytest.param([("a", 3, 5), ("b", 3, 5), ("b", 3, 5)], False, id="one is charged twice"),
        pytest.param([("a", 3, 5), ("b", 3, 4)], False, id="one token less"),
        pytest.param([("a", 3, 5), ("b", 3, 5), ("c", 0, 0)], False, id="one that never ran"),
    ],
)
def test_charges_are_compared_one_by_one_with_what_ran(
    tmp_path: Path, charges: list[tuple[str, int, int]], equal: bool
) -> None:
    log = tmp_path / "model.jsonl"
    lines = [{**LINE, "request_id": "a"}, {**LINE, "request_id": "b"}]
    failed = {**LINE, "request_id": "f", "outcome": "error"}
    log.write_text("\n".join(json.dumps(each) for each in [*lines, failed]) + "\n")
    found = counted(log, charges)
    assert (found.inferences, found.input_tokens, found.output_tokens) == (2, 6, 10)
    assert found.equal is equal


def test_a_log_that_is_not_there_is_one_of_nothing(tmp_path: Path) -> None:
    assert counted(tmp_path / "none", []).equal
    assert not counted(tmp_path / "none", [("a", 1, 1)]).equal


def test_without_a_limit_it_takes_two_thousand_rows_and_says_so(tmp_path: Path) -> None:
    installed()
    trace = tmp_path / "trace.csv"
    rows = "2023-11-16 18:15:46.0000000,2,1\n" * 2_001
    trace.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}")
    code, document = demo("--triton", "--trace", str(trace))
    assert (code, document["inferences"], document["through_triton"]) == (0, 2_000, 2_000)
    assert document["source"] == "trace trace.csv, at most 2,000 rows of it (--limit says how many)"
