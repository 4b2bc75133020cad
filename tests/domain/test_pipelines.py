"""What a command on a whole pipeline is for its stages, and that a whole is all of them or none."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tollbook.amounts import format_pico
from tollbook.errors import Invalid, NotFound
from tollbook.times import SECOND, format_instant

from adapters.clock import TraceClock
from application.answers import Answer
from application.executor import Executor
from application.jobs import Item
from domain.commands import parse, wire_body
from domain.outcomes import Refusal
from domain.pipeline import (
    Pipeline,
    StagesHeld,
    decide_publish,
    evolve,
    releases,
    reservations,
    settlements,
    unpublished,
)
from domain.pipeline_commands import (
    PublishPipeline,
    ReleasePipeline,
    ReservePipeline,
    SettlePipeline,
)
from domain.pipeline_events import PipelinePublished
from domain.reservation import Reservation
from domain.stages import stage_id, whole_of
from tests.domain.full_license_commands import FACTS
from tests.support.memory_store import MemoryEventStore

SEARCH = [
    {"name": "find", "model": "embed", "estimate": {"gpu_seconds": "0.5"}},
    {"name": "rank", "model": "org/rank@2", "licensed": True},
    {"name": "write", "model": "embed", "estimate": {"input_tokens": 7}},
]
HELD = StagesHeld("run", "acme", "search", 1, ("find", "rank", "write"), 1)


def published(stages: list[dict[str, Any]] | None = None) -> Pipeline:
    """Return a pipeline that was published once."""
    body = {"id": "p", "pipeline": "search", "stages": SEARCH if stages is None else stages}
    command = parse("publish_pipeline", body)
    assert isinstance(command, PublishPipeline)
    decision = decide_publish(unpublished("search"), command)
    assert not isinstance(decision, Refusal)
    (event,) = decision
    assert isinstance(event, PipelinePublished)
    return evolve(unpublished("search"), event)


def reserving(*stages: dict[str, Any], **more: Any) -> ReservePipeline:
    """Return a command that reserves a run."""
    whose = {"id": "run", "customer": "acme", "pipeline": "search"}
    found = parse("reserve_pipeline", {**whose, "stages": list(stages), **more})
    assert isinstance(found, ReservePipeline)
    return found


RANK = {"stage": "rank", "estimate": {"requests": 1}, "license": "lic"}


def test_a_run_reserves_every_stage_in_the_declared_order() -> None:
    asked = {**RANK, "license_key": "0a" * 16, "facts": FACTS, "request_hash": "f9" * 32}
    write = {"stage": "write", "estimate": {"input_tokens": 9}}
    parts = reservations(published(), reserving(write, asked, ttl_seconds=9))
    bodies = {stage: {"id": part.id, **wire_body(part)} for stage, part in parts}
    common = {"customer": "acme", "ttl_seconds": 9}
    del asked["stage"]
    assert list(bodies.items()) == [
        (
            "find",
            {"id": "run.find", "model": "embed", "estimate": {"gpu_seconds": "0.5"}, **common},
        ),
        ("rank", {"id": "run.rank", "model": "org/rank@2", **asked, **common}),
        ("write", {"id": "run.write", "model": "embed", "estimate": {"input_tokens": 9}, **common}),
    ]


@pytest.mark.parametrize(
    ("stages", "rule"),
    [
        ([], "a licence for the stage rank|given for the stage rank"),
        ([{"stage": "rank", "estimate": {"requests": 1}}], "a licence for the stage rank"),
        ([{"stage": "rank", "license": "lic"}], "given for the stage rank"),
        ([RANK, {"stage": "nowhere"}], "a stage of search: find, rank, write"),
    ],
)
def test_what_a_run_leaves_out_is_named(stages: list[dict[str, Any]], rule: str) -> None:
    with pytest.raises(Invalid, match=rule):
        reservations(published(), reserving(*stages))


def test_nobody_runs_what_nobody_has_published() -> None:
    with pytest.raises(NotFound):
        reservations(unpublished("search"), reserving(RANK))


def standing(**statuses: str) -> Any:
    """Return what finds the reservations of the run's stages."""
    found = {
        stage_id("run", stage): Reservation(
            stage_id("run", stage),
            "acme",
            "embed",
            {},
            {},
            0,
            1,
            0,
            statuses.get(stage, "open"),
            {"kind": "release", "id": f"end-{stage}"},
            1,
        )
        for stage in HELD.stages
    }
    return found.get


