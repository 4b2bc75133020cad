"""Pairs over HTTP: `tollbook serve` as users start it, its load in a second process, same cores."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, set_up
from benchmarks.pairs import HOT
from entrypoints.bootstrap import open_tollbook
from entrypoints.settings import Settings

CONNECTIONS = 64
BATCH = 1_000
BATCH_CONNECTIONS = 4


def http_bare(bench: Bench) -> dict[str, float]:
    """Measure the same requests against a server that does nothing with them."""
    with _started([sys.executable, "-m", "benchmarks.http_bare"]) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        found = _driven(url, "none", CONNECTIONS, bench.sizes.http_pairs, 1)
    return {"http_bare_64": found["pairs"] / found["seconds"]}


def http_pairs(bench: Bench) -> dict[str, float]:
    """Measure 64 connections that reserve and settle, and then batches of 1,000 commands."""
    pairs = bench.sizes.http_pairs
    with _serving() as (url, key):
        single = _driven(url, key, CONNECTIONS, pairs, 1)
        batched = _driven(url, key, BATCH_CONNECTIONS, pairs * 2, BATCH)
    return {
        "http_pairs_64": single["pairs"] / single["seconds"],
        "http_pairs_64_p99": single["p99_ms"],
        "http_commands_batch": batched["pairs"] / batched["seconds"],
    }


@contextmanager
def _serving() -> Iterator[tuple[str, str]]:
    """Serve a ledger with one customer; yields the URL and an admin key."""
    with tempfile.TemporaryDirectory(prefix="tollbook-bench-http-") as folder:
        data = Path(folder) / "ledger"
        with open_tollbook(Settings(data=data)) as tollbook:
            set_up(tollbook, [HOT])
        command = ["-m", "tollbook", "serve", "--data", str(data), "--port", "0", "--json"]
        with _started([sys.executable, *command]) as server:
            assert server.stdout is not None
            start = json.loads(server.stdout.readline())
            yield start["url"], start["admin_key"]
            server.terminate()
            server.wait(60)


@contextmanager
def _started(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a process and make sure that it is gone after the block."""
    environment = {**os.environ, "TOLLBOOK_LOG_LEVEL": "warning"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def _driven(url: str, key: str, connections: int, pairs: int, batch: int) -> dict[str, Any]:
    """Warm up with a tenth of the pairs, then drive them all and return what the load says."""
    client = [sys.executable, "-m", "benchmarks.http_client", url, key, str(connections)]
    found: dict[str, Any] = {}
    for prefix, count in ((f"w{batch}-", pairs // 10), (f"r{batch}-", pairs)):
        done = subprocess.run(
            [*client, str(max(count, connections)), str(batch), prefix],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=600,
        )
        found = json.loads(done.stdout)
    return found
