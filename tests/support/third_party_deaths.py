"""What becomes of a run when a server of somebody else dies in the middle of it.

It is started again, in its folder and on its ports, so that what stands before it finds it again;
the summary of the run tells how it ended. A test that failed as it died is run once more, with
everything set up anew; a process of the run does so twice, so that a test which kills the server
itself fails all the same.
"""

import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import pytest
from _pytest.runner import runtestprotocol

RUNS_AGAIN = 2
LOG_LINES = 30
END_SECONDS = 10.0
"""So long a server may take to end that is dying: it writes down where it was."""
NAME = "third-party-deaths"
_TOLD = "death of a server"


class Server(Protocol):
    """What is asked of a server that the tests of a process share."""

    @property
    def log(self) -> Path:
        """Where it writes its messages."""

    @property
    def exit_code(self) -> int | None:
        """How it ended by itself: a code, or minus the number of a signal."""

    def is_running(self) -> bool:
        """Tell whether its process lives."""

    def restart(self) -> None:
        """Start it again on its ports."""


class Deaths:
    """The plug-in: it watches the shared servers, and what it has to tell goes with a report."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._servers: dict[Server, Callable[[], bool]] = {}
        self._left = RUNS_AGAIN
        self._again: pytest.Item | None = None
        self._untold: list[str] = []
        self._told: list[str] = []

    def watch(self, server: Server, is_dying: Callable[[], bool]) -> None:
        """Start a server again, from now on, when it is found dead; wait for one that is dying."""
        self._servers[server] = is_dying

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run a test; once more if it failed and a server has died meanwhile."""
        self._look("was dead before", item)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        failed = [report for report in reports if report.failed]
        if failed:
            self._wait_for_an_end()
        if self._look("died in", item) and failed and self._left and self._again is not item:
            self._left -= 1
            self._again = item
            self._untold.append(f"{item.nodeid} is run once more. {_failure(failed[0])}")
            self._forget_fixtures(item)
            # By the hook, and so with a time limit of its own.
            return item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        reports[-1].user_properties += [(_TOLD, text) for text in self._untold]
        self._untold.clear()
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a report tells, which another process may have sent."""
        self._told += [str(text) for name, text in report.user_properties if name == _TOLD]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say at the end of a run what has died, where, and how."""
        if self._told:
            terminalreporter.section("servers that died")
        for text in self._told:
            terminalreporter.write_line(text)

    def _look(self, what: str, item: pytest.Item) -> bool:
        """Start again whatever is dead, and tell of it; return whether anything was."""
        dead = [server for server in self._servers if not server.is_running()]
        for server in dead:
            text = f"{type(server).__name__} {what} {item.nodeid}: {_ending(server.exit_code)}."
            words = server.log.read_text("utf-8", errors="replace").splitlines()[-LOG_LINES:]
            try:
                server.restart()
            except Exception as error:
                text += f" It did not start again: {error}"
            self._untold.append(f"{text} Its log ended with:{_indented(words)}")
        return bool(dead)

    def _wait_for_an_end(self) -> None:
        """Wait for a server that is dying: only its end tells whether a failure was its fault."""
        deadline = time.monotonic() + END_SECONDS
        for server, is_dying in self._servers.items():
            while server.is_running() and is_dying() and time.monotonic() < deadline:
                time.sleep(0.05)

    def _forget_fixtures(self, item: pytest.Item) -> None:
        """End every fixture: some were set up with the dead server, or failed without it."""
        try:
            item.session._setupstate.teardown_exact(None)
        except (Exception, pytest.fail.Exception, BaseExceptionGroup) as error:
            self._untold.append(f"As its fixtures ended: {error!r}")


def of(config: pytest.Config) -> Deaths:
    """Return the plug-in of this run."""
    found = config.pluginmanager.get_plugin(NAME)
    assert isinstance(found, Deaths)
    return found


def _ending(code: int | None) -> str:
    if code is None:
        return "nobody knows how"
    return f"signal {-code}, {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"


def _failure(report: pytest.TestReport) -> str:
    return (
        f"It failed in its {report.when}:{_indented(report.longreprtext.splitlines()[-LOG_LINES:])}"
    )


def _indented(lines: Iterable[str]) -> str:
    return "".join(f"\n    {line}" for line in lines)
