"""Pipelines, as a list: read from the log itself through its index of streams (`events_stream`).

That index has the database's own order, in which what begins with `pipeline-` need not stand
together; but in any order of letters it stands from `pipeline` on and before `pipelinf`. What is
found there is few, and sorted by name.
"""

from projections.model import Run
from projections.paging import checked_limit

_NEWEST = (
    'SELECT DISTINCT ON (stream COLLATE "C") stream, position FROM events '
    "WHERE stream >= 'pipeline' AND stream < 'pipelinf' AND stream LIKE 'pipeline-%%' "
    "AND name = 'pipeline_published' AND stream COLLATE \"C\" > %s "
    'ORDER BY stream COLLATE "C", stream_version DESC LIMIT %s'
)


def newest(run: Run, *, after: str = "", limit: int = 100) -> tuple[list[int], str | None]:
    """Return where a page of pipelines was published last, in order of the names.

    And the name to go on after, if more follow.
    """
    rows = run(_NEWEST, (f"pipeline-{after}", checked_limit(limit) + 1))
    follows = len(rows) > limit
    name = rows[limit - 1][0].removeprefix("pipeline-") if follows else None
    return [position for _, position in rows[:limit]], name
