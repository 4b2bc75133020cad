"""A crew whose members do not begin: what is told, who follows, and who is waited for.

The members here are small programs, as in test_crew.py.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tollbook.errors import EXIT_UNAVAILABLE

from tests.gateway.test_crew import SECONDS, began, gone
from tests.support.triton import wait_until

CREW = """
import json, sys
from entrypoints.gateway import crew
crew._PAUSE_SECONDS = 0.05
folder, member, stop_seconds = sys.argv[1:]
def command(port):
    return [sys.executable, "-c", member, folder, str(port)]
orders = crew.Orders(command, float(stop_seconds))
sys.exit(crew.run(orders, [0, 7002], lambda found: print(json.dumps(found), flush=True)))
"""
BEGIN = """
import json, os, signal, sys, time
from pathlib import Path
folder, port = Path(sys.argv[1]), int(sys.argv[2]) or 7001
def began():
    (folder / f"{os.getpid()}.began").write_text(str(port))
def say():
    print(json.dumps({"grpc": "g", "http": "h", "monitor": f"http://m:{port}"}), flush=True)
"""
BEGINS_LATE = f"""{BEGIN}
signal.signal(signal.SIGTERM, signal.SIG_IGN)
began()
sys.stdin.buffer.read()
say()
time.sleep(1.0)  # in which another could be started
"""
HANGS = f"""{BEGIN}
began()
while True:
    time.sleep(60)
"""
SECOND_HANGS = f"""{BEGIN}
if port == 7001:
    say()
began()
if port == 7001:
    sys.stdin.buffer.read()
    sys.exit()
while True:
    time.sleep(60)
"""
DOES_NOT_STOP = f"""{BEGIN}
say()
began()
while True:
    time.sleep(60)
"""
IS_REFUSED = f"""{BEGIN}
began()
print(json.dumps({{"code": "unavailable", "port": port}}), flush=True)
sys.exit(5)
"""
IS_REFUSED_ONCE = f"""{BEGIN}
began()
times = sorted(path.read_text() for path in folder.glob("*.began")).count("7001")
if port == 7001 and times == 2:
    print(json.dumps({{"code": "unavailable"}}), flush=True)
    sys.exit(5)
say()
sys.stdin.buffer.read()
"""
IS_KILLED = f"""{BEGIN}
print('{{"grpc', end="", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def crew(
    folder: Path,
    member: str,
    story: Callable[["subprocess.Popen[str]"], None],
    stop_seconds: float = 1e6,
) -> int:
    """Run a crew, have a story told, and return the exit status; none of its members is left."""
    command = [sys.executable, "-c", CREW, str(folder), member, str(stop_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            story(process)
            return process.wait(SECONDS)
        finally:
            process.kill()
            wait_until(lambda: began(folder).keys() == gone(folder))


def stop_when_begun(folder: Path, count: int) -> Callable[["subprocess.Popen[str]"], None]:
    def story(process: "subprocess.Popen[str]") -> None:
        wait_until(lambda: len(began(folder)) == count)
        process.terminate()

    return story


def test_no_member_is_started_after_the_crew_was_told_to_stop(tmp_path: Path) -> None:
    assert crew(tmp_path, BEGINS_LATE, stop_when_begun(tmp_path, 1)) == 0
    assert list(began(tmp_path).values()) == ["7001"]


@pytest.mark.parametrize(("member", "count"), [(HANGS, 1), (SECOND_HANGS, 2)])
def test_who_has_not_begun_to_serve_is_not_waited_for(
    tmp_path: Path, member: str, count: int
) -> None:
    assert crew(tmp_path, member, stop_when_begun(tmp_path, count)) == 0


def test_a_member_that_does_not_stop_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    def story(process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        assert process.stdout.readline()
        stop_when_begun(tmp_path, 2)(process)

    assert crew(tmp_path, DOES_NOT_STOP, story, stop_seconds=0.5) == 0


def test_a_member_that_is_killed_before_it_begins_is_no_status_of_ours(tmp_path: Path) -> None:
    def story(process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        assert process.stdout.read() == ""

    assert crew(tmp_path, IS_KILLED, story) == EXIT_UNAVAILABLE


def test_what_is_wrong_is_told_where_the_member_told_it(tmp_path: Path) -> None:
    def story(process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        assert process.stdout.read() == '{"code": "unavailable", "port": 7001}\n'

    assert crew(tmp_path, IS_REFUSED, story) == 5
    assert len(began(tmp_path)) == 1


def test_a_successor_that_cannot_begin_is_followed_by_another(tmp_path: Path) -> None:
    def story(process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        assert process.stdout.readline()
        wait_until(lambda: len(began(tmp_path)) == 2)
        (first,) = [pid for pid, port in began(tmp_path).items() if port == "7001"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(began(tmp_path)) == 4)
        assert process.poll() is None
        process.terminate()

    assert crew(tmp_path, IS_REFUSED_ONCE, story) == 0
    assert sorted(began(tmp_path).values()) == ["7001", "7001", "7001", "7002"]
