"""The writer's clock jumps, drifts or stands still: the ledger's time stays the database's.

The database's own clock cannot be set without harming the machine, so the writer's is.
"""

import random
import threading
import time
from collections.abc import Iterator

import pytest
from tollbook.times import format_instant

from application.tollbook import Tollbook
from tests.faults.clocks import SECOND, MonotonicClock, ledger_by
from tests.faults.invariants import assert_sound
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, USAGE, a_customer, issue_grant, reserve, settle

HOUR = 3600 * SECOND
TOLERANCE = 250_000
"""How far a recorded time may lie off the database's clock, in microseconds."""

JUMPS = {"+1h": HOUR, "-1h": -HOUR, "+0.3s": 3 * SECOND // 10, "-0.3s": -3 * SECOND // 10}


@pytest.fixture
def clock() -> MonotonicClock:
    """Give the test a clock that it can set."""
    return MonotonicClock()


@pytest.fixture
def ledger(clock: MonotonicClock, embedded_database: TestDatabase) -> Iterator[Tollbook]:
    """Open a ledger whose writer follows that clock."""
    with ledger_by(clock, embedded_database) as opened:
        yield opened


def now_us() -> int:
    """Return this machine's time, which is also the database's, in microseconds since 1970."""
    return time.time_ns() // 1000


def assert_on_time(ledger: Tollbook, name: str) -> None:
    """Reserve, and check that the recorded time is the database's within the tolerance."""
    before = now_us()
    answer = reserve(ledger, name)
    assert answer.recorded is not None and answer.done
    assert before - TOLERANCE <= answer.recorded.recorded_at <= now_us() + TOLERANCE


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_is_noticed_before_anything_is_written(
    clock: MonotonicClock, ledger: Tollbook, embedded_database: TestDatabase, jump: str
) -> None:
    a_customer(ledger)
    for number in range(3):
        clock.shift += JUMPS[jump]
        assert_on_time(ledger, f"r-{number}")
    assert_sound(embedded_database.super_url)


@pytest.mark.parametrize("percent", [0, 50, 200, 1_000])
def test_a_drifting_clock_is_put_right_again_and_again(
    clock: MonotonicClock, ledger: Tollbook, embedded_database: TestDatabase, percent: int
) -> None:
    a_customer(ledger)
    clock.percent = percent
    for number in range(10):
        time.sleep(0.05)
        assert_on_time(ledger, f"r-{number}")
    assert_sound(embedded_database.super_url)


def test_a_clock_set_back_does_not_bring_an_expired_hold_to_life(
    clock: MonotonicClock, ledger: Tollbook
) -> None:
    a_customer(ledger, amount="0.03")
    reserve(ledger, "r-1", ttl_seconds=1).result()
    time.sleep(1.1)
    clock.shift -= HOUR
    assert reserve(ledger, "r-2").code == "done"


def test_a_clock_set_forward_does_not_end_a_hold_early(
    clock: MonotonicClock, ledger: Tollbook
) -> None:
    a_customer(ledger, amount="0.03")
    reserve(ledger, "r-1", ttl_seconds=60).result()
    clock.shift += HOUR
    assert reserve(ledger, "r-2").code == "insufficient_balance"


def test_a_clock_set_forward_does_not_make_an_expiry_invalid(
    clock: MonotonicClock, ledger: Tollbook
) -> None:
    """Nothing is appended for an invalid command, so nothing but the answer shows the time."""
    a_customer(ledger)
    clock.shift += HOUR
    soon = format_instant(now_us() + 30 * 60 * 10**6)
    assert issue_grant(ledger, id="g-2", expires_at=soon).code == "done"


@pytest.mark.parametrize("kind", ["settle", "usage"])
def test_a_clock_that_stood_still_does_not_make_usage_invalid(
    clock: MonotonicClock, ledger: Tollbook, kind: str
) -> None:
    """So does the monotonic clock of a machine that was suspended."""
    a_customer(ledger)
    reserve(ledger, "r-1").result()
    clock.shift -= HOUR
    time.sleep(0.3)
    if kind == "settle":
        latest = format_instant(now_us() + 4_900_000)  # 5 s are tolerated
        assert settle(ledger, "r-1", occurred_at=latest).code == "done"
    else:
        body = {"id": "m-1", "source": "//meter", "customer": "cust-1", "model": MODEL}
        when = format_instant(now_us())
        assert ledger.run("usage", {**body, "usage": USAGE, "occurred_at": when}).code == "done"


def test_two_writers_with_skewed_clocks_never_go_back(
    embedded_database: TestDatabase, seed: int
) -> None:
    """One is ahead and one behind; both jump at random under load."""
    chance = random.Random(seed)
    clocks = MonotonicClock(), MonotonicClock()
    stop = threading.Event()
    codes: list[str] = []

    def work(ledger: Tollbook, name: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            codes.append(reserve(ledger, f"{name}-{number}").code)

    with (
        ledger_by(clocks[0], embedded_database) as one,
        ledger_by(clocks[1], embedded_database) as other,
    ):
        a_customer(one, amount="1000")
        clocks[0].shift, clocks[1].shift = 2 * SECOND // 10, -2 * SECOND // 10
        threads = [
            threading.Thread(target=work, args=(ledger, f"{name}{n}"))
            for name, ledger in (("a", one), ("b", other))
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        for _ in range(20):
            time.sleep(0.1)
            chance.choice(clocks).shift += chance.choice([-1, 1]) * chance.randrange(HOUR)
        stop.set()
        for thread in threads:
            thread.join(60)
    assert set(codes) == {"done"}
    assert len(assert_sound(embedded_database.super_url)["cust-1"].holds) == len(codes)
