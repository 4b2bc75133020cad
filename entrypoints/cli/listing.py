"""Lists from the views: brought up to date first, then read page by page to their end."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from tollbook.errors import Invalid

from entrypoints.cli.options import Bars, settings_of
from projections.model import Run

PAGE = 1000


class Views(NamedTuple):
    """The views, which hold everything up to a position, and bars for reading them."""

    run: Run
    position: int
    bars: Bars


@contextmanager
def up_to_date(args: argparse.Namespace, bars: Bars) -> Iterator[Views]:
    """Open the views of the ledger that a command's options name, with all that is in it now."""
    from adapters.event_store.store import PostgresEventStore
    from entrypoints.bootstrap import open_database
    from entrypoints.projecting import catch_up
    from projections.checkpoint import lag

    with (
        open_database(settings_of(args), create=False) as database,
        closing(PostgresEventStore(database.app_url)) as store,
    ):
        position = store.head().position
        behind = lag(store.run)["events_behind"]
        if behind:
            catch_up(database, position, bars.start("Bring the views up to date", behind))
        yield Views(store.run, position, bars)


def walk(
    page: Callable[..., Any], views: Views, *, after: Any, limit: int | None, **asked: Any
) -> tuple[list[dict[str, Any]], Any]:
    """Read pages until the limit or the end; return the items, and the cursor if more follow."""
    if limit is not None and limit < 1:
        raise Invalid.because("limit", limit, "at least 1")
    items: list[dict[str, Any]] = []
    advance: Callable[[int], None] | None = None
    while True:
        size = PAGE if limit is None else min(PAGE, limit - len(items))
        found = page(views.run, after=after, limit=size, **asked)
        items += found.items
        after = found.next
        if after is None or len(items) == limit:
            return items, after
        advance = advance or views.bars.start("Read", limit)
        advance(len(found.items))