def kinds(parts: Any) -> list[tuple[str, str, str]]:
    """Return the stage, the kind and the id of each part."""
    return [(stage, part.KIND, part.id) for stage, part in parts]


def test_a_settlement_settles_what_is_named_and_releases_what_is_open() -> None:
    body = {"id": "s", "pipeline": "search", "reserved": "run"}
    used = [{"stage": "write", "usage": {"gpu_seconds": "1.5"}, "response_hash": "0a" * 32}]
    at = {"occurred_at": "2026-01-01T00:00:00Z"}
    command = parse("settle_pipeline", {**body, "stages": used, **at})
    assert isinstance(command, SettlePipeline)
    parts = settlements(HELD, command, standing(rank="settled"))
    assert kinds(parts) == [("find", "release", "s.find"), ("write", "settle", "s.write")]
    assert wire_body(parts[1][1]) == {
        "final": True,
        "occurred_at": "2026-01-01T00:00:00.000000Z",
        "reservation": "run.write",
        "response_hash": "0a" * 32,
        "usage": {"gpu_seconds": "1.5"},
    }
    closed = standing(find="settled", rank="settled", write="released")
    assert kinds(settlements(HELD, command, closed)) == [("write", "settle", "s.write")]


def test_a_release_gives_back_what_is_open_or_says_how_the_first_stage_ended() -> None:
    body = {"id": "r", "pipeline": "search", "reserved": "run", "reason": "enough"}
    command = parse("release_pipeline", body)
    assert isinstance(command, ReleasePipeline)
    parts = releases(HELD, command, standing(find="settled"))
    assert not isinstance(parts, Refusal)
    assert kinds(parts) == [("rank", "release", "r.rank"), ("write", "release", "r.write")]
    refusal = releases(HELD, command, standing(find="settled", rank="settled", write="released"))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.facts["stage"]) == ("already_settled", "find")
    assert refusal.facts["first_outcome"]["id"] == "end-find"


IDS = st.from_regex(r"\A[A-Za-z0-9._:-]{1,95}\Z")
STAGE_NAMES = st.from_regex(r"\A[A-Za-z0-9_-]{1,32}\Z")


@given(IDS, STAGE_NAMES)
def test_the_id_of_a_stage_is_an_id_and_says_whose_it_is(whole: str, stage: str) -> None:
    name = stage_id(whole, stage)
    assert len(name) <= 128
    assert (whole_of(name), name.rpartition(".")[2]) == (whole, stage)


BOOK = {
    "id": "default",
    "currency": "USD",
    "effective_from": "1970-01-01T00:00:00Z",
    "models": [
        {"name": "a", "prices": {"requests": "0.000001", "pages": "0.5"}},
        {"name": "b", "prices": {"requests": "0.3", "pages": "0.000007"}},
    ],
}
PRICES = {
    "a": {"requests": 10**6, "pages": 5 * 10**11},
    "b": {"requests": 3 * 10**11, "pages": 7 * 10**6},
}
AT = 10**15
UNITS = st.fixed_dictionaries({"requests": st.integers(0, 9), "pages": st.integers(0, 9)})
ASKED = st.lists(st.tuples(st.sampled_from("ab"), UNITS, UNITS | st.none()), min_size=1, max_size=8)


def cost(model: str, usage: dict[str, int]) -> int:
    """Return what usage of a model costs, in 10^-12."""
    return sum(PRICES[model][unit] * quantity for unit, quantity in usage.items())


