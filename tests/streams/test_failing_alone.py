"""A record that can be neither charged nor kept, among what others ask in the same transaction."""

from contextlib import closing

import pytest
from tollbook.errors import Unavailable

from adapters.clock import DatabaseClock
from adapters.event_store.store import PostgresEventStore
from application.answers import Answer
from application.committing import Committer
from application.deciding import Plan
from application.jobs import Item, Job
from domain.commands import parse
from streams import wire
from tests.streams.records import MODEL, USAGE, usage_event
from tests.streams.settling import Stream


def asked(name: str) -> Job:
    """Return what somebody else asks: a reservation."""
    body = {"id": name, "customer": "cust-1", "model": MODEL, "estimate": USAGE}
    return Job([Item(parse("reserve", body))])


@pytest.mark.parametrize("way", ["process", "feed"])
def test_what_can_be_neither_charged_nor_kept_fails_no_job_but_its_own(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    stream.hold("i-1")
    (told,) = wire.told_by(usage_event("i-1"))
    decide = Plan._answer

    def failing(plan: Plan, item: Item) -> Answer:
        if item.command is told.command:
            return Answer("i-1", None, error=Unavailable("it cannot be decided"))
        return decide(plan, item)

    monkeypatch.setattr(Plan, "_answer", failing)
    jobs = [asked("r-1"), Job([told.item("stream")]), asked("r-2")]
    with closing(PostgresEventStore(stream.database.app_url)) as store:
        committer = Committer(store, DatabaseClock())
        getattr(committer, way)(jobs)
        committer.flush()
    assert [each.answers()[0].code for each in jobs] == ["done", "unavailable", "done"]
    assert stream.charged == 0
