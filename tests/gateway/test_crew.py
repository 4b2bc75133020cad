"""Several processes as one gateway: how they are started, replaced and stopped.

The members here are small programs that say where they listen and wait for their pipe to close.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tollbook.cli import build_parser, main
from tollbook.errors import EXIT_USAGE

from entrypoints.cli.gateway import environment_of_member, options_of_member
from tests.support.triton import wait_until

SECONDS = 60

CREW = """
import json, sys
from entrypoints.gateway import crew
folder, member = sys.argv[1:]
def command(port):
    return [sys.executable, "-c", member, folder, str(port)]
orders = crew.Orders(command, 60)
sys.exit(crew.run(orders, [0, 7002], lambda found: print(json.dumps(found), flush=True)))
"""
MEMBER = """
import json, os, sys
from pathlib import Path
folder, port = Path(sys.argv[1]), int(sys.argv[2]) or 7001
print(json.dumps({"grpc": "g", "http": "h", "monitor": f"http://m:{port}"}), flush=True)
(folder / f"{os.getpid()}.began").write_text(str(port))
sys.stdin.buffer.read()
(folder / f"{os.getpid()}.stopped").touch()
"""
SECOND_FAILS = f"""
import sys
if int(sys.argv[2]):
    sys.exit(3)
{MEMBER}
"""


def began(folder: Path) -> dict[int, str]:
    """Return the ports of the members that have begun, by their process numbers."""
    found = {int(path.stem): path.read_text() for path in folder.glob("*.began")}
    return {pid: port for pid, port in found.items() if port}  # else it is just being written


def stopped(folder: Path) -> set[int]:
    return {int(path.stem) for path in folder.glob("*.stopped")}


def next_of(folder: Path, before: AbstractSet[int]) -> AbstractSet[int]:
    """Wait for another member than there were before."""
    wait_until(lambda: len(began(folder)) > len(before))
    return began(folder).keys() - before


@contextmanager
def crew(folder: Path, member: str = MEMBER) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", CREW, str(folder), member]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
    wait_until(lambda: began(folder).keys() <= stopped(folder) | gone(folder))


def gone(folder: Path) -> set[int]:
    """Return the members that were killed."""
    return {pid for pid in began(folder) if not Path(f"/proc/{pid}").exists()}


def told(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def test_a_crew_says_where_it_listens_and_stops_in_order(tmp_path: Path) -> None:
    with crew(tmp_path) as process:
        found = told(process)
        assert found["monitors"] == ["http://m:7001", "http://m:7002"]
        assert (found["grpc"], found["http"], found["monitor"]) == ("g", "h", "http://m:7001")
        wait_until(lambda: len(began(tmp_path)) == 2)
        process.terminate()
        assert process.wait(SECONDS) == 0
        assert stopped(tmp_path) == began(tmp_path).keys()


def test_a_member_that_dies_is_replaced_on_the_same_port(tmp_path: Path) -> None:
    with crew(tmp_path) as process:
        told(process)
        wait_until(lambda: len(began(tmp_path)) == 2)
        for _ in range(2):
            before = began(tmp_path)
            victim = max(before.keys() - gone(tmp_path), key=lambda pid: before[pid] == "7001")
            assert before[victim] == "7001"
            os.kill(victim, signal.SIGKILL)
            (new,) = next_of(tmp_path, before.keys())
            assert began(tmp_path)[new] == "7001"
        process.terminate()
        assert process.wait(SECONDS) == 0
        assert len(stopped(tmp_path)) == 2


def test_members_stop_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    with crew(tmp_path) as process:
        told(process)
        wait_until(lambda: len(began(tmp_path)) == 2)
        process.kill()
        wait_until(lambda: stopped(tmp_path) == began(tmp_path).keys())


def test_a_member_that_cannot_begin_ends_the_crew_with_its_status(tmp_path: Path) -> None:
    with crew(tmp_path, SECOND_FAILS) as process:
        assert process.wait(SECONDS) == 3
        assert process.stdout is not None
        assert process.stdout.read() == ""
        assert stopped(tmp_path) == began(tmp_path).keys()
        assert len(stopped(tmp_path)) == 1


ASKED = {
    "config": "gateway.toml",
    "host": "-odd",
    "grpc_port": 1,
    "http_port": 2,
    "monitor_port": 3,
    "processes": 4,
    "intents": "intents",
    "kafka": "kafka.test:1",
    "topic": "topic",
    "redis": "redis://:secret@redis.test",
    "database": "postgresql://user:secret@database.test/tollbook",
}
"""A value of each option that is not its default; `--data` excludes `--database`."""


@pytest.mark.parametrize("left_out", ["data", "database"])
def test_a_process_is_told_what_its_gateway_was_and_no_password_as_an_option(left_out: str) -> None:
    asked = {name: value for name, value in {**ASKED, "data": "data"}.items() if name != left_out}
    given = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
    args = build_parser().parse_args(["gateway", "--json", *given])
    bare = vars(build_parser().parse_args(["gateway", "--config=none.toml"]))
    same = {name for name, value in vars(args).items() if value == bare[name]}
    assert same == {"check", "func", "member", left_out}, "an option without a value here"

    ports = {"grpc-port": 5, "http-port": 6, "monitor-port": 7}
    options = options_of_member(args, ports)
    assert "secret" not in " ".join(options)
    found = vars(build_parser().parse_args(["gateway", *options]))
    own = {"grpc_port": 5, "http_port": 6, "monitor_port": 7, "processes": 1, "member": True}
    assert found == {**vars(args), **own, "redis": None, "database": None}

    inherited = {"PATH": "/bin", "TOLLBOOK_DATABASE": "inherited"}
    told = environment_of_member(args, inherited)
    database = asked.get("database", "inherited")
    redis = asked["redis"]
    assert told == {"PATH": "/bin", "TOLLBOOK_DATABASE": database, "TOLLBOOK_REDIS": redis}
    # What nothing reads is warned of once, by the command that starts the crew.
    assert environment_of_member(args, {**inherited, "TOLLBOOK_REDSI": "x"}) == told


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (("--processes", "0"), "processes is 0: must be from 1 to 64"),
        (("--processes", "65"), "processes is 65: must be from 1 to 64"),
        (
            ("--processes", "3", "--monitor-port", "65534"),
            "monitor-port is 65534: must be from 0 to 65533",
        ),
    ],
)
def test_impossible_numbers_are_refused_by_name(
    options: tuple[str, ...], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gateway", "--config", "none.toml", "--data", "none", *options]) == EXIT_USAGE
    assert field in capsys.readouterr().err
