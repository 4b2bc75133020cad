"""Which processes run on this machine, told by their command lines."""

from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def processes_that_name(words: str) -> list[str]:
    """Return the command lines of running processes in which words stand.

    One that its parent has just forked shows its parent's line until it starts its own
    command; it is not counted beside its parent.
    """
    numbers = [int(each.name) for each in PROC.glob("[0-9]*")]
    lines = {number: command_line(number) for number in numbers}
    found = [number for number, line in lines.items() if words in line]
    return [lines[each] for each in found if lines[each] != lines.get(parent_of(each))]


def command_line(number: int) -> str:
    """Return what a process was started with; nothing of one that has ended."""
    with suppress(OSError):
        told = (PROC / str(number) / "cmdline").read_bytes()
        return told.replace(b"\0", b" ").decode(errors="replace")
    return ""


def parent_of(number: int) -> int:
    """Return the number of a process's parent; 0, which no process has, of one that has ended."""
    with suppress(OSError):
        told = (PROC / str(number) / "stat").read_text("utf-8", "replace")
        # A name may hold spaces and brackets; it ends at the last bracket (proc(5)).
        return int(told.rpartition(")")[2].split()[1])
    return 0