def ledger(amount: int, models: list[str]) -> Any:
    """Return what sends commands to a ledger with one customer and one pipeline."""
    executor = Executor(MemoryEventStore("trace"), TraceClock(0))

    def send(kind: str, /, **body: Any) -> Answer:
        (answer,) = executor.execute([Item(parse(kind, body), at=AT)], timeout=None)
        return answer

    stages = [{"name": f"s{number}", "model": model} for number, model in enumerate(models)]
    send("publish_prices", id="default:1970-01-01T00:00:00.000000Z", book=BOOK).result()
    send("create_customer", id="acme", name_sealed="", currency="USD").result()
    if amount:
        money = {"amount": format_pico(amount), "kind": "paid"}
        send("issue_grant", id="g", customer="acme", **money).result()
    send("publish_pipeline", id="p", pipeline="run", stages=stages).result()
    return executor, send


def pico(answer: dict[str, Any], name: str) -> int:
    """Return an amount, after checking that the stages add up to it."""
    whole = int(answer[name]["amount"].replace(".", ""))
    assert whole == sum(int(each[name]["amount"].replace(".", "")) for each in answer["stages"])
    return whole


@settings(deadline=None)
@given(ASKED, st.integers(-1, 1), st.booleans())
def test_a_whole_is_held_to_the_last_unit_or_not_at_all_and_its_lines_add_up(
    asked: list[tuple[str, dict[str, int], dict[str, int] | None]], off: int, plenty: bool
) -> None:
    models = [model for model, _, _ in asked]
    needed = sum(cost(model, estimate) for model, estimate, _ in asked)
    amount = max(0, needed + off) + (10**13 if plenty else 0)
    executor, send = ledger(amount, models)
    stages = [{"stage": f"s{n}", "estimate": each} for n, (_, each, _) in enumerate(asked)]
    answer = send("reserve_pipeline", id="r", customer="acme", pipeline="run", stages=stages)
    balance = executor._committer.world.balance("acme")
    if amount < needed:
        assert answer.code == "insufficient_balance"
        assert (balance.held, len(balance.holds)) == (0, 0)
        return
    assert pico(answer.result(), "held") == needed == balance.held
    assert len(balance.holds) == len(asked)
    used = [{"stage": f"s{n}", "usage": each} for n, (_, _, each) in enumerate(asked) if each]
    if used:
        whose = {"pipeline": "run", "reserved": "r"}
        settled = send("settle_pipeline", id="s", **whose, stages=used).result()
        charged = sum(cost(model, usage) for model, _, usage in asked if usage)
        assert pico(settled, "charged") == charged
        assert pico(settled, "from_balance") + pico(settled, "receivable") == charged
        assert pico(settled, "released") <= needed
        after = executor._committer.world.balance("acme")
        assert (after.held, after.spent + after.receivable) == (0, charged)
    executor.close()


@pytest.mark.parametrize("off", [-5 * SECOND - 1, 5 * SECOND + 1])
def test_a_run_that_cannot_have_been_then_is_refused_for_ever_in_the_same_words(off: int) -> None:
    """Also at a time at which it would be charged: whoever was told no has parked it by then."""
    executor, send = ledger(10**13, ["a", "b"])
    stages = [{"stage": f"s{number}", "estimate": {"requests": 1}} for number in (0, 1)]
    send("reserve_pipeline", id="r", customer="acme", pipeline="run", stages=stages).result()
    used = [{"stage": "s1", "usage": {"requests": 1}}]
    at = {"occurred_at": format_instant(AT + off), "stages": used}
    body = {"id": "s", "pipeline": "run", "reserved": "r", **at}
    told = []
    for now in (AT, AT + 10 * SECOND):
        item = Item(parse("settle_pipeline", body), at=now)
        (answer,) = executor.execute([item], timeout=None)
        problem = answer.problem()
        assert problem is not None
        told.append(problem.problem())
    executor.close()
    assert told[0] == told[1]
    assert told[0]["code"] == "occurred_at_out_of_range"
    assert {name: told[0][name] for name in ("earliest", "occurred_at", "stage")} == {
        "earliest": format_instant(AT - 5 * SECOND),
        "occurred_at": format_instant(AT + off),
        "stage": "s1",
    }
