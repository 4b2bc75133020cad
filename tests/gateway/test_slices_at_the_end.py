"""A gateway that is told to stop while the ledger sets emergency slices aside for it."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from application.answers import Answer
from application.jobs import Item
from domain.commands import Reserve
from domain.events import ReservationHeld
from entrypoints.gateway import slices
from entrypoints.gateway.slices import PREFIX
from entrypoints.http.submitting import Submitter
from tests.gateway.outages import ESTIMATE, config, is_slice, staged
from tests.gateway.rig import Licensee, Rig


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have the ledger's answers about slices on their way for a second, from when this is set."""
    held, submit = threading.Event(), Submitter.submit

    async def slowly(
        self: Submitter, items: Sequence[Item], *, atomic: bool = False
    ) -> list[Answer]:
        answers = await submit(self, items, atomic=atomic)
        command = items[0].command
        if isinstance(command, Reserve) and command.id.startswith(f"{PREFIX}_"):
            held.set()
            await asyncio.sleep(1)
        return answers

    monkeypatch.setattr(Submitter, "submit", slowly)
    return held


def slices_of(who: Licensee) -> int:
    """Return how many slices were ever set aside for a licence."""
    found = (each.event for each in who.events())
    return sum(isinstance(each, ReservationHeld) and is_slice(each.reservation) for each in found)


def test_what_the_ledger_is_just_setting_aside_goes_back_as_well(
    rig: Rig, tmp_path: Path, held: threading.Event
) -> None:
    who = rig.licensee()
    with staged(rig, tmp_path, config(4 * ESTIMATE, seconds=600)) as stage:
        stage.finish(stage.begin(who))
        assert held.wait(30)
    assert rig.tollbook.balance(who.customer).held == 0


def test_no_slice_is_set_aside_any_more_once_the_gateway_closes(
    rig: Rig, tmp_path: Path, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "AT_ONCE", 2)
    everybody = [rig.licensee() for _ in range(6)]
    with staged(rig, tmp_path, config(4 * ESTIMATE, seconds=600)) as stage:
        for who in everybody:
            stage.finish(stage.begin(who))
        assert held.wait(30)
    assert sum(map(slices_of, everybody)) <= 2 * 2  # and not 6: no batch follows
    assert [rig.tollbook.balance(who.customer).held for who in everybody] == [0] * 6
