"""Draws that share round trips: while one is on its way, those who come wait and go together.

So a gateway sends one question at a time, however many inferences arrive, and each waits for two
answers at most. Where one does not come, those who wait for it are told so at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from adapters.redis.errors import RedisUnavailable
from adapters.redis.sightings import Sightings
from application.allowing import Drawn, NoDraw

TOGETHER_MAX = 1_024

Ask = Callable[[Sequence[str], Sequence[int], int, float], Awaitable[list[list[Any]]]]
"""Asks Redis: keys, how many places of each, the latest instant anybody told, and seconds."""


class _Waiting(NamedTuple):
    """One draw that waits for its answer."""

    key: str
    places: int
    now: int
    deadline: float
    answer: "asyncio.Future[Drawn | NoDraw]"


class Draws:
    """The draws of one process; one event loop uses it."""

    def __init__(self, ask: Ask, sightings: Sightings, seconds: float) -> None:
        """Prepare to ask; each draw is answered in so many seconds, or half as many more behind
        another one, or not at all.
        """
        self._ask = ask
        self._sightings = sightings
        self._seconds = seconds
        self._waiting: list[_Waiting] = []
        self._carried: list[_Waiting] = []
        self._flight: asyncio.Task[None] | None = None

    async def draw(self, key: str, count: int, now: int) -> Drawn | NoDraw:
        """Draw with the next question to Redis; raises RedisUnavailable."""
        if count < 1:
            raise ValueError("at least one place is drawn")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Drawn | NoDraw] = loop.create_future()
        self._waiting.append(_Waiting(key, count, now, loop.time() + self._seconds, answer))
        if self._flight is None:
            self._flight = loop.create_task(self._fly())
        found = await answer
        if isinstance(found, Drawn) and self._sightings.is_over(found.reservation):
            # Between the answer and now this gateway said that it has told everything it drew.
            return NoDraw("closed")
        return found

    async def close(self) -> None:
        """Tell whoever waits that no answer comes."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    async def _fly(self) -> None:
        error = RedisUnavailable("the connection to Redis is closed")
        try:
            while self._waiting:
                self._carried = self._waiting[:TOGETHER_MAX]
                del self._waiting[:TOGETHER_MAX]
                await self._carry()
        except RedisUnavailable as found:
            error = found
        finally:
            # Those who came meanwhile would wait for the same Redis: they are told at once.
            self._fail([*self._carried, *self._waiting], error)
            self._carried, self._waiting, self._flight = [], [], None

    async def _carry(self) -> None:
        asked: dict[str, list[_Waiting]] = {}
        for each in self._carried:
            if not each.answer.done():
                asked.setdefault(each.key, []).append(each)
        if not asked:
            return
        alive = [each for some in asked.values() for each in some]
        counts = [sum(each.places for each in some) for some in asked.values()]
        now = max(each.now for each in alive)
        # Whoever waited for another answer, which came, has half of the time for its own at least.
        left = min(each.deadline for each in alive) - asyncio.get_running_loop().time()
        answers = await self._ask(list(asked), counts, now, max(left, self._seconds / 2))
        for some, answer in zip(asked.values(), answers, strict=True):
            self._share(some, answer, now)

    def _share(self, some: list[_Waiting], answer: list[Any], now: int) -> None:
        """Hand what was drawn to those who asked, in the order they came."""
        kind = answer[0]
        if kind == "broken":
            self._fail(some, RedisUnavailable(f"a slice in Redis is broken: {answer[1]}"))
            return
        reservation, taken, left = "", 0, 0
        if kind == "drawn":
            _, reservation, taken, left, sequence, until = answer
            lost = self._sightings.drew(reservation, sequence, until, now)
            kind, taken = (lost, 0) if lost else ("spent", taken)
        for each in some:
            if each.answer.done():  # whoever asked has gone: the places are wasted
                continue
            count = min(each.places, taken)
            taken -= count
            each.answer.set_result(Drawn(reservation, count, left) if count else NoDraw(kind))

    @staticmethod
    def _fail(some: list[_Waiting], error: RedisUnavailable) -> None:
        for each in some:
            if not each.answer.done():
                each.answer.set_exception(RedisUnavailable(str(error)))
