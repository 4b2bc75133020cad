"""Pipelines on a real ledger: all stages or none, exact sums, ids, other writers, the audit."""

import threading
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from tollbook.errors import Conflict, Invalid, NotFound

from application.answers import Answer
from application.tollbook import Tollbook
from domain.stages import stage_id
from tests.integration.audit_fixtures import audited, position_of, rewrite, whats
from tests.support.databases import TestDatabase
from tests.support.ledger import (
    MODEL,
    USAGE,
    a_customer,
    create_customer,
    issue_grant,
    open_ledger,
    release,
    reserve,
    settle,
    use,
)
from tests.support.pipelines import (
    HELD,
    STAGES,
    publish_pipeline,
    release_pipeline,
    reserve_pipeline,
    settle_pipeline,
)

NAMES = [stage["name"] for stage in STAGES]
THREADS = 32


def amounts(result: dict[str, Any], name: str) -> list[str]:
    """Return an amount of each stage of an answer, in their order."""
    return [stage[name]["amount"] for stage in result["stages"]]


def total(parts: list[str]) -> str:
    """Add amounts up."""
    return f"{sum(map(Decimal, parts)):.12f}"


def held(ledger: Tollbook, customer: str = "cust-1") -> str:
    """Return what a customer's holds come to."""
    return f"{Decimal(ledger.balance(customer).held) / 10**12:.12f}"


