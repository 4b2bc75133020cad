"""A gateway that is told to stop while the ledger sets an emergency slice aside for it."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from application.answers import Answer
from application.jobs import Item
from domain.commands import Reserve
from entrypoints.gateway.slices import PREFIX
from entrypoints.http.submitting import Submitter
from tests.gateway.outages import ESTIMATE, config, staged
from tests.gateway.rig import Rig


def test_what_the_ledger_is_just_setting_aside_goes_back_as_well(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, held = rig.licensee(), threading.Event()
    submit = Submitter.submit

    async def slowly(
        self: Submitter, items: Sequence[Item], *, atomic: bool = False
    ) -> list[Answer]:
        answers = await submit(self, items, atomic=atomic)
        command = items[0].command
        if isinstance(command, Reserve) and command.id.startswith(f"{PREFIX}_"):
            held.set()
            await asyncio.sleep(1)  # the ledger has it, and its answer is on its way
        return answers

    monkeypatch.setattr(Submitter, "submit", slowly)
    with staged(rig, tmp_path, config(4 * ESTIMATE, seconds=600)) as stage:
        stage.finish(stage.begin(who))
        assert held.wait(30)
    assert rig.tollbook.balance(who.customer).held == 0
