"""`make bench` runs, and its figures have their names; what they say is for a quiet machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks.figures import BY_NAME, Figure, Result
from tests.architecture.source_files import ROOT

CHOSEN = [
    *("pairs_1", "pairs_hot_512_events_vs_copy", "bytes_per_inference", "open_1m"),
    *("licensed_pairs_512", "license_validate_cold", "lease_verify"),
]
# What was chosen, and what it is compared with.
MEASURED = {
    *("raw_copy", "library_pairs", "pairs_1", "pairs_hot_512_events_vs_copy"),
    *("bytes_per_inference", "open_1m", "pairs_hot_512", "licensed_pairs_512"),
    *("license_validate_cold", "lease_verify"),
}


def test_a_quick_run_writes_the_figures_and_fills_in_the_page(tmp_path: Path) -> None:
    figures, page = tmp_path / "figures.json", tmp_path / "performance.md"
    shutil.copy(ROOT / "docs" / "performance.md", page)
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", *CHOSEN]
    outcome = subprocess.run(
        [*command, "--json", str(figures), "--markdown", str(page)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "fsync on, synchronous_commit on, full_page_writes on" in outcome.stdout
    found = json.loads(figures.read_text("utf-8"))
    assert {figure["name"] for figure in found} == MEASURED
    assert {"name", "value", "unit", "baseline", "ratio"} <= found[0].keys()
    assert all(figure["value"] > 0 for figure in found)
    filled = page.read_text("utf-8")
    assert "| raw_copy |" in filled.partition("<!-- bench:end -->")[0]
    assert "<!-- bench-large:start -->" in filled


def test_a_bench_that_is_told_to_end_leaves_nothing_behind() -> None:
    """As `timeout` tells it: neither its server nor its folder."""
    command = [sys.executable, "-m", "benchmarks", "--only", "library_pairs"]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # a disk, as the bench wants one
        environment = {**os.environ, "TMPDIR": folder, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        ) as bench:
            assert bench.stdout is not None
            assert "cores of" in bench.stdout.readline()  # its server runs
            assert list(Path(folder).iterdir())
            bench.terminate()
            assert bench.wait(120) == 128 + signal.SIGTERM
        assert list(Path(folder).iterdir()) == []


@pytest.mark.parametrize(
    ("figure", "value", "baseline", "met"),
    [
        (Figure("rate", "1/s", "", least=100), 100, None, True),
        (Figure("rate", "1/s", "", least=100), 99, None, False),
        (Figure("time", "ms", "", most=15), 15, None, True),
        (Figure("time", "ms", "", most=15), 16, None, False),
        (Figure("rate", "1/s", "", "other", least=100, least_ratio=8), 800, 100, True),
        (Figure("rate", "1/s", "", "other", least=100, least_ratio=8), 800, 101, False),
        (Figure("rate", "1/s", "", "other"), 1, 100, None),
    ],
)
def test_a_target_is_met_by_its_worst_condition(
    figure: Figure, value: float, baseline: float | None, met: bool | None
) -> None:
    assert Result(figure, value, baseline, [value]).met is met


def test_every_baseline_is_a_figure() -> None:
    for figure in BY_NAME.values():
        assert {figure.baseline, figure.same_as} - {None} <= BY_NAME.keys()
