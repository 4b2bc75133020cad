"""One seed for a whole run: printed in the header, and enough to repeat every random choice."""

import atexit
import gc
import os
import secrets
import shutil
from pathlib import Path

import hypothesis
import pytest

from tests.support import longest, third_party_deaths
from tests.support.missing import missing_servers
from tests.support.room import take_room

SEED = int(os.environ.setdefault("TOLLBOOK_SEED", str(secrets.randbelow(2**32))))
"""Every worker process of one run inherits it."""

# Else gRPC's own handlers run in each process that a test forks while it has connections open,
# and crash some before they become another program.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

# No test asks a public server. Else each new HTTP client reads every authority that the machine
# knows; an empty name is no file, and a folder is read when it is needed.
os.environ["SSL_CERT_FILE"], os.environ["SSL_CERT_DIR"] = "", os.devnull

# What is collected stays to the end: looking for garbage in it is a fifth of the time it takes.
gc.disable()

hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
# A shared machine is slow at times, and its example database does not outlive the run.
hypothesis.settings.register_profile(
    "ci", deadline=None, print_blob=True, database=None, derandomize=False
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first; a run of everything that is not in full takes some of them.

    Last of all: who chose tests by their names has not asked for everything.
    """
    longest.order(config, items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Look for garbage again once the tests run, but not in what was collected."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give Hypothesis the seed of the run, before its own plug-in reads the option."""
    config.pluginmanager.register(third_party_deaths.Deaths(), third_party_deaths.NAME)
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(SEED)
    made = None if config.option.basetemp else take_room()
    if made is not None:
        config.option.basetemp = str(made / "pytest")
        # Among the first to be added, and so among the last to be done.
        config.add_cleanup(lambda: _leave_room(config, made))


def _leave_room(config: pytest.Config, made: Path) -> None:
    """Remove what this run wrote; after a failure the next run does it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not reporter or not {"failed", "error"} & reporter.stats.keys():
        shutil.rmtree(made, ignore_errors=True)


def pytest_report_header() -> list[str]:
    """Say how to repeat this run, and what it has to do without."""
    return [f"seed: repeat this run with TOLLBOOK_SEED={SEED}", *missing_servers(), *longest.said()]


@atexit.register
def _end_in_silence() -> None:
    """Keep DuckDB's list of what it did not free, at the interpreter's end, off the summary.

    Its binding prints some hundred lines there once an interpreter with pytest in it has used it;
    `tollbook export` prints none.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@pytest.fixture(scope="session")
def seed() -> int:
    """Seed a test's own random numbers with the seed of the run."""
    return SEED
