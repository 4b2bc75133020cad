"""Reconciliation where allowances paid: what failed in part of one is explained all the same."""

import time
from pathlib import Path

import pytest

from adapters import sample_log
from adapters.redis.server import RedisServer
from entrypoints.gateway.sampling import counters_of
from tests.gateway.counting_server import counted, line
from tests.support.redis import redis as redis  # noqa: PLC0414 - a fixture, by its name

SECONDS = 100


@pytest.mark.timeout(200)
def test_a_failure_that_an_allowance_had_paid_for_has_a_cause(
    pytestconfig: pytest.Config, tmp_path: Path, redis: RedisServer
) -> None:
    with counted(pytestconfig, tmp_path, ("failing",)) as stage:
        stage.gateway.stop()
        stage.gateway.options("--redis", redis.url)
        stage.gateway.start()
        folder = counters_of(stage.gateway.home)
        began, end = time.time_ns() // 1000, time.monotonic() + SECONDS
        failed = 0
        while not (free := sample_log.notes(folder, began, began)):
            assert time.monotonic() < end, "no failure was ever paid from an allowance"
            stage.ask("failing", "a b", 9)
            stage.ask("failing", "crash")
            failed += 1
        stage.gateway.stop()
        found = stage.reconcile()
        ran, charged, causes, unexplained = line(found, "failing")
        assert (ran, charged, unexplained) == (failed * 10, failed * 9, 0)
        # What failed right before the last sample may have been under way there.
        assert causes.keys() <= {"errors", "in flight"}
        assert sum(causes.values()) == failed
        assert found["explained"] is True
        assert {(each.customer, each.model) for each in free} == {(stage.who.customer, "failing")}
