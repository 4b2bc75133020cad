"""Price books and their versions, as lists: read from the log itself, so they are always current.

There are few of them, and the streams `prices-BOOK` find them through the log's own index. In any
order of letters all books stand from `prices` on and before `pricet` (projections/pipelines.py).
"""

from projections.model import Run

_OF_ALL = (
    "WITH found AS MATERIALIZED (SELECT position FROM events "
    "WHERE stream >= 'prices' AND stream < 'pricet' AND stream LIKE 'prices-%%' "
    "AND name = 'prices_published') "
    "SELECT position FROM found WHERE position > %s ORDER BY position LIMIT %s"
)
_OF_ONE = (
    "SELECT position FROM events WHERE stream = 'prices-' || %s::text "
    "AND name = 'prices_published' AND position > %s ORDER BY stream_version LIMIT %s"
)
_NAMED = (
    "SELECT DISTINCT data::json ->> 'price_book' FROM events "
    "WHERE stream = 'customer-' || %s::text AND name IN ('customer_created', 'customer_changed')"
)


def published(
    run: Run, *, book: str | None = None, after: int | None = None, limit: int = 100
) -> list[int]:
    """Return the positions at which versions were published, of one book or of all, in order."""
    page = (after or 0, limit)
    rows = run(_OF_ALL, page) if book is None else run(_OF_ONE, (book, *page))
    return [position for (position,) in rows]


def books_of(run: Run, customer: str) -> list[str]:
    """Return the price books that a customer's terms name or ever named, in order of id."""
    return sorted(book for (book,) in run(_NAMED, (customer,)) if book is not None)


def published_for(
    run: Run, customer: str, *, after: int | None = None, limit: int = 100
) -> list[int]:
    """Return the positions at which versions of a customer's books were published, in order."""
    pages = [
        published(run, book=book, after=after, limit=limit) for book in books_of(run, customer)
    ]
    return sorted(position for page in pages for position in page)[:limit]
