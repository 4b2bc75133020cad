"""The machine and the server under test, and the proof that commits really reach the disk."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from adapters.postgres import connect

DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
MEMORY_FILESYSTEMS = {"tmpfs", "ramfs"}


@dataclass(frozen=True, slots=True)
class Machine:
    """What a figure depends on and a reader should know."""

    cores: int
    processor: str
    memory_gib: float
    python: str
    postgresql: str
    filesystem: str
    settings: dict[str, str]

    def lines(self) -> list[str]:
        """Describe the machine in two lines."""
        durable = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        memory = f"{self.memory_gib:.1f} GiB of memory"
        return [
            f"{self.cores} cores of {self.processor}, {memory}, disk {self.filesystem}",
            f"Python {self.python}, PostgreSQL {self.postgresql}: {durable}",
        ]


def inspect(url: str, folder: Path) -> Machine:
    """Describe this machine; raises SystemExit unless commits survive a loss of power."""
    settings = durable_settings(url)
    filesystem = _filesystem(folder)
    if filesystem in MEMORY_FILESYSTEMS:
        raise SystemExit(f"{filesystem} is no disk: set TMPDIR to a folder that is on one")
    connection = connect(url)
    try:
        version = connection.info.server_version
    finally:
        connection.close()
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        processor=_processor(),
        memory_gib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
        python=platform.python_version(),
        postgresql=f"{version // 10_000}.{version % 10_000}",
        filesystem=filesystem,
        settings=settings,
    )


def durable_settings(url: str) -> dict[str, str]:
    """Return the settings that make a commit durable; raises SystemExit unless all are on."""
    connection = connect(url)
    try:
        found = {
            name: str(connection.execute(f"SHOW {name}".encode()).fetchall()[0][0])
            for name in DURABLE
        }
    finally:
        connection.close()
    for name, value in found.items():
        if value != "on":
            raise SystemExit(f"{name} is {value}: the figures would mean nothing")
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    """Return the type of the file system that holds a folder: the longest mount point wins."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        _, mount, filesystem = line.split(" ")[:3]
        if folder.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, filesystem
    return kind


def resident(process: int) -> int:
    """Return the resident memory of a process, in bytes."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the process is gone")
