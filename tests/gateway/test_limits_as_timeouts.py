"""Limits of waits end what `asyncio.timeout` ends, and when: any tasks, on a clock of their own."""

import asyncio
import selectors
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.limits import Limits

Within = Callable[[float], AbstractAsyncContextManager[Any]]
Steps = Sequence[tuple[Any, ...]]
"""What a task does: `sleep` for so long; `within` a limit, whose end it catches or not, or
`deaf` to being cancelled, do other steps."""
Said = list[tuple[float, int, str]]

LENGTHS = st.sampled_from([1.37, 2.71, 3.19])
sleeps = st.tuples(st.just("sleep"), st.sampled_from([0.0, 0.53, 1.0, 2.29]))
steps = st.recursive(
    sleeps,
    lambda inner: (
        st.tuples(st.just("within"), LENGTHS, st.booleans(), st.lists(inner, max_size=3))
        | st.tuples(st.just("deaf"), st.lists(inner, max_size=3))
    ),
    max_leaves=8,
)
tasks = st.lists(st.lists(steps, max_size=4), min_size=1, max_size=3)
cancels = st.lists(
    st.tuples(st.sampled_from([0.11, 0.97, 1.73, 3.07]), st.integers(0, 2)), max_size=3
)


class _Clock(selectors.SelectSelector):
    """Lets time pass at once, instead of waiting for it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += max(timeout or 0.0, 0.0)
        return super().select(0)


def passing() -> tuple[_Clock, asyncio.AbstractEventLoop]:
    """Return a loop on a clock of its own: however busy the machine is, no wait is late there."""
    clock = _Clock()
    loop = asyncio.SelectorEventLoop(clock)
    loop.time = lambda: clock.now  # type: ignore[method-assign]
    return clock, loop


@asynccontextmanager
async def limited(limits: Limits, seconds: float) -> Any:
    with limits.within(seconds):
        yield


def said(programs: Sequence[Steps], ended: Sequence[tuple[float, int]], within: Within) -> Said:
    """Run tasks, some of which somebody cancels; return what they said, and when."""
    clock, loop = passing()
    found = Said()

    def say(number: int, word: str) -> None:
        found.append((round(clock.now, 6), number, word))

    async def do(number: int, some: Steps) -> None:
        for kind, *more in some:
            if kind == "sleep":
                await asyncio.sleep(more[0])
                say(number, "slept")
            elif kind == "deaf":
                try:
                    await do(number, more[0])
                except asyncio.CancelledError:
                    say(number, "heard nothing")
            else:
                try:
                    async with within(more[0]):
                        await do(number, more[2])
                    say(number, "was in time")
                except TimeoutError:
                    say(number, "was late")
                    if not more[1]:
                        raise

    async def all_of_them() -> None:
        running = [asyncio.create_task(do(*each)) for each in enumerate(programs)]
        for at, number in ended:
            if number < len(running):
                loop.call_at(at, running[number].cancel)
        ends = await asyncio.gather(*running, return_exceptions=True)
        for number, task in enumerate(running):
            say(number, f"{type(ends[number]).__name__} {task.cancelling()}")
        await asyncio.sleep(10)  # nobody is ended who waits no more

    try:
        loop.run_until_complete(all_of_them())
    finally:
        loop.close()
    # Which of two tasks goes first at one instant, nobody promises.
    return sorted(found, key=lambda each: each[:2])


@given(tasks, cancels)
@example([[("within", 1.37, True, [("within", 1.37, True, [("sleep", 2.29)])])]], [])
@example([[("within", 1.37, True, [("deaf", [("sleep", 2.29)]), ("sleep", 2.29)])]], [])
@example([[("within", 2.71, True, [("deaf", [("sleep", 2.29)]), ("sleep", 1.0)])]], [(0.11, 0)])
def test_a_limit_ends_what_a_timeout_ends(
    programs: list[Steps], ended: list[tuple[float, int]]
) -> None:
    limits = Limits()
    found = said(programs, ended, lambda seconds: limited(limits, seconds))
    assert found == said(programs, ended, asyncio.timeout)


def test_a_limit_that_has_ended_one_wait_may_watch_over_another() -> None:
    async def work() -> None:
        limit = Limits().within(0.02)
        for _ in range(2):
            with pytest.raises(TimeoutError), limit:
                await asyncio.Event().wait()
            with limit:
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)

    _, loop = passing()
    with closing(loop):
        loop.run_until_complete(asyncio.wait_for(work(), 30))
