"""Pipelines, as a list: read from the log itself through its index of streams.

There are few of them (in a database that sorts as C does, the index finds them at once).
"""

from projections.model import Run

_NEWEST = (
    "SELECT DISTINCT ON (stream) stream, position FROM events "
    "WHERE stream LIKE 'pipeline-%%' AND name = 'pipeline_published' "
    "ORDER BY stream, stream_version DESC"
)


def newest(run: Run) -> list[int]:
    """Return where each pipeline's newest version was published, in order of the names."""
    return [position for _, position in run(_NEWEST, ())]
