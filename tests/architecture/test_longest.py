"""The longest files are where their list says, and only a run of everything leaves some out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import longest
from tests.support.longest import LONGEST, PART

TESTS = Path(__file__).parents[1]
EVERY = [(TESTS / name).resolve() for name in LONGEST]
SHORT = [TESTS / "short.py", TESTS / "shorter.py"]


class Run:
    """A run that notes what is left out of it."""

    def __init__(self) -> None:
        """Leave out nothing yet."""
        self.hook = SimpleNamespace(pytest_deselected=self._left_out)
        self.left: list[Path] = []

    def _left_out(self, items: list[Any]) -> None:
        self.left += [item.path for item in items]

    def ordered(self, paths: list[Path]) -> list[Path]:
        """Return the files of a run that was asked for these, in its order."""
        items: list[Any] = [SimpleNamespace(path=path) for path in paths]
        config: Any = self
        longest.order(config, items)
        return [item.path for item in items]


def test_every_file_of_the_list_is_there_once() -> None:
    assert len(set(EVERY)) == len(EVERY)
    assert [path for path in EVERY if not path.is_file()] == []


def test_a_run_of_everything_begins_with_some_and_says_which(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(longest, "taken", lambda: list(LONGEST[3 : 3 + PART]))
    run = Run()
    assert run.ordered([*SHORT, *reversed(EVERY)]) == [*EVERY[3 : 3 + PART], *SHORT]
    assert sorted(run.left) == sorted({*EVERY} - {*EVERY[3 : 3 + PART]})
    assert longest.said()[0].endswith(", ".join(LONGEST[3 : 3 + PART]))


def test_a_run_in_full_leaves_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longest, "taken", lambda: list(LONGEST))
    run = Run()
    assert run.ordered([*SHORT, *EVERY]) == [*EVERY, *SHORT]
    assert (run.left, longest.said()) == ([], [])


def test_a_run_that_was_asked_for_some_files_does_them() -> None:
    run = Run()
    assert run.ordered([SHORT[0], *EVERY[1:]]) == [*EVERY[1:], SHORT[0]]
    assert run.left == []