def test_a_run_holds_every_stage_in_order_and_the_sum_is_exact(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        assert publish_pipeline(ledger).result()["version"] == 1
        answer = reserve_pipeline(ledger, "run-1").result()
        assert [stage["stage"] for stage in answer["stages"]] == NAMES
        assert amounts(answer, "held") == ["0.010000000000", "0.025000000000", "0.020000000000"]
        assert answer["held"]["amount"] == HELD == total(amounts(answer, "held"))
        assert held(ledger) == HELD
        assert answer["version"] == 1
    assert audited(embedded_database).differences == ()


def test_a_settlement_charges_what_was_used_and_gives_the_rest_back(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger, amount="1")
        publish_pipeline(ledger).result()
        reserve_pipeline(ledger, "run-1").result()
        used = {"retrieve": {"input_tokens": 333}, "polish": {"input_tokens": 1}}
        answer = settle_pipeline(ledger, "run-1", **used).result()
        assert amounts(answer, "charged") == ["0.003330000000", "0.000000000000", "0.000010000000"]
        assert amounts(answer, "released") == ["0.006670000000", "0.025000000000", "0.019990000000"]
        for name in ("charged", "from_balance", "receivable", "released"):
            assert answer[name]["amount"] == total(amounts(answer, name))
        assert Decimal(answer["charged"]["amount"]) + Decimal(
            answer["released"]["amount"]
        ) == Decimal(HELD)
        assert held(ledger) == "0.000000000000"
        assert ledger.balance("cust-1").spent == 3_340_000_000
        again = settle_pipeline(ledger, "run-1", "again", **used)
        problem = again.problem()
        assert problem is not None
        assert (again.code, problem.facts["stage"]) == ("already_settled", "retrieve")
        assert problem.facts["first_outcome"]["id"] == "settle-run-1.retrieve"
        assert release_pipeline(ledger, "run-1").code == "already_settled"
    assert audited(embedded_database).differences == ()


@pytest.mark.parametrize(
    ("amount", "stage"),
    [
        ("0.009999999999", "retrieve"),
        ("0.010000000000", "write"),
        ("0.034999999999", "write"),
        ("0.035000000000", "polish"),
        ("0.054999999999", "polish"),
        ("0.055000000000", None),
    ],
)
def test_nothing_is_held_unless_the_whole_sum_is_there(
    embedded_database: TestDatabase, amount: str, stage: str | None
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger, amount=amount)
        publish_pipeline(ledger).result()
        answer = reserve_pipeline(ledger, "run-1")
        if stage is None:
            assert answer.result()["held"]["amount"] == HELD
        else:
            problem = answer.problem()
            assert problem is not None
            assert (answer.code, problem.facts["stage"]) == ("insufficient_balance", stage)
            assert held(ledger) == "0.000000000000"
            assert reserve_pipeline(ledger, "run-1").repeated, "a refusal stays one"
            issue_grant(ledger, id="more", amount="1").result()
            assert reserve_pipeline(ledger, "run-1").code == "insufficient_balance"
            assert reserve_pipeline(ledger, "run-2").code == "done"
    assert audited(embedded_database).differences == ()


def test_thirty_two_threads_never_hold_a_part_of_a_run(embedded_database: TestDatabase) -> None:
    codes: Counter[str] = Counter()
    gate = threading.Barrier(THREADS)

    def send(ledger: Tollbook, number: int) -> None:
        gate.wait(60)
        for turn in range(4):
            codes[reserve_pipeline(ledger, f"run-{number}-{turn}").code] += 1

    with open_ledger(embedded_database) as one, open_ledger(embedded_database) as other:
        a_customer(one, amount="1.154999999999")  # 20 runs and one unit too little for the next
        publish_pipeline(one).result()
        threads = [
            threading.Thread(target=send, args=((one, other)[n % 2], n)) for n in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
        assert codes == {"done": 20, "insufficient_balance": THREADS * 4 - 20}
    rows = embedded_database.query(
        "SELECT count(*) FILTER (WHERE name = 'reservation_held'), "
        "count(*) FILTER (WHERE name = 'pipeline_reserved') FROM events"
    )
    assert rows == [(60, 20)]
    assert audited(embedded_database).differences == ()


def test_a_stage_is_an_ordinary_reservation(embedded_database: TestDatabase) -> None:
    """It can be extended, settled in parts, by a usage record, released; the rest stays a whole."""
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        publish_pipeline(ledger).result()
        reserve_pipeline(ledger, "run-1").result()
        settle(ledger, "run-1.retrieve", "part", usage={"input_tokens": 1}, final=False).result()
        use(ledger, "record", reservation="run-1.write").result()
        answer = settle_pipeline(ledger, "run-1", retrieve={"input_tokens": 2}).result()
        assert [stage["stage"] for stage in answer["stages"]] == ["retrieve", "polish"]
        assert amounts(answer, "charged") == ["0.000020000000", "0.000000000000"]
        reserve_pipeline(ledger, "run-2").result()
        release(ledger, "run-2.write").result()
        given = release_pipeline(ledger, "run-2").result()
        assert given["released"]["amount"] == "0.030000000000" == total(amounts(given, "released"))
        assert held(ledger) == "0.000000000000"
        refused = release_pipeline(ledger, "run-2", "again")
        assert refused.code == "already_released"
    assert audited(embedded_database).differences == ()


def test_an_id_is_answered_as_before_and_by_another_writer_too(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as one, open_ledger(embedded_database) as other:
        a_customer(one)
        publish_pipeline(one).result()
        first = reserve_pipeline(one, "run-1")
        again = reserve_pipeline(other, "run-1")
        assert (again.result(), again.repeated) == (first.result(), True)
        with pytest.raises(Conflict) as reused:
            reserve_pipeline(other, "run-1", ttl_seconds=7).result()
        assert (reused.value.code, reused.value.facts["field"]) == ("id_reused", "ttl_seconds")
        done = settle_pipeline(other, "run-1", write=USAGE)
        assert settle_pipeline(one, "run-1", write=USAGE).result() == done.result()
        with pytest.raises(Conflict) as reused:
            settle_pipeline(one, "run-1", write={"input_tokens": 1}).result()
        assert reused.value.facts["field"] == "stages"
        publish_pipeline(other, stages=[{**STAGES[0], "name": "only"}]).result()
        assert reserve_pipeline(one, "run-2").result()["version"] == 2
        release_pipeline(one, "run-2").result()
    with open_ledger(embedded_database) as restarted:
        assert reserve_pipeline(restarted, "run-1").result() == first.result()
        assert release_pipeline(restarted, "run-2").repeated
    assert audited(embedded_database).differences == ()


def test_an_id_of_a_stage_that_another_has_refuses_the_whole(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        publish_pipeline(ledger).result()
        create_customer(ledger, "cust-2").result()
        create_customer(ledger, "run-3.write").result()
        reserve(ledger, "run-1.write").result()
        assert reserve(ledger, "run-2.polish", estimate={"input_tokens": 10**10}).code != "done"
    with open_ledger(embedded_database) as ledger:
        for name in ("run-1", "run-2", "run-3"):
            assert reserve_pipeline(ledger, name).code == "already_exists", name
        reserve_pipeline(ledger, "run-4").result()
        assert reserve_pipeline(ledger, "run-4", "cust-2").code == "already_exists"
        assert reserve(ledger, "run-4.write").repeated, "the same reservation, asked for twice"
        other = reserve(ledger, "run-4.write", ttl_seconds=5)
        assert other.code == "id_reused"
        assert held(ledger) == total([HELD, "0.025"])
        release(ledger, "run-1.write", "whole.write").result()
        assert release_pipeline(ledger, "run-4", "whole").code == "already_exists"
        release_pipeline(ledger, "run-4").result()
    assert audited(embedded_database).differences == ()


def test_a_no_of_form_is_not_recorded_and_leaves_the_id_free(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        bare = [{"name": "free", "model": MODEL}, {**STAGES[0], "licensed": True}]
        publish_pipeline(ledger, stages=bare).result()
        before = ledger.store.head().position
        wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
            ({"customer": "nobody"}, NotFound, "customer"),
            ({"pipeline": "none"}, NotFound, "pipeline"),
            ({"stages": [{"stage": "nowhere"}]}, Invalid, "stages"),
            ({}, Invalid, "stages"),
            ({"stages": [{"stage": "free", "estimate": USAGE}]}, Invalid, "stages"),
            (
                {
                    "stages": [
                        {"stage": "free", "estimate": USAGE},
                        {"stage": "retrieve", "license": "none"},
                    ]
                },
                NotFound,
                "license",
            ),
        ]
        for more, kind, field in wrong:
            answer: Answer = reserve_pipeline(ledger, "run-1", **more)
            with pytest.raises(kind) as refused:
                answer.result()
            assert refused.value.facts["field"] == field, more  # type: ignore[attr-defined]
        for send in (release_pipeline, settle_pipeline):
            with pytest.raises(NotFound):
                send(
                    ledger, "run-1", "free", **({"free": USAGE} if send is settle_pipeline else {})
                ).result()
        assert ledger.store.head().position == before
        assert held(ledger) == "0.000000000000"


def test_an_auditor_sees_what_was_rewritten_in_what_binds_the_stages(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        publish_pipeline(ledger).result()
        reserve_pipeline(ledger, "run-1").result()
        settle_pipeline(ledger, "run-1", write=USAGE).result()
        reserve_pipeline(ledger, "run-2").result()
        release_pipeline(ledger, "run-2").result()
        a_customer(ledger, "poor", "0.03")
        assert reserve_pipeline(ledger, "run-3", "poor").code == "insufficient_balance"
    rewrites = [
        ("pipeline_reserved", "0.025000000000", "0.024000000000", "pipeline_reserved.held"),
        ("pipeline_settled", "0.025000000000", "0.015000000000", "pipeline_settled.lines"),
        ("pipeline_settled", '"output_tokens":500', '"output_tokens":5', "pipeline_settled.stages"),
        ("pipeline_released", "0.020000000000", "0.030000000000", "pipeline_released.released"),
        ("command_refused", '"stage":"write"', '"stage":"polish"', "command_refused.facts"),
        ("command_refused", '"0.020000000000"', '"0.030000000000"', "command_refused.facts"),
    ]
    for name, old, new, what in rewrites:
        position = position_of(embedded_database, name)
        rewrite(embedded_database, position, old, new, with_leaf=True)
        assert (position, what) in whats(audited(embedded_database)), (name, new)
        rewrite(embedded_database, position, new, old, with_leaf=True)
    assert audited(embedded_database).differences == ()


def test_the_ids_of_a_run_and_its_stages_cannot_be_mistaken() -> None:
    assert stage_id("run.1", "write") == "run.1.write"
