"""Catching up in several processes: each folds a share of the customers, one writes the rows.

A customer's events belong to one share, so the rows of different shares never meet. The processes
run ahead while the rows of earlier batches are written. Whatever goes wrong here ends the shares,
and the projector goes on alone, where one event after another can be blamed.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from application.following import LedgerLog
from application.replaying import Share
from projections.batches import Batch, Last, ShareFailedError, collect
from projections.checkpoint import Mark, Parked
from projections.model import ReadModel, Run
from projections.registry import Models
from projections.states import CustomerStates, Kept

AHEAD = 2
"""So many batches are given out before the rows of the first one are asked for."""


class Work(NamedTuple):
    """What a process is to fold: its share of the events between two positions."""

    mark: Mark
    last: Last


class Part(NamedTuple):
    """What a process made of it."""

    models: Sequence[ReadModel]
    kept: list[Kept]
    parked: list[Parked]


class Pipe(Protocol):
    """One end of a pipe between processes."""

    def send(self, obj: object) -> None:
        """Send an object."""

    def recv(self) -> object:
        """Wait for an object; raises EOFError when the other end is gone."""


Crew = Callable[[], AbstractContextManager[Sequence[Pipe]]]
"""Starts the processes, each at the other end of a pipe, for the length of a block."""


def work(
    pipe: Pipe, log: LedgerLog, run: Run, schema: str, share: Share, models: Callable[[], Models]
) -> None:
    """Fold a share of whatever is asked for, until the other end is closed."""
    states = CustomerStates(log, run, schema)
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        assert isinstance(asked, Work)
        entries = log.share(asked.mark.position, asked.last.position, share)
        collected = models()
        if entries:
            batch = collect(asked.mark, entries, states, collected)
            pipe.send(Part(collected, batch.kept, batch.parked))
        else:
            pipe.send(Part((), [], []))


def batches(
    pipes: Sequence[Pipe],
    log: LedgerLog,
    mark: Mark,
    limit: Callable[[int], int],
    stop: threading.Event,
) -> Iterator[Batch]:
    """Yield batch after batch, put together from the shares; `limit` says how long the next is.

    Raises ShareFailedError when a process has failed.
    """
    given_out: deque[tuple[Work, list[bytes]]] = deque()
    more = True
    while more or given_out:
        while more and len(given_out) <= AHEAD:
            size = 0 if stop.is_set() else limit(mark.position)
            rows = log.leaves(mark.position, size) if size > 0 else ()
            if not rows:
                more = False
                break
            given = Work(mark, Last(rows[-1][0], rows[-1][1]))
            given_out.append((given, [leaf for _, _, leaf in rows]))
            _send(pipes, given)
            mark = mark._replace(position=given.last.position)
        if given_out:
            given, leaves = given_out.popleft()
            yield _joined(given, leaves, [_received(pipe) for pipe in pipes])


def _send(pipes: Sequence[Pipe], given: Work) -> None:
    try:
        for pipe in pipes:
            pipe.send(given)
    except OSError as error:
        raise ShareFailedError from error


def _received(pipe: Pipe) -> Part:
    try:
        part = pipe.recv()
    except (EOFError, OSError) as error:
        raise ShareFailedError from error
    assert isinstance(part, Part)
    return part


def _joined(given: Work, leaves: list[bytes], parts: Sequence[Part]) -> Batch:
    """Put the parts of a batch together; there are no changes to blame one by one."""
    return Batch(
        given.mark,
        given.last,
        [model for part in parts for model in part.models],
        leaves,
        kept=[kept for part in parts for kept in part.kept],
        parked=[parked for part in parts for parked in part.parked],
        in_shares=True,
    )
