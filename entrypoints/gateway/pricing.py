"""Checking a file beside the ledger: a model that no price book has would be refused each time."""

from collections.abc import Iterable, Iterator
from contextlib import closing

from tollbook.errors import Invalid

from adapters.event_store.store import PostgresEventStore
from domain.events import PricesPublished
from domain.meters_format import Meter
from entrypoints.bootstrap import Database
from projections.prices import published

_PAGE = 1000


def check_prices(database: Database, meters: Iterable[Meter]) -> None:
    """Compare the models that meters charge with those that were ever priced; raises Invalid.

    A pipeline says itself of which models its stages are, when it is published.
    """
    with closing(PostgresEventStore(database.app_url)) as store:
        priced = set(_priced(store))
    for meter in meters:
        if meter.pipeline is None and meter.priced_as not in priced:
            known = ", ".join(sorted(priced)) or "none"
            rule = f"a model of a published price book, as tollbook prices publish makes: {known}"
            raise Invalid.because(f"{meter.name}.price_model", meter.priced_as, rule)


def _priced(store: PostgresEventStore) -> Iterator[str]:
    """Yield the models of every version of every book: one may be in force for some customer."""
    after = 0
    while positions := published(store.run, after=after, limit=_PAGE):
        for recorded in store.at(positions).values():
            assert isinstance(recorded.event, PricesPublished)
            yield from (model["name"] for model in recorded.event.models)
        after = positions[-1]
