"""Random runs through pipelines: sums are exact, and the recomputation agrees on everything."""

from collections.abc import Iterator
from typing import Any

import pytest

from application.folded import state_lines
from tests.integration.audit_workload import Rows
from tests.integration.meeting import met_by
from tests.integration.pipeline_workload import PipelineWorkload
from tests.integration.test_audit_random_ledgers import folded, recomputed, states

STEPS = 120
ROUNDS = 8


def worked(seed: int) -> tuple[PipelineWorkload, Rows]:
    """Return a workload that has run, and the rows that it wrote."""
    workload = PipelineWorkload(seed)
    return workload, workload.run(STEPS)


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_no_number_differs_and_the_states_are_equal(seed: int, round_number: int) -> None:
    _, rows = worked(seed + round_number)
    recomputation, differences = recomputed(rows)
    ledger = folded(rows)
    assert differences == [], f"seed {seed + round_number}"
    assert states(recomputation) == states(ledger)
    assert dict(recomputation.pipeline_states()) == dict(ledger.pipeline_states())
    assert dict(recomputation.stages_states()) == dict(ledger.stages_states())


def test_what_binds_the_stages_stands_in_the_state_until_the_last_is_closed(seed: int) -> None:
    for number in range(ROUNDS):
        _, rows = worked(seed + number)
        ledger = folded(rows)
        whole = {name.rpartition(".")[0] for name in ledger.reservations}
        assert set(ledger.stages) <= whole
        kinds = [line.split(b",")[0] for line in state_lines(ledger)]
        assert kinds.count(b'["stages"') == len(ledger.stages)
        assert kinds.count(b'["pipeline"') == 2


def test_the_stages_of_an_event_add_up_to_what_their_own_events_say(seed: int) -> None:
    for number in range(ROUNDS):
        workload, _ = worked(seed + number)
        of_command: dict[str, list[Any]] = {}
        for stored in workload.store.stored:
            event: Any = stored.recorded().event
            of_command.setdefault(stored.envelope.command.rpartition(".")[0], []).append(event)
            if event.NAME in ("pipeline_settled", "pipeline_released"):
                _check(event, of_command.pop(stored.envelope.command, []))


def _check(event: Any, ends: list[Any]) -> None:
    ends = [each for each in ends if each.NAME in ("reservation_settled", "reservation_released")]
    sums = {name: sum(getattr(each, name, 0) for each in ends) for name in ("charged", "released")}
    if event.NAME == "pipeline_released":
        assert sum(amount for _, amount in event.released) == sums["released"]
        return
    assert sum(line.charged for line in event.lines) == sums["charged"]
    assert sum(line.released for line in event.lines) == sums["released"]
    assert all(line.charged == line.from_balance + line.receivable for line in event.lines)


def test_a_refused_whole_leaves_nothing_of_its_stages(seed: int) -> None:
    for number in range(ROUNDS):
        workload, _ = worked(seed + number)
        bound, refused = set(), set()
        for stored in workload.store.stored:
            event: Any = stored.recorded().event
            if event.NAME == "pipeline_reserved":
                bound |= {f"{event.reserved}.{stage}" for stage, _ in event.held}
            if getattr(event, "kind", "") == "reserve_pipeline" and event.code != "already_exists":
                refused.add((event.customer, stored.envelope.command))
        whose: dict[str, str] = {}
        for stored in workload.store.stored:
            event = stored.recorded().event
            if event.NAME == "reservation_held":
                whose[event.reservation] = event.customer
        held = whose.keys()
        plain = {each.id for each in workload.answers if each.id in held}
        assert held - plain <= bound
        done = {(whose[name], name.rpartition(".")[0]) for name in held - plain}
        assert done.isdisjoint(refused), "an id refused to one customer is free for another"
        assert bound <= held


REACHED = {
    *("pipeline_published", "pipeline_reserved", "pipeline_settled", "pipeline_released"),
    *("reserve_pipeline: insufficient_balance", "reserve_pipeline: unknown_model"),
    *("reserve_pipeline: license_limit_reached", "reserve_pipeline: already_exists"),
    *("settle_pipeline: already_settled", "settle_pipeline: already_released"),
    *("settle_pipeline: unknown_unit", "settle_pipeline: occurred_at_out_of_range"),
    *("release_pipeline: already_settled", "release_pipeline: already_released"),
}


def told_by(workload: PipelineWorkload) -> Iterator[str]:
    """Yield what was recorded of each command: its event, or why it was refused."""
    for answer in workload.answers:
        if answer.recorded is not None:
            event: Any = answer.recorded.event
            yield event.NAME if answer.done else f"{event.kind}: {answer.code}"


def test_the_workload_reaches_every_event_and_refusal(seed: int) -> None:
    met_by(lambda one: told_by(worked(one)[0]), seed, REACHED)
