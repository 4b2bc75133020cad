"""Two workers read one stream: the one that was replaced is fenced, and each record counts once."""

import random
import threading

from application.ports import Rider
from application.tollbook import Tollbook
from domain.commands import ChargeUsage
from tests.faults.invariants import assert_sound
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, USAGE, a_customer, open_ledger

PRICE = 25 * 10**9
OCCURRED = 1_700_000_000_000_000


def record(number: int) -> ChargeUsage:
    """Return the usage record at an offset of the stream."""
    return ChargeUsage(
        id=f"m-{number}",
        source="//meter",
        customer="cust-1",
        model=MODEL,
        usage=USAGE,
        occurred_at=OCCURRED,
    )


def settle(ledger: Tollbook, start: int, end: int) -> list[str]:
    """Settle the records from one offset up to another, moving the offset along."""
    rider = Rider("kafka", "usage", 0, start, end)
    records = [record(number) for number in range(start, end)]
    return [answer.code for answer in ledger.executor.execute(records, riders=(rider,))]


def offset(database: TestDatabase) -> int:
    """Return where the stream has been read up to."""
    rows = database.query("SELECT coalesce(max(next_offset), 0) FROM stream_offsets")
    assert isinstance(rows[0][0], int)
    return rows[0][0]


def test_a_zombie_is_fenced_and_its_records_are_settled_once(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as zombie, open_ledger(embedded_database) as successor:
        a_customer(zombie)
        assert settle(zombie, 0, 5) == ["done"] * 5
        assert settle(successor, 5, 10) == ["done"] * 5
        assert settle(zombie, 5, 12) == ["fenced"] * 7
        assert offset(embedded_database) == 10
        assert settle(successor, 10, 12) == ["done"] * 2
    assert assert_sound(embedded_database.super_url)["cust-1"].spent == 12 * PRICE


def test_a_fenced_job_does_not_harm_its_neighbours_in_the_batch(
    embedded_database: TestDatabase,
) -> None:
    """All wait for the head together, so one batch takes them all."""
    codes: dict[str, list[str]] = {}
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        settle(ledger, 0, 5)

        def work(name: str, start: int, end: int) -> None:
            codes[name] = settle(ledger, start, end)

        jobs = [("first", 5, 6), ("zombie", 0, 9), ("ahead", 40, 42)]
        threads = [threading.Thread(target=work, args=job) for job in jobs]
        with ledger.executor._turn:
            for thread in threads:
                thread.start()
            while len(ledger.executor._queue) < len(jobs):
                assert all(thread.is_alive() for thread in threads)
        for thread in threads:
            thread.join(60)
    assert codes == {"first": ["done"], "zombie": ["fenced"] * 9, "ahead": ["fenced"] * 2}
    assert offset(embedded_database) == 6
    assert assert_sound(embedded_database.super_url)["cust-1"].spent == 6 * PRICE


def test_workers_that_fight_for_a_stream_settle_each_record_once(
    embedded_database: TestDatabase, seed: int
) -> None:
    """Each believes that the stream is its own, and reads the offset again when it is fenced."""
    end = 300

    def work(ledger: Tollbook, number: int) -> None:
        chance = random.Random(f"{seed}-{number}")
        start = 0
        while start < end:
            following = min(end, start + chance.randrange(1, 20))
            codes = set(settle(ledger, start, following))
            assert codes in ({"done"}, {"fenced"})
            start = following if codes == {"done"} else offset(embedded_database)

    with open_ledger(embedded_database) as one, open_ledger(embedded_database) as other:
        a_customer(one)
        workers = [
            threading.Thread(target=work, args=(ledger, number))
            for number, ledger in enumerate((one, other, other))
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
    assert offset(embedded_database) == end
    assert assert_sound(embedded_database.super_url)["cust-1"].spent == end * PRICE
