"""Noting: what ran for nothing in part of a slice is written down, and nothing else is."""

import time
from pathlib import Path
from typing import Any

import pytest

from adapters import sample_log
from domain.free_inferences import Free
from entrypoints.gateway.noting import Noting

FREE = {
    "release": "the server failed it: boom",
    "customer": "ada",
    "slice": "slice_1",
    "model": "text",
    "began": 5,
}


class Teller:
    """Takes outcomes, and says that one waits."""

    told, stuck, backlog = 3, 2, 1

    def __init__(self) -> None:
        """Nothing was told yet."""
        self.taken: list[tuple[str, dict[str, Any]]] = []

    def waits_seconds(self) -> float:
        """Say so."""
        return 0.5

    def tell(self, id: str, outcome: dict[str, Any]) -> None:
        """Take it."""
        self.taken.append((id, outcome))

    async def run(self) -> None:
        """Do nothing."""

    async def drain(self, seconds: float) -> None:
        """Do nothing."""


def noted(folder: Path, outcome: dict[str, Any]) -> list[Free]:
    """Tell one outcome, which always reaches the teller behind, and return the notes."""
    teller = Teller()
    noting = Noting(teller, folder)
    noting.tell("inf_1", outcome)
    assert teller.taken == [("inf_1", outcome)]
    assert (noting.told, noting.stuck, noting.backlog, noting.waits_seconds()) == (3, 2, 1, 0.5)
    now = time.time_ns() // 1000
    return sample_log.notes(folder, now, now)


def test_what_ran_for_nothing_in_part_of_a_slice_is_noted(tmp_path: Path) -> None:
    (note,) = noted(tmp_path, FREE)
    assert note == Free("inf_1", "ada", "text", "the server failed it: boom", 5, note.ended)
    assert note.began < note.ended


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param({"release": "the server failed it", "customer": "ada"}, id="had a hold"),
        pytest.param({**FREE, "release": "its server cannot be reached"}, id="never sent"),
        pytest.param({"event": {}, "customer": "ada"}, id="is charged"),
        pytest.param({"release": "late", "customer": "ada", "slice": "s"}, id="never began"),
    ],
)
def test_what_the_ledger_is_told_or_nobody_ran_is_not_noted(
    outcome: dict[str, Any], tmp_path: Path
) -> None:
    assert noted(tmp_path, outcome) == []


def test_what_cannot_be_noted_is_told_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "no-folder"
    folder.touch()
    teller = Teller()
    Noting(teller, folder).tell("inf_1", FREE)
    assert teller.taken == [("inf_1", FREE)]
    assert "inf_1 ran for nothing, and is not noted" in caplog.text
