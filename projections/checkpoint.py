"""The checkpoint: how far the read models have come, and what they had to leave aside.

It moves in the transaction that writes the rows, so that a crash at any point doubles nothing. A
reader that selects from `views.checkpoint` first, in a transaction, sees one build to its end.
"""

import time
import traceback
from typing import Any, NamedTuple

from tollbook.errors import Unavailable
from tollbook.times import format_instant

from projections.model import Connection, Run

TABLES = """
CREATE TABLE checkpoint (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position    bigint  NOT NULL,    -- everything up to here is in the rows
    recorded_at bigint  NOT NULL,    -- of that event, microseconds since 1970
    build       text    NOT NULL,    -- another one with every rebuild
    fingerprint text    NOT NULL     -- of the tables and handlers that made the rows
) WITH (fillfactor = 10);
CREATE TABLE parked_events (         -- what a model could not take in, for people to look at
    position  bigint NOT NULL,
    model     text   NOT NULL,       -- or '*' when no model could
    name      text   NOT NULL,
    error     text   NOT NULL,
    traceback text   NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (position, model)
);
"""

WAIT_SECONDS = 5.0
_PAUSE_SECONDS = 0.01

_CLAIM = """
UPDATE checkpoint SET position = %s, recorded_at = greatest(recorded_at, %s)
WHERE position = %s AND build = %s
"""
_PARK = """
INSERT INTO parked_events (position, model, name, error, traceback) VALUES (%s, %s, %s, %s, %s)
"""
_PROGRESS = """
SELECT view.position, head.position, view.recorded_at, head.recorded_at, view.build,
    (SELECT count(*) FROM views.parked_events), to_regnamespace('views_next') IS NOT NULL
FROM views.checkpoint AS view, public.ledger_head AS head
"""


class MovedError(Exception):
    """Somebody else moved the checkpoint, or put another build in its place."""


class Mark(NamedTuple):
    """Where a build stands."""

    position: int
    recorded_at: int
    build: str
    fingerprint: str


class Parked(NamedTuple):
    """An event that a model could not take in."""

    position: int
    model: str
    name: str
    error: str
    traceback: str


def parked(position: int, model: str, name: str, error: BaseException) -> Parked:
    """Note what went wrong with an event, cut to what a person reads."""
    lines = "".join(traceback.format_exception(error))[-8000:]
    first = f"{type(error).__name__}: {error}"[:500]
    return Parked(position, model, name, _storable(first), _storable(lines))


def _storable(text: str) -> str:
    """Replace what PostgreSQL keeps in no text."""
    return text.replace("\0", "�").encode(errors="replace").decode()


def read_mark(connection: Connection) -> Mark:
    """Return where the build that the connection's path leads to stands."""
    row = connection.execute(
        "SELECT position, recorded_at, build, fingerprint FROM checkpoint"
    ).fetchone()
    assert row is not None, "a build has a checkpoint from its first moment"
    return Mark(*row)


def claim(connection: Connection, mark: Mark, position: int, recorded_at: int) -> None:
    """Move the checkpoint on, first of all in a transaction: whoever comes second writes nothing.

    Raises MovedError when it is not where the caller thinks.
    """
    moved = connection.execute(_CLAIM, (position, recorded_at, mark.position, mark.build))
    if moved.rowcount != 1:
        raise MovedError


def park(connection: Connection, events: list[Parked]) -> None:
    """Keep what could not be taken in, inside the open transaction."""
    if events:
        connection.cursor().executemany(_PARK, events)


def lag(run: Run) -> dict[str, Any]:
    """Return how far the views are behind the ledger, and what was left aside."""
    ((position, head, seen_at, head_at, build, aside, building),) = run(_PROGRESS, ())
    behind = max(0, head - position)
    # In the ledger's own time: from the newest event in the views to the newest there is.
    micros = max(0, head_at - seen_at) if behind and position else 0
    return {
        "position": position,
        "head": head,
        "events_behind": behind,
        "seconds_behind": f"{micros // 1_000_000}.{micros % 1_000_000:06d}",
        "recorded_at": format_instant(seen_at) if position else None,
        "parked": aside,
        "build": build,
        "building": building,
    }


def position(run: Run) -> int:
    """Return the position up to which the views hold everything."""
    return int(run("SELECT position FROM views.checkpoint", ())[0][0])


def wait_for(run: Run, wanted: int, timeout: float = WAIT_SECONDS) -> None:
    """Return when the views hold everything up to a position; raises Unavailable if they do not.

    This is how who wrote reads what was written: the position stands in every answer.
    """
    until = time.monotonic() + timeout
    while (reached := position(run)) < wanted:
        if time.monotonic() >= until:
            raise Unavailable(
                f"the views stand at position {reached}, not yet at {wanted}: is a projector "
                "running? (tollbook project)",
                position=reached,
                wanted=wanted,
            )
        time.sleep(_PAUSE_SECONDS)
