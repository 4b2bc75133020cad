"""Limits of waits: many of one length, and who cancels a task for another reason is heard."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest

from adapters.limits import Limits
from tests.gateway.test_limits_as_timeouts import passing

SHORT, LONG = 0.02, 60.0


def run(work: Callable[[Limits], Awaitable[None]]) -> None:
    async def within_reason() -> None:
        async with asyncio.timeout(30):
            await work(Limits())

    _, loop = passing()
    with closing(loop):
        loop.run_until_complete(within_reason())


async def waited(limits: Limits, seconds: float, name: str, ended: list[str]) -> None:
    try:
        with limits.within(seconds):
            await asyncio.Event().wait()
    except TimeoutError:
        ended.append(name)


def test_waits_of_every_length_end_in_their_order() -> None:
    async def work(limits: Limits) -> None:
        ended: list[str] = []
        given = [("late", 3 * SHORT), ("first", SHORT), ("second", SHORT)]
        tasks = [asyncio.create_task(waited(limits, wait, name, ended)) for name, wait in given]
        await asyncio.sleep(SHORT / 2)
        tasks.append(asyncio.create_task(waited(limits, SHORT, "third", ended)))
        never = asyncio.create_task(waited(limits, LONG, "never", ended))
        await asyncio.gather(*tasks)
        assert ended == ["first", "second", "third", "late"]
        assert not never.done()
        never.cancel()

    run(work)


def test_a_wait_that_is_over_in_time_is_not_ended_later() -> None:
    async def work(limits: Limits) -> None:
        for _ in range(3):
            with limits.within(SHORT):
                await asyncio.sleep(0)
            await asyncio.sleep(2 * SHORT)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(work)


def test_an_error_in_the_block_is_raised_as_it_is() -> None:
    async def work(limits: Limits) -> None:
        with pytest.raises(ZeroDivisionError), limits.within(SHORT):
            raise ZeroDivisionError
        await asyncio.sleep(2 * SHORT)

    run(work)


def test_who_cancels_the_task_is_heard_also_when_time_is_over() -> None:
    async def work(limits: Limits) -> None:
        async def waiting() -> None:
            with limits.within(SHORT):
                try:
                    await asyncio.Event().wait()
                finally:
                    task.cancel()  # somebody else does, in the moment in which time is over

        task = asyncio.create_task(waiting())
        with pytest.raises(asyncio.CancelledError):
            await task

        other = asyncio.create_task(waited(limits, LONG, "other", []))
        await asyncio.sleep(0)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other

    run(work)


def test_the_inner_of_two_limits_ends_alone() -> None:
    async def work(limits: Limits) -> None:
        with limits.within(LONG):
            with pytest.raises(TimeoutError), limits.within(SHORT):
                await asyncio.Event().wait()
            await asyncio.sleep(SHORT)

    run(work)


def test_a_limit_serves_again_after_all_of_its_waits_were_over() -> None:
    async def work(limits: Limits) -> None:
        ended: list[str] = []
        for name in ("one", "two"):
            await waited(limits, SHORT, name, ended)
            await asyncio.sleep(2 * SHORT)
        assert ended == ["one", "two"]

    run(work)


class _Thing:
    def __init__(self, name: str, ended: list[str]) -> None:
        self._name, self._ended = name, ended

    def end(self) -> None:
        """Keep that it ended."""
        self._ended.append(self._name)


def test_things_end_in_their_order_and_those_that_are_dropped_do_not() -> None:
    async def work(limits: Limits) -> None:
        ended: list[str] = []
        queue = limits.lasting(SHORT)
        things = [_Thing(name, ended) for name in ("first", "second", "dropped")]
        times = [queue.add(thing) for thing in things]
        assert times == sorted(times)
        for _ in range(2):
            queue.drop(things[2])
        await asyncio.sleep(3 * SHORT)
        assert ended == ["first", "second"]

    run(work)
