"""What the tests see of other processes: a child that has just been forked is not a second one."""

import subprocess
import sys

from tests.support.processes import command_line, parent_of, processes_that_name

FORKS = "import os, sys; child = os.fork(); child and print(child, flush=True); sys.stdin.read()"


def test_a_child_with_its_parents_line_is_counted_with_its_parent() -> None:
    word = "seen-once-by-this-test"
    with subprocess.Popen(
        [sys.executable, "-c", FORKS, word],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent_of(child) == parent.pid
        assert command_line(child) == command_line(parent.pid)
        assert processes_that_name(word) == [command_line(parent.pid)]
        parent.communicate("")


def test_two_with_one_line_are_two_where_neither_is_the_others_parent() -> None:
    word = "seen-twice-by-this-test"
    command = [sys.executable, "-c", "input()", word]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE) as one,
        subprocess.Popen(command, stdin=subprocess.PIPE) as other,
    ):
        assert len(processes_that_name(word)) == 2
        one.communicate(b"\n")
        other.communicate(b"\n")


def test_of_a_process_that_has_ended_nothing_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert (command_line(ended.pid), parent_of(ended.pid)) == ("", 0)
