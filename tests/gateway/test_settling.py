"""Settling: how outcomes are gathered for a transaction, how long, and in which order told."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from application.answers import Answer
from application.jobs import Item
from entrypoints.gateway import settling
from entrypoints.gateway.running import usage_event
from entrypoints.gateway.settling import Settler

HASH = "ab" * 32
SECONDS = 30.0
"""Nothing here takes nearly so long, unless it never comes."""


def outcome(id: str, part_of: str | None = "slice_1") -> dict[str, Any]:
    """Return the outcome of an inference that ran in part of a slice, or in a hold of its own."""
    data = {
        "customer": "ada",
        "model": "text",
        "usage": {"requests": 1},
        "occurred_at": "2026-03-01T12:00:00Z",
        "request_hash": HASH,
        "response_hash": HASH,
    }
    return {"event": usage_event("gateway", id, data, part_of)}


class Ledger:
    """Takes everything, and says by transaction what it took."""

    def __init__(self, meanwhile: Callable[[int], None] = lambda _: None) -> None:
        """Call `meanwhile` with the number of each transaction before it is answered."""
        self.taken: list[list[str]] = []
        self.known = asyncio.Semaphore(0)
        self._meanwhile = meanwhile

    async def submit(self, items: Sequence[Item]) -> list[Answer]:
        """Take commands."""
        self.taken.append([item.command.id for item in items])
        self._meanwhile(len(self.taken))
        return [Answer(item.command.id, None) for item in items]

    def told(self, id: str) -> None:
        """Be the log as well, which forgets an inference."""
        self.known.release()


Story = Callable[[Settler], Awaitable[None]]


def settled(ledger: Ledger, count: int, story: Story, **more: int) -> list[list[str]]:
    """Run a settler until a story has its outcomes told; return what was told together."""

    async def run() -> None:
        any_ledger: Any = ledger
        settler = Settler(any_ledger, ledger, "gateway", **more)
        task = asyncio.create_task(settler.run())
        async with asyncio.timeout(SECONDS):
            await story(settler)
            for _ in range(count):
                await ledger.known.acquire()
        task.cancel()

    asyncio.run(run())
    return ledger.taken


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let parts of slices be gathered until somebody waits for them."""
    monkeypatch.setattr(settling, "LINGER_SECONDS", 0.0)
    monkeypatch.setattr(settling, "LINGERS", 10**9)


def test_what_comes_while_another_transaction_is_under_way_is_gathered_anew() -> None:
    tellers: list[Settler] = []

    def meanwhile(count: int) -> None:
        if count == 1:
            tellers[0].tell("second", outcome("second"))
            # After this transaction: whoever tells the second at once tells it alone.
            loop = asyncio.get_running_loop()
            loop.call_later(settling.LINGER_SECONDS / 4, tell_third)

    def tell_third() -> None:
        tellers[0].tell("third", outcome("third"))

    async def story(settler: Settler) -> None:
        tellers.append(settler)
        settler.tell("first", outcome("first"))

    assert settled(Ledger(meanwhile), 3, story) == [["first"], ["second", "third"]]


@pytest.mark.usefixtures("endless")
def test_parts_of_slices_wait_for_others_until_one_with_a_hold_of_its_own_comes() -> None:
    async def story(settler: Settler) -> None:
        settler.tell("part", outcome("part"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert settler.backlog == 1
        settler.tell("own", outcome("own", None))

    assert settled(Ledger(), 2, story) == [["part", "own"]]


@pytest.mark.usefixtures("endless")
def test_a_release_of_a_hold_is_waited_for() -> None:
    async def story(settler: Settler) -> None:
        settler.tell("part", outcome("part"))
        settler.tell("free", {"release": "the server failed it", "customer": "ada"})

    assert settled(Ledger(), 2, story) == [["part", "free"]]


@pytest.mark.usefixtures("endless")
def test_who_drains_waits_for_nothing_more_to_come() -> None:
    async def story(settler: Settler) -> None:
        settler.tell("part", outcome("part"))
        await asyncio.sleep(0)
        await settler.drain(SECONDS)
        assert settler.backlog == 0

    assert settled(Ledger(), 1, story) == [["part"]]


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("many", [0, 1, 2])
def test_where_few_may_wait_they_do_not_wait_for_more(many: int) -> None:
    async def story(settler: Settler) -> None:
        for id in "ab":
            settler.tell(id, outcome(id))

    assert settled(Ledger(), 2, story, many=many) == [["a", "b"]]


@pytest.mark.usefixtures("endless")
def test_a_whole_batch_does_not_wait_for_more() -> None:
    async def story(settler: Settler) -> None:
        for number in range(settling.BATCH):
            settler.tell(f"i{number}", outcome(f"i{number}"))

    assert settled(Ledger(), settling.BATCH, story) == [
        [f"i{number}" for number in range(settling.BATCH)]
    ]


def test_the_parts_of_one_slice_are_told_side_by_side_in_the_order_they_came() -> None:
    told = [("a1", "a"), ("b1", "b"), ("own", None), ("a2", "a"), ("b2", "b"), ("a3", "a")]

    async def story(settler: Settler) -> None:
        for id, part_of in told:
            settler.tell(id, outcome(id, part_of))

    assert settled(Ledger(), len(told), story) == [["a1", "a2", "a3", "b1", "b2", "own"]]
