"""A shared server that dies in the middle of a run: started again, told, its test run again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.triton.installation import CHECKOUT

LIFE = """
import os, signal, time

def dies(number, frame):
    print("it is dying", flush=True)
    time.sleep(0.5)
    os.abort()

signal.signal(signal.SIGUSR1, dies)
print("it lives", flush=True)
time.sleep(600)
"""
CONFTEST = """
import os, signal, sys
from functools import cache
from pathlib import Path

import pytest

from adapters.child_servers.child import ChildServer, Program
from tests.support.third_party_deaths import NAME, Deaths, of

COMMAND = (sys.executable, str(Path(__file__).with_name("life.py")))


class Mortal(ChildServer):
    def start_it(self):
        self.start(lambda: Program(COMMAND), lambda: "it lives" in self.log.read_text(), 30)

    def restart(self):
        self.stop()
        self.start_it()

    def die(self, number):
        os.kill(self.pid, number)
        while self.is_running():
            pass


def pytest_configure(config):
    config.pluginmanager.register(Deaths(), NAME)


@cache
def shared(config):
    server = Mortal("Mortal", config.rootpath / str(os.getpid()), unavailable=OSError, errors="E")
    server.start_it()
    of(config).watch(server, lambda: server.log.read_text().endswith("dying\\n"))
    config.add_cleanup(server.kill)
    return server


@pytest.fixture
def mortal(pytestconfig):
    return shared(pytestconfig)


@pytest.fixture(scope="module")
def pid(pytestconfig):
    return shared(pytestconfig).pid
"""
DIES_ONCE = """
import signal
from pathlib import Path

def test_dies_once(mortal, pid, pytestconfig):
    assert pid == mortal.pid
    runs = Path(pytestconfig.rootpath, "runs")
    runs.open("a").write("x")
    if runs.read_text() == "x":
        mortal.die(signal.SIGABRT)
    assert mortal.is_running(), "no answer"
"""
KILLERS = """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_kills(mortal, pytestconfig, number):
    assert mortal.is_running()
    with (pytestconfig.rootpath / "runs").open("a") as runs:
        runs.write(str(number))
    mortal.die(11)
    assert mortal.is_running(), "no answer"
"""
DIES_SLOWLY = """
import os, signal
from pathlib import Path

def test_it(mortal, pytestconfig):
    with (pytestconfig.rootpath / "runs").open("a") as runs:
        runs.write("x")
    if (pytestconfig.rootpath / "runs").read_text() == "x":
        os.kill(mortal.pid, signal.SIGUSR1)
        while "dying" not in mortal.log.read_text():
            pass
        assert False, "no answer"
"""
DIES_AFTER_IT_PASSED = """
import os

def test_first(mortal):
    os.kill(mortal.pid, 9)
    while mortal.is_running():
        pass

def test_second(mortal):
    assert mortal.is_running()
"""
FAILS = """
def test_fails(mortal, pytestconfig):
    with (pytestconfig.rootpath / "runs").open("a") as runs:
        runs.write("x")
    assert not mortal.is_running()
"""


def run(folder: Path, tests: str, workers: int) -> tuple[str, str]:
    """Run tests in a process of their own; return its output, and what the tests wrote down."""
    (folder / "life.py").write_text(LIFE, encoding="utf-8")
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_it.py").write_text(tests, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", str(workers))
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT), "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    runs = folder / "runs"
    return done.stdout, runs.read_text("utf-8") if runs.exists() else ""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_test_that_failed_as_the_server_died_is_run_again_and_the_death_is_told(
    tmp_path: Path, workers: int
) -> None:
    told, runs = run(tmp_path, DIES_ONCE, workers)
    assert runs == "xx", told
    assert " 1 passed" in told
    summary = told.partition("servers that died")[2]
    assert "Mortal died in test_it.py::test_dies_once: signal 6, Aborted." in summary
    assert "Its log ended with:\n    it lives\n" in summary
    assert "test_it.py::test_dies_once is run once more. It failed in its call:" in summary
    assert "AssertionError: no answer" in summary


def test_a_failure_is_the_servers_as_well_when_it_took_its_time_to_die(tmp_path: Path) -> None:
    told, runs = run(tmp_path, DIES_SLOWLY, 0)
    assert runs == "xx", told
    assert " 1 passed" in told
    assert "Mortal died in test_it.py::test_it: signal 6, Aborted." in told


def test_tests_that_kill_the_server_themselves_fail_and_only_two_are_run_again(
    tmp_path: Path,
) -> None:
    told, runs = run(tmp_path, KILLERS, 0)
    assert runs == "001123"
    assert " 4 failed" in told
    assert told.count("Mortal died in") == len(runs)


def test_a_server_that_died_under_a_test_that_passed_is_started_for_the_next(
    tmp_path: Path,
) -> None:
    told, _ = run(tmp_path, DIES_AFTER_IT_PASSED, 0)
    assert " 2 passed" in told
    assert "Mortal died in test_it.py::test_first: signal 9, Killed." in told
    assert "is run once more" not in told


def test_a_test_that_fails_while_the_server_lives_is_not_run_again(tmp_path: Path) -> None:
    told, runs = run(tmp_path, FAILS, 0)
    assert runs == "x"
    assert " 1 failed" in told
    assert "servers that died" not in told
