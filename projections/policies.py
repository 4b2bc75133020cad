"""Policy templates, as a list: read from the log itself through its index of streams.

In any order of letters they stand from `policy` on and before `polid` (projections/pipelines.py);
not before `policz`, since Estonian has its z before t.
"""

from projections.model import Run

_PREFIX = "policy-"
_NEWEST = (
    'SELECT DISTINCT ON (stream COLLATE "C") stream, position FROM events '
    "WHERE stream >= 'policy' AND stream < 'polid' AND stream LIKE 'policy-%%' "
    "AND name = 'policy_published' "
    'ORDER BY stream COLLATE "C", stream_version DESC'
)


def newest(run: Run) -> list[tuple[str, int]]:
    """Return each template's name and the position at which its newest version was published."""
    return [(stream.removeprefix(_PREFIX), position) for stream, position in run(_NEWEST, ())]
