"""The projector's process of `pairs_sustained`: `python -m benchmarks.follower OWNER_URL APP_URL`.

Prints `ready` when the views are there, and keeps them up to date until it is terminated.
"""

import signal
import sys
import threading

from entrypoints.bootstrap import Database
from entrypoints.projecting import bring_up_to_date, follow
from entrypoints.tuning import tune


def main(owner_url: str, app_url: str) -> None:
    """Follow the ledger as `tollbook project` does."""
    tune()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    database = Database(owner_url, app_url, None)
    bring_up_to_date(database)
    print("ready", flush=True)
    follow(database, stop)


if __name__ == "__main__":
    main(*sys.argv[1:])
