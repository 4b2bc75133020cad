"""Limits: waits that end after so long, of which the loop's timers know only the next to end.

A timer of the loop costs more than most waits that it watches over, and almost none ever ends one.
Waits of one length end in the order in which they began, so that one timer does for all of them.
"""

import asyncio
from types import TracebackType
from typing import Protocol, Self


class Ending(Protocol):
    """What is ended when its time is over."""

    def end(self) -> None:
        """End it: this is called once, unless it was dropped before."""


class Limits:
    """Makes limits; used on one event loop."""

    def __init__(self) -> None:
        """Begin without any."""
        self._queues: dict[float, Queue] = {}

    def within(self, seconds: float) -> "Limit":
        """Return what ends a `with` block of the task that enters it, if it waits for so long.

        There should be few lengths: each is remembered.
        """
        return Limit(self.lasting(seconds))

    def lasting(self, seconds: float) -> "Queue":
        """Return what ends other things of one length than blocks; it is remembered as well."""
        queue = self._queues.get(seconds)
        if queue is None:
            queue = self._queues[seconds] = Queue(seconds)
        return queue


class Limit:
    """A limit of one wait: raises TimeoutError as `asyncio.timeout` does."""

    __slots__ = ("_before", "_is_over", "_queue", "_task")

    def __init__(self, queue: "Queue") -> None:
        """Wait with others of the same length; use `Limits.within`."""
        self._queue = queue

    def __enter__(self) -> Self:
        """Begin now."""
        task = asyncio.current_task()
        assert task is not None
        self._task, self._before, self._is_over = task, task.cancelling(), False
        self._queue.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Raise TimeoutError where it is this limit that has ended the block."""
        if not self._is_over:
            self._queue.drop(self)
        elif self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """End the block where it waits."""
        self._is_over = True
        self._task.cancel()


class Queue:
    """What of one length is running, the oldest first, and a timer for that."""

    def __init__(self, seconds: float) -> None:
        """Begin without any; use `Limits.lasting`."""
        self._seconds = seconds
        self._running: dict[Ending, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, it: Ending) -> float:
        """Have it end when its time is over, and return when, by the loop's clock."""
        loop = asyncio.get_running_loop()
        at = self._running[it] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(at, self._look)
        return at

    def drop(self, it: Ending) -> None:
        """Have it not end any more."""
        # The timer stays: when it comes it looks for the next to end, or for none.
        self._running.pop(it, None)

    def _look(self) -> None:
        """End what is over, and come again for the next."""
        loop, over = asyncio.get_running_loop(), list[Ending]()
        now, self._timer = loop.time(), None
        for it, at in self._running.items():
            if at > now:
                self._timer = loop.call_at(at, self._look)
                break
            over.append(it)
        for it in over:
            if self._running.pop(it, None) is not None:
                it.end()
