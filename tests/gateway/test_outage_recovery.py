"""What a killed gateway drew from a slice: told on the slice, or not at all where nothing ran."""

from typing import Any

import pytest

from adapters.intent_log import Open
from entrypoints.gateway.recovery import Traced, decided
from entrypoints.gateway.settling import command_of
from tests.gateway.rig import configured

INTENT = {
    "intent": "inf_1",
    "at": 1_800_000_000_000_000,
    "customer": "ada",
    "known": {},
    "license": "lic",
    "meter": "textgen",
    "model": "textgen",
    "pool": "shared",
    "request_hash": "0a" * 32,
}
ON_SLICE = {**INTENT, "slice": "slice_1"}


@pytest.mark.parametrize(
    ("intent", "reservation", "final"), [(INTENT, "inf_1", None), (ON_SLICE, "slice_1", False)]
)
@pytest.mark.parametrize("ran", [True, None])
def test_what_is_not_known_is_parked_on_what_paid_for_it(
    intent: dict[str, Any], reservation: str, final: bool | None, ran: bool | None
) -> None:
    outcome = decided(Open(intent, None), configured(), Traced(ran))
    command: Any = command_of("inf_1", outcome)
    assert command.KIND == "park_usage"
    assert (command.id, command.reservation, command.final) == ("inf_1", reservation, final)


def test_what_never_ran_gives_back_its_own_hold_and_never_that_of_a_slice() -> None:
    alone = decided(Open(INTENT, None), configured(), Traced(False))
    assert alone.keys() == {"release", "customer"}
    assert command_of("inf_1", alone).KIND == "release"
    drawn = decided(Open(ON_SLICE, None), configured(), Traced(False))
    assert drawn == {**alone, "slice": "slice_1"}
