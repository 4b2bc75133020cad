"""The new process of `open_1m`: opens a ledger, reserves once, then touches every customer.

`python -m benchmarks.opening OWNER_URL APP_URL PREFIX`; writes `answered`, reads the customers,
one a line, and writes the most memory it ever had, in megabytes.
"""

import sys
from pathlib import Path

from application.executor import Executor
from benchmarks.bench import COMMANDS_PER_BATCH
from benchmarks.load import reserve
from benchmarks.pairs import HOT
from entrypoints.bootstrap import Database, tollbook_on


def main(owner_url: str, app_url: str, prefix: str) -> None:
    """Open the ledger as a serving process does."""
    with tollbook_on(Database(owner_url, app_url, None)) as tollbook:
        tollbook.executor.one(reserve(f"{prefix}first", HOT)).result()
        print("answered", flush=True)
        _touch(tollbook.executor, sys.stdin.read().split(), prefix)
    print(f"{_peak_megabytes():.1f}", flush=True)


def _touch(executor: Executor, customers: list[str], prefix: str) -> None:
    """Reserve for every customer, which loads every balance."""
    for start in range(0, len(customers), COMMANDS_PER_BATCH):
        batch = customers[start : start + COMMANDS_PER_BATCH]
        commands = [reserve(f"{prefix}{customer}", customer) for customer in batch]
        for answer in executor.execute(commands, timeout=120):
            answer.result()


def _peak_megabytes() -> float:
    """Return the most memory that was resident at any time.

    getrusage would also count what the process that started this one had.
    """
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("this system does not say how much memory a process has")


if __name__ == "__main__":
    main(*sys.argv[1:])
