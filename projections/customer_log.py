"""A customer's part of the log: their events by the gapless numbers of the log's own index.

What a view keeps for events of all customers is listed for one of them by this index, so that no
table of the views needs one of its own for it.
"""

from projections.model import Run

_EXACTLY = "SELECT customer_sequence FROM events WHERE position = %s AND customer = %s"
_NEWEST = "SELECT max(customer_sequence) FROM events WHERE customer = %s"
_POSITION = "SELECT position FROM events WHERE customer = %s AND customer_sequence = %s"


def events_until(run: Run, customer: str, position: int) -> int:
    """Return how many of a customer's events stand at or before a position.

    A cursor is the position of one of them. For any other, their numbers are gapless and rise with
    the position, so halving finds it by the index.
    """
    rows = run(_EXACTLY, (position, customer))
    if rows:
        return int(rows[0][0])
    low, high = 0, run(_NEWEST, (customer,))[0][0] or 0
    while low < high:
        middle = (low + high + 1) // 2
        if run(_POSITION, (customer, middle))[0][0] <= position:
            low = middle
        else:
            high = middle - 1
    return low
