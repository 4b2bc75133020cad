"""Process tuning: what every long-running process of ours sets once at its start."""

import gc
import os

YOUNG = 100_000
"""After so many new objects the collector looks at them: by then most of a batch are gone."""

YOUNG_OF_SERVERS = 10_000
"""Where somebody waits for each answer. What a cold process loads stays, so each look finds nothing
to collect and holds up every answer: 3 ms for so many objects, ten times that for the above."""

_OLD = 2_000_000
"""After so many, what stayed is looked at again."""


_GRPC = "GRPC_EXPERIMENTS"
_GRPC_OWN_POLLER = "-event_engine_client,-event_engine_listener"
"""gRPC's newer engine hands each message through two more threads: a tenth of a millisecond."""


def tune_grpc() -> None:
    """Have gRPC read its connections in one thread; it looks only once, when it is imported.

    Whoever runs the process may say otherwise in the variable that gRPC has for this.
    """
    os.environ.setdefault(_GRPC, _GRPC_OWN_POLLER)


def tune(young: int = YOUNG) -> None:
    """Make the garbage collector rare: our state is plain data and almost never cyclic.

    The default thresholds walk every cached balance and reservation many times a second, which
    costs throughput and makes the slowest answers slower.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, _OLD // young, 50)
