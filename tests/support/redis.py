"""A real Redis for the tests: one for each process of a run, and others for tests that kill theirs.

Where none can be installed, a test that needs it is skipped with the reason, and fails instead
where TOLLBOOK_REQUIRE says that nothing may be missing.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest
from redis import Redis

from adapters.redis.errors import RedisUnavailable
from adapters.redis.installation import find
from adapters.redis.server import Keeps, RedisServer


def installed() -> Path:
    """Return the program of Redis, or skip the test and say why there is none."""
    try:
        return find()
    except RedisUnavailable as error:
        reason = str(error)
    assert "TOLLBOOK_REQUIRE" not in os.environ, reason
    pytest.skip(reason)


@contextmanager
def a_redis(folder: Path, *, keeps: Keeps = "nothing", password: str = "") -> Iterator[RedisServer]:
    """Run a server of the test's own."""
    server = RedisServer(folder, keeps=keeps, password=password, program=installed())
    try:
        server.start()
        yield server
    finally:
        server.kill()


@cache
def shared_redis(config: pytest.Config) -> RedisServer:
    """Return the server of this process; the first test that needs it starts it."""
    installed()
    folder = Path(tempfile.mkdtemp(prefix="tollbook-redis-"))
    running = ExitStack()
    running.callback(shutil.rmtree, folder, ignore_errors=True)
    config.add_cleanup(running.close)
    return running.enter_context(a_redis(folder))


@pytest.fixture
def redis(pytestconfig: pytest.Config) -> RedisServer:
    """Give the test this process's server, emptied; whoever kills one uses a_redis."""
    server = shared_redis(pytestconfig)
    with client_of(server) as client:
        client.flushall()
        client.script_flush()
    return server


def client_of(server: RedisServer) -> Redis:
    """Make a client of a server, which answers with texts."""
    return Redis.from_url(server.url, decode_responses=True)
