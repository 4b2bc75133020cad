"""The fraud rule in the settling transaction: two events at once, exact, and audited."""

import pytest
from tollbook.recompute import recompute

from tests.integration.audit_fixtures import audited, rewrite
from tests.integration.guarded_ledger import (
    HOUR,
    MINUTE,
    MODEL,
    NOON,
    SECOND,
    Command,
    guarded,
)
from tests.support.databases import TestDatabase

BURST = NOON + HOUR + 5 * MINUTE
"""The first instant at which a customer who began at noon can be judged."""


def test_a_burst_blocks_in_the_transaction_that_charges_it(embedded_database: TestDatabase) -> None:
    with guarded(embedded_database) as acme:
        acme.use(NOON, 1).result()
        held = acme.reserve(BURST, 2000)
        settled = acme.settle(BURST, held.id, 1001)
        assert settled.result()["charged"]["amount"] == "0.001001000000", "charged in full"
        (block,) = acme.events("account_blocked")
        assert settled.recorded is not None
        assert block.position == settled.recorded.position + 1
        assert block.event.recent == 1001
        assert (block.event.total, block.event.windows) == (1, 12)
        assert (block.occurred_at, block.command) == (BURST, settled.id)
    assert audited(embedded_database).differences == ()


def test_a_blocked_account_admits_nothing_and_charges_what_happened(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        acme.use(NOON, 1).result()
        first = acme.reserve(BURST, 5, ttl_seconds=600)
        second = acme.reserve(BURST, 5, ttl_seconds=600)
        acme.use(BURST, 1001).result()
        refused = acme.reserve(BURST + 1)
        assert refused.code == "account_blocked"
        assert refused.recorded is not None, "recorded like every refusal"
        body = {"id": "e", "reservation": first.id, "ttl_seconds": 900}
        assert acme.send(BURST + 1, ("extend", body))[0].code == "account_blocked"
        acme.settle(BURST + 1, first.id, 1).result()
        release = {"id": "l", "reservation": second.id}
        acme.send(BURST + 1, ("release", release))[0].result()
        acme.one(BURST + 1, "issue_grant", amount="1", kind="paid").result()
        acme.use(BURST + 2, 5000).result()
        assert len(acme.events("account_blocked")) == 1, "not again while it is blocked"
    assert audited(embedded_database).differences == ()


def test_an_unblocked_account_is_not_blocked_by_the_same_burst(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        acme.use(NOON, 1).result()
        assert acme.one(BURST, "unblock", reason="why not").code == "not_blocked"
        acme.use(BURST, 1001).result()
        done = acme.one(BURST + 1, "unblock", id="ok", reason="the customer called")
        assert done.result()["customer"] == "acme"
        again = acme.one(BURST + 9, "unblock", id="ok", reason="the customer called")
        assert again.result() == done.result()
        acme.use(BURST + 2, 5000).result()
        acme.reserve(BURST + 5 * MINUTE).result()
        acme.use(BURST + 5 * MINUTE, 100_000).result()
        assert acme.balance().block is None, "recent usage began before the account was unblocked"
        acme.use(BURST + 5 * MINUTE + 1, 1).result()
        assert acme.balance().block is not None
    assert audited(embedded_database).differences == ()


def test_the_verdict_is_exact_where_a_bucket_is_divided(embedded_database: TestDatabase) -> None:
    """The edge five minutes before falls within a minute: its events decide, one by one."""
    with guarded(embedded_database) as acme:
        edge = BURST + 30 * SECOND
        acme.use(NOON, 1).result()
        acme.use(edge - 1, 40).result()
        acme.use(edge, 2).result()
        acme.use(edge + 1, 3).result()
        at = edge + 5 * MINUTE
        acme.use(at, 997).result()
        assert acme.balance().block is None, "three and 997 are recent"
        acme.use(at, 1).result()
        (block,) = acme.events("account_blocked")
        assert (block.event.recent, block.event.total) == (1001, 43)
    assert audited(embedded_database).differences == ()


def test_the_events_of_the_same_batch_count_where_a_bucket_is_divided(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        edge = BURST + 30 * SECOND
        at = edge + 5 * MINUTE
        acme.use(NOON, 1).result()
        acme.use(edge + 1, 3).result()
        later = [acme.usage(1, at - second * SECOND) for second in range(40)]
        answers = acme.send(
            at,
            acme.usage(900, edge),
            acme.usage(900, at),
            *later,
            acme.usage(57, at - MINUTE),
            acme.usage(1, at),
        )
        assert all(answer.done for answer in answers)
        (block,) = acme.events("account_blocked")
        assert (block.event.recent, block.event.total) == (1001, 901)
        last = answers[-1].recorded
        assert last is not None
        assert block.position == last.position + 1
    assert audited(embedded_database).differences == ()


def test_a_writer_that_just_started_judges_like_one_that_saw_it_all(
    embedded_database: TestDatabase,
) -> None:
    edge = BURST + 30 * SECOND
    with guarded(embedded_database) as acme:
        acme.use(NOON, 1).result()
        acme.use(edge, 900).result()
        acme.use(edge + 1, 1).result()
    with guarded(embedded_database) as acme:
        acme.use(edge + 5 * MINUTE, 999).result()
        assert acme.balance().block is None
        acme.use(edge + 5 * MINUTE, 1).result()
        assert acme.balance().block is not None
    assert audited(embedded_database).differences == ()


def test_a_batch_of_a_thousand_is_blocked_by_the_very_settlement_that_crosses(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        acme.use(NOON, 1).result()
        held = [f"r{number}" for number in range(1000)]
        hold = {"customer": "acme", "model": MODEL, "estimate": {"requests": 2}}
        opened = acme.send(BURST, *(("reserve", {"id": name, **hold}) for name in held))
        assert all(answer.done for answer in opened)
        settles: list[Command] = [
            ("settle", {"id": f"s-{name}", "reservation": name, "usage": {"requests": 2}})
            for name in held
        ]
        late = ("reserve", {**hold, "id": "late"})
        answers = acme.send(BURST, *settles[:500], late, *settles[500:501], late, *settles[501:])
        (block,) = acme.events("account_blocked")
        assert (block.command, block.event.recent) == ("s-r500", 1002)
        assert answers[500].done, "a thousand recent requests never block"
        assert answers[502].recorded == answers[500].recorded, "the same id, the same answer"
        assert all(answer.done for answer in answers), "what was admitted is charged in full"
        assert acme.reserve(BURST).code == "account_blocked"
    assert audited(embedded_database).differences == ()


def test_a_block_goes_with_the_group_that_brought_it_about(embedded_database: TestDatabase) -> None:
    with guarded(embedded_database) as acme:
        acme.use(NOON, 1).result()
        reserve = {"id": "r", "customer": "acme", "model": MODEL, "estimate": {"requests": 1}}
        group = [acme.usage(1001, BURST), ("reserve", reserve)]
        assert [each.code for each in acme.group(BURST, *group)] == ["aborted", "account_blocked"]
        assert acme.balance().block is None
        assert acme.events("account_blocked") == acme.events("command_refused") == []
        unblock = ("unblock", {"id": "u", "customer": "acme", "reason": "a load test"})
        answers = acme.group(BURST, group[0], unblock, group[1])
        assert [each.code for each in answers] == ["done"] * 3
        assert len(acme.events("account_blocked")) == 1
    assert audited(embedded_database).differences == ()


@pytest.mark.parametrize("field", ["recent", "total", "windows", "occurred_at"])
def test_a_block_with_other_figures_is_found(embedded_database: TestDatabase, field: str) -> None:
    with guarded(embedded_database) as acme:
        acme.use(NOON, 1).result()
        acme.use(BURST, 1001).result()
        (block,) = acme.events("account_blocked")
    old = {"recent": ":1001,", "total": ':1,"w', "windows": ":12}", "occurred_at": "05:00."}[field]
    new = {"recent": ":1002,", "total": ':2,"w', "windows": ":13}", "occurred_at": "05:01."}[field]
    rewrite(embedded_database, block.position, old, new)
    differences = audited(embedded_database).differences
    assert f"account_blocked.{field}" in {each.what for each in differences}


def test_a_block_that_is_missing_and_one_too_many_are_found(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        acme.use(NOON, 1).result()
        acme.use(BURST, 1001).result()
        rows = acme.rows()
    (blocked,) = [row for row in rows if row.name == "account_blocked"]
    assert recompute(rows).ok
    without = recompute([row for row in rows if row is not blocked])
    assert [each.what for each in without.differences] == ["order"]
    twice = blocked._replace(
        position=blocked.position + 1,
        customer_sequence=(blocked.customer_sequence or 0) + 1,
        stream_version=blocked.stream_version + 1,
    )
    assert "account_blocked.recent" in {each.what for each in recompute([*rows, twice]).differences}
