"""What libraries for gRPC cost by themselves: a bare proxy on each, in turns, beside Triton itself.

    python -m benchmarks.bare_proxies [--rounds 3] [--inferences 4000] [LIBRARY ...]

docs/decisions/grpc.md says what it is for. Libraries that the project does not use have to be
installed first, into an environment of one's own: `pip install httpunk zttp`.
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
from benchmarks.bare_proxy import LIBRARIES
from benchmarks.gateway import AT_ONCE, driven
from benchmarks.gateway_load import MODEL

Measured = tuple[float, float]
"""Inferences a second, and microseconds of CPU for each, 0 where that is not counted."""


def main(words: list[str]) -> None:
    """Measure, and print a line for each library: the medians of all rounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bare_proxies")
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", help=", ".join(LIBRARIES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inferences", type=int, default=4000)
    given = parser.parse_args(words)
    libraries = given.libraries or list(LIBRARIES)
    _show(_measured(libraries, given.rounds, given.inferences))


def _measured(libraries: list[str], rounds: int, inferences: int) -> dict[str, list[Measured]]:
    """Measure everything in turns, so that a slow minute hits all alike."""
    found: dict[str, list[Measured]] = {name: [] for name in ("Triton", *libraries)}
    with (
        tempfile.TemporaryDirectory(prefix="tollbook-bench-proxies-") as folder,
        TritonServer(Path(folder), models=(MODEL,)) as triton,
    ):
        for _ in range(rounds):
            direct = driven("grpc", triton.grpc_address, "none", inferences, AT_ONCE)
            found["Triton"].append((direct["rate"], 0))
            for name in libraries:
                found[name].append(_through(name, triton.grpc_address, inferences))
    return found


def _through(library: str, triton: str, inferences: int) -> Measured:
    """Measure a proxy, once it is warm."""
    command = [sys.executable, "-m", "benchmarks.bare_proxy", library, triton]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if not address:
                raise SystemExit(f"the proxy on {library} did not begin: is it installed?")
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
    print("| library | inferences/s | of Triton itself | CPU of one inference | rounds |")
    print("| -- | -- | -- | -- | -- |")
    for name, rounds in found.items():
        rate = statistics.median(rate for rate, _ in rounds)
        cpus = sorted(cpu for _, cpu in rounds)
        cpu, spread = f"{statistics.median(cpus):.0f} us", f"{cpus[0]:.0f} to {cpus[-1]:.0f} us"
        shown = [name, f"{rate:,.0f}", f"{rate / direct:.2f}x"]
        print(f"| {' | '.join([*shown, *((cpu, spread) if name != 'Triton' else ('', ''))])} |")


if __name__ == "__main__":
    main(sys.argv[1:])
