"""Folding a large ledger in several processes, each with a share of the customers."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait

from tollbook.errors import Unavailable

from adapters.event_store.audit_reader import audit_reader
from application.replaying import Fold, FoldedShare, Progress, Share, fold_share
from entrypoints.tuning import tune

PROCESSES_FROM = 100_000
"""Smaller ledgers are folded before a second process has started."""

PROCESSES_MAX = 8


def fold_in_processes(url: str, progress: Progress) -> Fold:
    """Return a fold that gives each processor a share of the customers."""

    def begin(last: int) -> Callable[[], Sequence[FoldedShare]]:
        parts = min(os.cpu_count() or 1, PROCESSES_MAX)
        context = multiprocessing.get_context("spawn")
        ends: list[Connection] = []
        for part in range(parts):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_fold, args=(url, last, Share(part, parts), theirs), daemon=True
            )
            process.start()
            theirs.close()
            ends.append(ours)
        return lambda: _gather(ends, progress)

    return begin


def _fold(url: str, last: int, share: Share, end: Connection) -> None:
    """Fold a share in a process of its own; progress and the result go through the pipe."""
    tune()
    with audit_reader(url) as reader:
        end.send(fold_share(reader, last, share, end.send))


def _gather(ends: Sequence[Connection], progress: Progress) -> list[FoldedShare]:
    """Collect the shares in their order, passing progress on as it comes."""
    found: dict[Connection, FoldedShare] = {}
    while len(found) < len(ends):
        for end in wait([each for each in ends if each not in found]):
            assert isinstance(end, Connection)
            try:
                word = end.recv()
            except EOFError:
                raise Unavailable("a process that folds a share of the ledger died") from None
            if isinstance(word, FoldedShare):
                found[end] = word
            else:
                progress(word)
    return [found[end] for end in ends]
