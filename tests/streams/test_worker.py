"""The worker: it tries again, in the same place, and ends rather than go on past a record."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from tollbook.errors import TollbookError, Unavailable, Unknown

from streams import watching, worker
from streams.settlement import OutOfStepError, Record
from streams.watching import Seen, Watch

RECORDS = [Record(0, 0, None, b"[]")]


class Settlement:
    """Fails as it is told, one failure after another, and then settles."""

    def __init__(self, *failures: Exception) -> None:
        """Fail so."""
        self._failures = list(failures)
        self.done: list[str] = []
        self.transactions = 0

    def apply(self, records: Sequence[Record]) -> None:
        """Settle, or fail."""
        assert records == RECORDS, "the same records every time"
        if self._failures:
            self.done.append("failed")
            raise self._failures.pop(0)
        self.done.append("settled")

    def resume(self) -> None:
        """Ask where the ledger is, which it does not say at first."""
        self.done.append("resumed")
        if len(self.done) == 2:
            raise Unavailable("not yet")


class GaveUpError(Exception):
    """What ends the process, in tests."""


@pytest.fixture(autouse=True)
def _ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up() -> None:
        raise GaveUpError

    monkeypatch.setattr(worker, "give_up", give_up)
    monkeypatch.setattr(worker, "PAUSES", (0.0, 0.0, 0.0))


def settled(settlement: Settlement) -> list[str]:
    """Have records settled, and return what was done for it."""
    asyncio.run(worker.steadily(settlement, RECORDS))  # type: ignore[arg-type]
    return settlement.done


@pytest.mark.parametrize(
    "failure", [Unavailable("away"), Unknown("lost"), OutOfStepError("moved"), TollbookError("no")]
)
def test_what_fails_is_tried_again_from_where_the_ledger_is(failure: Exception) -> None:
    done = settled(Settlement(failure, failure))
    assert done == ["failed", "resumed", "failed", "resumed", "settled"]


@pytest.mark.parametrize("failures", [[Unavailable("away")] * 4, [ValueError("a bug")]])
def test_what_stays_impossible_ends_the_process_before_the_next_record(
    failures: list[Exception],
) -> None:
    settlement = Settlement(*failures)
    with pytest.raises(GaveUpError):
        settled(settlement)
    assert "settled" not in settlement.done


LOOKS: list[tuple[str, list[tuple[int, int, float]], list[int]]] = [
    ("nothing to do", [(5, 5, 0.0), (5, 5, 100.0)], []),
    ("it gets on", [(0, 9, 0.0), (1, 9, 50.0), (2, 9, 100.0)], []),
    ("it has just begun", [(5, 5, 0.0), (5, 5, 95.0), (5, 9, 100.0), (5, 9, 150.0)], []),
    ("it is stuck", [(5, 9, 0.0), (5, 9, 50.0), (5, 9, 61.0)], [0]),
    ("it was stuck", [(5, 9, 0.0), (5, 9, 61.0), (6, 9, 62.0)], []),
]


@pytest.mark.parametrize(("about", "looks", "stuck"), LOOKS, ids=[each[0] for each in LOOKS])
def test_a_worker_is_stuck_that_has_records_before_it_and_settles_none(
    about: str, looks: list[tuple[int, int, float]], stuck: list[int]
) -> None:
    watch, found = Watch(60.0), []
    for settled_to, end, now in looks:
        found = watch.stuck(Seen({0: settled_to}, {0: end}, {0}), now)
    assert found == stuck, about


def test_a_partition_that_nobody_was_given_is_noticed_as_well() -> None:
    watch = Watch(60.0)
    for now, stuck in ((0.0, []), (61.0, []), (121.0, [0])):
        assert watch.stuck(Seen({}, {0: 9}, set()), now) == stuck


def test_who_is_stuck_is_told_of_once_and_then_has_as_long_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every look here is ten seconds after the one before."""
    looks, told = 0, []

    async def look() -> Seen:
        nonlocal looks
        looks += 1
        if looks > 12:
            raise asyncio.CancelledError
        return Seen({0: 1}, {0: 9}, {0})

    clock = SimpleNamespace(monotonic=lambda: looks * 10.0)
    monkeypatch.setattr(watching, "time", clock)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.0)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watching.watch(look, lambda stuck: told.append((looks, *stuck)), 30.0))
    assert told == [(5, 0), (10, 0)]
