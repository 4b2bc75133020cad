"""What gRPC costs by itself: a bare proxy on gRPC's own library and one on our layer, in turns.

    python -m benchmarks.bare_proxies [--rounds 3] [--inferences 4000]

docs/decisions/grpc.md says what it is for.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from adapters.triton.server import TritonServer
from benchmarks.bare_proxy import LAYERS
from benchmarks.gateway import AT_ONCE, driven
from benchmarks.gateway_load import MODEL

Measured = tuple[float, float]
"""Inferences a second, and microseconds of CPU for each, 0 where that is not counted."""


def main(words: list[str]) -> None:
    """Measure, and print a line for each layer: the medians of all rounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bare_proxies")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inferences", type=int, default=4000)
    given = parser.parse_args(words)
    _show(_measured(given.rounds, given.inferences))


def _measured(rounds: int, inferences: int) -> dict[str, list[Measured]]:
    """Measure everything in turns, so that a slow minute hits all alike."""
    found: dict[str, list[Measured]] = {name: [] for name in ("Triton", *LAYERS)}
    with (
        tempfile.TemporaryDirectory(prefix="tollbook-bench-proxies-") as folder,
        TritonServer(Path(folder), models=(MODEL,)) as triton,
    ):
        for _ in range(rounds):
            direct = driven("grpc", triton.grpc_address, "none", inferences, AT_ONCE)
            found["Triton"].append((direct["rate"], 0))
            for name in LAYERS:
                found[name].append(_through(name, triton.grpc_address, inferences))
    return found


def _through(layer: str, triton: str, inferences: int) -> Measured:
    """Measure a proxy, once it is warm."""
    command = [sys.executable, "-m", "benchmarks.bare_proxy", layer, triton]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if not address:
                raise SystemExit(f"the proxy on {layer} did not begin")
            driven("grpc", address, "none", max(AT_ONCE, inferences // 4), AT_ONCE)
            process.send_signal(signal.SIGUSR1)
            time.sleep(0.1)  # a signal is taken by its loop, not at once
            rate = driven("grpc", address, "none", inferences, AT_ONCE)["rate"]
            process.terminate()
            counted = json.loads(process.stdout.readline())
        finally:
            process.kill()
    return rate, counted["cpu_us"]


def _show(found: dict[str, list[Measured]]) -> None:
    direct = statistics.median(rate for rate, _ in found["Triton"])
    print("| layer | inferences/s | of Triton itself | CPU of one inference | rounds |")
    print("| -- | -- | -- | -- | -- |")
    for name, rounds in found.items():
        rate = statistics.median(rate for rate, _ in rounds)
        cpus = sorted(cpu for _, cpu in rounds)
        cpu, spread = f"{statistics.median(cpus):.0f} us", f"{cpus[0]:.0f} to {cpus[-1]:.0f} us"
        shown = [name, f"{rate:,.0f}", f"{rate / direct:.2f}x"]
        print(f"| {' | '.join([*shown, *((cpu, spread) if name != 'Triton' else ('', ''))])} |")


if __name__ == "__main__":
    main(sys.argv[1:])
