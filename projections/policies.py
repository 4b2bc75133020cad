"""Policy templates, as a list: read from the log itself through its index of streams.

There are few of them (in a database that sorts as C does, the index finds them at once).
"""

from projections.model import Run

_PREFIX = "policy-"
_NEWEST = (
    "SELECT DISTINCT ON (stream) stream, position FROM events "
    "WHERE stream LIKE 'policy-%%' AND name = 'policy_published' "
    "ORDER BY stream, stream_version DESC"
)


def newest(run: Run) -> list[tuple[str, int]]:
    """Return each template's name and the position at which its newest version was published."""
    return [(stream.removeprefix(_PREFIX), position) for stream, position in run(_NEWEST, ())]
