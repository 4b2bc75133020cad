"""Reading the long ledger: replaying it from the first event, auditing it, opening it anew."""

import subprocess
import sys
import time

from benchmarks.bench import Bench
from benchmarks.long_ledger import long_ledger
from entrypoints.cli.audit import run_audit, run_replay


def replay(bench: Bench) -> dict[str, float]:
    """Measure `tollbook audit replay`: every event read and folded, the root, the state hash."""
    database = long_ledger(bench).database
    begin = time.perf_counter()
    report = run_replay(database)
    return {"replay": report.position / (time.perf_counter() - begin)}


def verify(bench: Bench) -> dict[str, float]:
    """Measure `tollbook audit verify`; raises RuntimeError when it finds a difference."""
    database = long_ledger(bench).database
    begin = time.perf_counter()
    report = run_audit(database)
    seconds = time.perf_counter() - begin
    if not report.ok:
        raise RuntimeError(f"the audit found differences: {report.differences[:3]}")
    return {"verify": report.events / seconds}


def open_1m(bench: Bench) -> dict[str, float]:
    """Measure a new process: until its first answer, and its memory after touching everybody."""
    ledger = long_ledger(bench)
    urls = (ledger.database.owner_url, ledger.database.app_url)
    command = [sys.executable, "-m", "benchmarks.opening", *urls, f"o{bench.round}-"]
    begin = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as opening:
        assert opening.stdin is not None
        assert opening.stdout is not None
        first = opening.stdout.readline()
        seconds = time.perf_counter() - begin
        memory, _ = opening.communicate("\n".join(ledger.customers))
    if first != "answered\n" or opening.returncode != 0:
        raise RuntimeError("the opening process failed; its words are above")
    return {"open_1m": seconds, "open_1m_memory": float(memory)}
