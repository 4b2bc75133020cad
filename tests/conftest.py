"""One seed for a whole run: printed in the header, and enough to repeat every random choice."""

import atexit
import os
import secrets

import hypothesis
import pytest

SEED = int(os.environ.setdefault("TOLLBOOK_SEED", str(secrets.randbelow(2**32))))
"""Every worker process of one run inherits it."""

# Else gRPC's own handlers run in each process that a test forks while it has connections open,
# and crash some before they become another program.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
# A shared machine is slow at times, and its example database does not outlive the run.
hypothesis.settings.register_profile(
    "ci", deadline=None, print_blob=True, database=None, derandomize=False
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give Hypothesis the seed of the run, before its own plug-in reads the option."""
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(SEED)


def pytest_report_header() -> str:
    """Say how to repeat this run."""
    return f"seed: repeat this run with TOLLBOOK_SEED={SEED}"


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
