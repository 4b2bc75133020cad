"""A process of the projector's crew: it folds a share of the customers for the one that writes.

It stands in a file of its own, so that the process imports no more than folding takes.
"""

import signal
from contextlib import closing, suppress

from tollbook.errors import TollbookError

from adapters.event_store.log_reader import LogReader
from adapters.postgres import connect
from application.replaying import Share
from entrypoints.tuning import tune
from projections.registry import new_models
from projections.shares import Pipe, work


def fold_shares(url: str, role: str, schema: str, share: Share, pipe: Pipe) -> None:
    """Fold a share in a process of its own; what stops it is told by the one that asked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells all; one decides
    tune()
    with suppress(TollbookError, OSError), closing(connect(url, role=role)) as reading:
        log = LogReader(reading)
        work(pipe, log, log.run, schema, share, new_models)
