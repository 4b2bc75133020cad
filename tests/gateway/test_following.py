"""Following the ledger: what is fenced, and for how long what was heard is good."""

import asyncio
from pathlib import Path

import pytest

from adapters.event_store import news as telling
from adapters.event_store.news import News, ledger_name, news
from adapters.event_store.store import PostgresEventStore
from domain.slicing import ORDINARY
from entrypoints.gateway import following as module
from entrypoints.gateway.following import HEARD_NS, Following
from tests.gateway.rig import Rig

NOW = 1_800_000_000_000_000


class Ledger:
    """A ledger that says what it is told to, and a clock that a test moves."""

    def __init__(self) -> None:
        self.position = 10
        self.said: list[tuple[int, str | None]] = []
        self.clock = "database"
        self.ns = 0
        self.takes_ns = 0
        self.is_whole = True
        self.asked: list[int] = []

    async def ask(self, position: int) -> News:
        self.asked.append(position)
        self.ns += self.takes_ns
        events = [each for each in self.said if each[0] > position]
        return News(self.position, self.clock, NOW + self.ns // 1000, events, self.is_whole)

    def say(self, customer: str | None) -> int:
        self.position += 1
        self.said.append((self.position, customer))
        return self.position


def followed() -> tuple[Ledger, Following]:
    ledger = Ledger()
    follow = Following(ledger.ask, lambda: ledger.ns)
    asyncio.run(follow.step())
    return ledger, follow


def test_what_was_decided_a_little_before_the_first_answer_stands_if_nothing_fenced_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOK_BACK", 4)
    ledger = Ledger()
    ledger.said = [(5, "eve"), (8, "ada")]
    follow = Following(ledger.ask, lambda: ledger.ns)
    asyncio.run(follow.step())
    assert ledger.asked[1:] == [6]
    assert (follow.stands("ada", 8), follow.stands("ada", 9)) == (False, True)
    assert (follow.stands("eve", 6), follow.stands("eve", 7)) == (False, True)


def test_an_event_of_a_customer_fences_that_customer_and_one_of_nobody_everybody() -> None:
    ledger, follow = followed()
    calls: list[int] = []
    follow.fenced.append(lambda: calls.append(1))
    fence = ledger.say("ada")
    asyncio.run(follow.step())
    assert (follow.stands("ada", fence), follow.stands("ada", fence + 1)) == (False, True)
    assert follow.stands("eve", fence)
    everybody = ledger.say(None)
    asyncio.run(follow.step())
    assert not follow.stands("eve", everybody)
    asyncio.run(follow.step())
    assert len(calls) == 2, "where nothing happened nothing is looked at"
    assert ledger.asked[2:] == [10, fence, everybody]


def test_who_is_told_only_a_part_fences_everything() -> None:
    ledger, follow = followed()
    ledger.position, ledger.is_whole = 5_000, False
    asyncio.run(follow.step())
    assert not follow.stands("ada", 5_000)
    assert follow.stands("ada", 5_001)


def test_a_fence_that_is_forgotten_becomes_one_for_everybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CUSTOMERS_MAX", 2)
    ledger, follow = followed()
    fences = [ledger.say(name) for name in ("ada", "eve", "ada", "bob")]
    asyncio.run(follow.step())
    assert not follow.stands("eve", fences[1])
    assert not follow.stands("zoe", fences[1])
    assert follow.stands("zoe", fences[2])
    assert not follow.stands("ada", fences[2])


def test_what_was_heard_is_good_for_a_while_from_when_it_was_asked() -> None:
    ledger, follow = followed()
    ledger.takes_ns = HEARD_NS // 2
    asyncio.run(follow.step())
    assert follow.is_heard()
    ledger.ns += HEARD_NS // 2 - 1
    assert follow.is_heard()
    ledger.ns += 1
    assert not follow.is_heard()


def test_the_ledgers_time_is_known_from_both_sides() -> None:
    ledger, follow = followed()
    ledger.takes_ns = 100_000_000
    asyncio.run(follow.step())
    ledger.ns += 5_000_000
    assert follow.earliest() == NOW + ledger.ns // 1000
    assert follow.latest() == follow.earliest() + 100_000


def test_a_ledger_that_follows_a_trace_is_not_heard() -> None:
    ledger, follow = followed()
    ledger.clock = "trace"
    asyncio.run(follow.step())
    assert not follow.is_heard()


def test_a_ledger_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_SECONDS", 0)
    ledger = Ledger()
    answers = iter([False, True])

    async def until_heard() -> bool:
        again = asyncio.Event()

        async def ask(position: int) -> News:
            if not next(answers, True):
                raise ConnectionError("gone")
            if len(ledger.asked) > 2:
                again.set()
            return await ledger.ask(position)

        follow = Following(ask, lambda: ledger.ns)
        task = asyncio.create_task(follow.run())
        await again.wait()
        task.cancel()
        return follow.is_heard()

    assert asyncio.run(asyncio.wait_for(until_heard(), 10))


def test_the_ledger_tells_what_is_out_of_the_ordinary_and_nothing_else(
    rig: Rig, tmp_path: Path
) -> None:
    store = rig.tollbook.store
    assert isinstance(store, PostgresEventStore)
    before = news(store.run, 2**62, ORDINARY)
    assert (before.events, before.is_whole, before.clock) == ([], True, "database")
    assert before.position == store.head().position
    who = rig.licensee()
    with rig.gateway(tmp_path):
        body = {"id": f"r-{who.license}", "customer": who.customer, "model": "slow"}
        rig.tollbook.run("reserve", {**body, "estimate": {"requests": 1}}).result()
    book = {"id": "other", "currency": "EUR", "effective_from": "2020-01-01T00:00:00Z"}
    models = [{"name": "m", "prices": {"requests": "1"}}]
    rig.tollbook.publish({**book, "models": models}).result()
    found = news(store.run, before.position, ORDINARY)
    told = store.at([position for position, _ in found.events])
    names = [told[position].event.NAME for position, _ in found.events]
    assert names == ["customer_created", "grant_issued", "license_issued", "prices_published"]
    assert [customer for _, customer in found.events] == [*3 * [who.customer], None]
    assert abs(found.now - rig.tollbook.now()) < 60 * 10**6


def test_who_is_far_behind_is_told_that_it_is_not_all(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = rig.tollbook.store
    assert isinstance(store, PostgresEventStore)
    after = store.head().position
    rig.licensee()
    assert news(store.run, after, ORDINARY).is_whole
    monkeypatch.setattr(telling, "EVENTS_MAX", 2)
    assert not news(store.run, after, ORDINARY).is_whole
    monkeypatch.setattr(telling, "BEHIND_MAX", 1)
    found = news(store.run, after, ORDINARY)
    assert (found.events, found.is_whole) == ([], False)


def test_a_ledger_has_a_name_of_its_own(rig: Rig) -> None:
    store = rig.tollbook.store
    assert isinstance(store, PostgresEventStore)
    assert len(ledger_name(store.run)) == 32
    assert ledger_name(lambda *_: []) == "empty"
