"""Catching up in several processes: each folds a share of the customers, one writes the rows.

A customer's events belong to one share, so the rows of different shares never meet. The processes
run ahead while the rows of earlier batches are written. Whatever goes wrong here ends the shares,
and the projector goes on alone, where one event after another can be blamed.
"""

import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from tollbook.merkle import HASH_BYTES

from application.following import LedgerLog
from application.replaying import Share
from projections.batches import Batch, Last, ShareFailedError, fold_into
from projections.checkpoint import Mark, Parked
from projections.model import ReadModel, Run
from projections.registry import Models
from projections.states import CustomerStates, Kept

AHEAD = 2
"""So many batches are given out before the rows of the first one are asked for."""

BATCH_MAX = 20_000
"""Larger than when there is less to do: what is opened and closed in one batch is written once."""


class Work(NamedTuple):
    """What a process is to fold: its share of the events after a mark and up to a position."""

    mark: Mark
    last: int


class Part(NamedTuple):
    """What a process made of it."""

    models: Sequence[ReadModel]
    recorded_at: int
    """Of the last event in it."""
    positions: "array[int]"
    leaves: bytes
    """Of these positions, one after another."""
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


Reach = Callable[[int, int], int]
"""As `LedgerLog.reach`."""


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
        batch = Batch(asked.mark, models(), in_shares=True)
        fold_into(batch, log.share(asked.mark.position, asked.last, share), states)
        pipe.send(_part(batch))


def _part(batch: Batch) -> Part:
    positions, leaves = array("q", batch.leaves), b"".join(batch.leaves.values())
    recorded_at = batch.last.recorded_at
    return Part(batch.models, recorded_at, positions, leaves, batch.kept, batch.parked)


def batches(
    pipes: Sequence[Pipe], mark: Mark, until: int, stop: threading.Event, reach: Reach
) -> Iterator[Batch]:
    """Yield batch after batch up to a position, put together from the shares.

    `reach` says how far events can be read at once, for the sake of memory.
    Raises ShareFailedError when a process has failed.
    """
    given_out: deque[Work] = deque()
    while True:
        while len(given_out) <= AHEAD and mark.position < until and not stop.is_set():
            last = reach(mark.position, min(mark.position + BATCH_MAX, until))
            given = Work(mark, last)
            given_out.append(given)
            _send(pipes, given)
            mark = mark._replace(position=given.last)
        if not given_out:
            return
        yield _joined(given_out.popleft(), [_received(pipe) for pipe in pipes])


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


def _joined(given: Work, parts: Sequence[Part]) -> Batch:
    """Put the parts of a batch together; there are no changes to blame one by one."""
    leaves: dict[int, bytes] = {}
    for part in parts:
        starts = range(0, len(part.leaves), HASH_BYTES)
        hashes = [part.leaves[start : start + HASH_BYTES] for start in starts]
        leaves.update(zip(part.positions, hashes, strict=True))
    positions = range(given.mark.position + 1, given.last + 1)
    if len(leaves) != len(positions):
        raise ShareFailedError("the shares do not hold every event between them")
    return Batch(
        given.mark,
        [model for part in parts for model in part.models],
        Last(given.last, max(part.recorded_at for part in parts)),
        {position: leaves[position] for position in positions},
        kept=[kept for part in parts for kept in part.kept],
        parked=[parked for part in parts for parked in part.parked],
        in_shares=True,
    )
