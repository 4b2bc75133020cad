"""Licences that everybody wants at once: a limit admits what is left, whatever breaks meanwhile."""

import threading
from collections import Counter

import pytest

from tests.faults.invariants import assert_sound
from tests.faults.licensed_load import (
    EACH,
    Told,
    hold,
    issue,
    lease,
    started,
    tell,
    told_by,
    use_up,
    used,
    validate,
)
from tests.faults.load import described
from tests.faults.test_lost_acknowledgements import cut_next, proxied
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger, settle

THREADS, PROCESSES = 32, 4
LEFT = 200
"""What the limits of these tests leave, of the requests of so many threads or processes."""

TWO_LIMITS = [
    {"id": "all", "unit": "requests", "limit": LEFT, "per": "total"},
    {"id": "pages", "unit": "pages", "limit": 10**6, "per": "day"},
]


def assert_exactly_what_was_left(database: TestDatabase, told: Told) -> None:
    """Check the answers, the events and the count: so many were admitted, and no other."""
    codes = Counter(code for _, _, code, _ in told)
    assert codes == {"done": LEFT, "license_limit_reached": len(told) - LEFT}
    assert len({position for *_, position in told}) == len(told)
    admitted = database.query(
        "SELECT (data::jsonb -> 'decision' -> 'remaining' -> 0 -> 1)::int FROM events "
        "WHERE name IN ('license_validated', 'reservation_held') ORDER BY position"
    )
    assert [left for (left,) in admitted] == [*range(LEFT - 1, -1, -1)]
    stored = database.query(
        "SELECT kind, id, position FROM command_ids WHERE kind IN ('reserve', 'validate_license')"
    )
    assert sorted(stored) == sorted((kind, name, position) for kind, name, _, position in told)
    assert used(database) == LEFT
    assert_sound(database.super_url)


def test_threads_at_the_last_unit_of_a_limit_have_exactly_what_is_left(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger, amount="1000")
        issue(ledger, limits=TWO_LIMITS)
        told = use_up(ledger, "t", THREADS, EACH)
    assert_exactly_what_was_left(embedded_database, told)


def test_processes_at_the_last_unit_of_a_limit_have_exactly_what_is_left(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger, amount="1000")
        issue(ledger, limits=TWO_LIMITS)
    processes = [started(embedded_database, f"p{number}") for number in range(PROCESSES)]
    for process in processes:
        tell(process, "go")
    told = told_by(processes)
    assert len(told) == PROCESSES * 8 * EACH
    assert_exactly_what_was_left(embedded_database, told)


def test_units_that_are_given_back_are_had_again_and_never_twice(
    embedded_database: TestDatabase,
) -> None:
    """Threads hold and settle under a limit for three: at no time are there more than three."""
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger, amount="1000")
        issue(ledger, limits=[{"id": "few", "unit": "input_tokens", "limit": 3000, "per": "total"}])
        done: list[str] = []

        def work(number: int) -> None:
            for turn in range(12):
                name = f"g-{number}-{turn}"
                if hold(ledger, name).done:  # a thousand tokens, of which none is used
                    settle(ledger, name, usage={"output_tokens": 500}).result()
                    done.append(name)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
    assert len(done) > 3
    taken = 0
    for name, _ in embedded_database.query(
        "SELECT name, position FROM events "
        "WHERE name IN ('reservation_held', 'reservation_settled') ORDER BY position"
    ):
        taken += 1 if name == "reservation_held" else -1
        assert 0 <= taken <= 3
    assert used(embedded_database) == 0
    assert_sound(embedded_database.super_url)


# --- between the decision and the answer ----------------------------------------------------------


def test_a_validation_whose_writer_was_killed_is_answered_the_same_and_counted_once(
    embedded_database: TestDatabase,
) -> None:
    """The writer is killed with answers on their way; every id is asked again afterwards."""
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger, amount="1000")
        issue(ledger, limits=[{**TWO_LIMITS[0], "limit": 10**6}])  # never used up: each id counts
    process = started(embedded_database, "killed")
    tell(process, "go on")
    while used(embedded_database) < 20:
        assert process.poll() is None
    process.kill()
    process.communicate(timeout=60)
    stored = embedded_database.query(
        "SELECT id, position FROM command_ids WHERE kind IN ('reserve', 'validate_license')"
    )
    before = {str(name): position for name, position in stored}
    assert used(embedded_database) == len(before)
    with open_ledger(embedded_database) as ledger:
        for name, position in sorted(before.items()):
            use = hold if int(name.rpartition("-")[2]) % 2 else validate
            first = use(ledger, name)
            assert first.repeated
            assert first.recorded is not None
            assert first.recorded.position == position
            assert described(use(ledger, name)) == described(first)
    assert used(embedded_database) == len(before)
    assert_sound(embedded_database.super_url)


@pytest.mark.parametrize("cut", ["before", "half", "during", "after"])
def test_a_lost_acknowledgement_neither_loses_nor_doubles_a_count(
    embedded_database: TestDatabase, cut: str
) -> None:
    with proxied(embedded_database) as (proxy, ledger):
        a_customer(ledger)
        issue(ledger, limits=TWO_LIMITS, seats=1)
        for use in (validate, hold, lease):
            cut_next(proxy, cut)
            answer = use(ledger, f"lost-{use.__name__}")
            assert answer.code == "done"
            assert described(use(ledger, f"lost-{use.__name__}")) == described(answer)
        assert proxy.cuts == 3
        assert lease(ledger, "another").code == "license_seats_taken"
    assert used(embedded_database) == 2
    assert_sound(embedded_database.super_url)
