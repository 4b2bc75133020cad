"""The command line of a Triton of our own: on loopback alone, and nothing that we do not need."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from adapters.child_servers.ports import LOOPBACK
from adapters.triton.installation import Installation

EXIT_SECONDS = 3


class Ports(NamedTuple):
    """Where a server listens."""

    http: int
    grpc: int
    metrics: int


def command_line(
    installation: Installation,
    *,
    backends: Path,
    repository: Path,
    models: Sequence[str],
    ports: Ports,
    shared_memory: str,
    cache_bytes: int,
    traces: Path | None,
) -> list[str]:
    """Write the command that starts the server."""
    arguments = {
        "model-repository": repository,
        "backend-directory": backends,
        "cache-directory": installation.wheel / "caches",
        "http-address": LOOPBACK,
        "http-port": ports.http,
        "grpc-address": LOOPBACK,
        "grpc-port": ports.grpc,
        "metrics-address": LOOPBACK,
        "metrics-port": ports.metrics,
        "backend-config": f"python,shm-region-prefix-name={shared_memory}",
        "cache-config": f"local,size={cache_bytes}",
        "exit-timeout-secs": EXIT_SECONDS,
        "allow-gpu-metrics": "false",
    }
    line = [str(installation.binary), *(f"--{name}={value}" for name, value in arguments.items())]
    if models:
        line.append("--model-control-mode=explicit")
        line += [f"--load-model={name}" for name in models]
    if traces is not None:
        settings = (f"triton,file={traces / 'trace.json'}", "triton,log-frequency=1", "rate=1")
        for setting in (*settings, "level=TIMESTAMPS", "count=-1", "mode=triton"):
            line += ["--trace-config", setting]
    return line
