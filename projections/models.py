"""Models of the registry and the export list, as lists: read from the log itself, always current.

There are few of them, and the streams `model-NAME` and `export-0` find them through the log's own
index. In any order of letters all models stand from `model` on and before `modem`
(projections/pipelines.py).
"""

from collections.abc import Sequence

from projections.model import Run

_REGISTERED = (
    "WITH found AS MATERIALIZED (SELECT position, stream FROM events "
    "WHERE stream >= 'model' AND stream < 'modem' AND stream LIKE 'model-%%' "
    "AND name = 'model_registered') "
    "SELECT position, stream FROM found WHERE position > %s ORDER BY position LIMIT %s"
)
_OF_STREAMS = (
    "SELECT position FROM events WHERE stream = ANY(%s::text[]) ORDER BY stream, stream_version"
)
_NEWEST_LIST = (
    "SELECT position FROM events WHERE stream = 'export-0' ORDER BY stream_version DESC LIMIT 1"
)


def registered(run: Run, *, after: int | None = None, limit: int = 100) -> list[tuple[int, str]]:
    """Return (position, stream) of the models, in the order in which they were registered."""
    return [(position, stream) for position, stream in run(_REGISTERED, (after or 0, limit))]


def events_of(run: Run, streams: Sequence[str]) -> list[int]:
    """Return the positions of all events of these models, each model's in order."""
    return [position for (position,) in run(_OF_STREAMS, (list(streams),))]


def newest_list(run: Run) -> int | None:
    """Return the position at which the export list in force was published, or None."""
    return next((position for (position,) in run(_NEWEST_LIST, ())), None)
