"""Scoring in a ledger: who is odd is flagged once, whatever breaks, and a replay says the same."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import pytest

from adapters.event_store.log_reader import LogReader
from adapters.fraud_habits import FraudHabits
from adapters.postgres import connect
from application.following import Followed
from application.fraud_watching import Watched, Watcher, WatchMovedError, score
from domain.fraud_commands import FlagCustomer
from domain.fraud_scoring import RULE
from entrypoints.fraud_watching import flag
from tests.integration.audit_fixtures import audited
from tests.integration.guarded_ledger import HOUR, NOON, SECOND, Guarded, guarded
from tests.support.databases import TestDatabase


def probing(acme: Guarded, at: int, tries: int = 12) -> None:
    """Ask for models that there are not."""
    for number in range(tries):
        refused = acme.reserve(at + number * SECOND, model=f"model-{number % 5}")
        assert refused.code == "unknown_model"


@contextmanager
def watching(
    database: TestDatabase, acme: Guarded, store: type[FraudHabits] = FraudHabits
) -> Iterator[Watcher]:
    """Open a watcher with nothing in memory."""
    with (
        closing(connect(database.app_url)) as keeping,
        closing(connect(database.app_url)) as reading,
    ):
        habits = store(keeping)
        assert habits.lead()
        yield Watcher(LogReader(reading), habits, lambda commands: flag(acme.ledger, commands))


def watched(database: TestDatabase, acme: Guarded, limit: int = 1_000) -> None:
    """Score everything that there is."""
    with watching(database, acme) as watcher:
        while watcher.step(limit):
            pass


def test_probing_is_flagged_once_with_its_signs_and_nobody_is_blocked(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        probing(acme, NOON)
        watched(embedded_database, acme)
        (flagged,) = acme.events("fraud_flagged")
        refusals = acme.events("command_refused")
        assert flagged.event.signs == (("probing", 55),)
        assert flagged.event.reason == "the score is 55: probing 55"
        assert (flagged.event.score, flagged.event.rule) == (55, RULE)
        assert flagged.event.seen == refusals[9].position, "ten refusals are enough"
        assert (flagged.actor, flagged.command) == (
            "scoring",
            f"score-{RULE}-{flagged.event.seen}",
        )
        acme.reserve(NOON + 60 * SECOND).result()
        watched(embedded_database, acme)
        assert len(acme.events("fraud_flagged")) == 1
    assert audited(embedded_database).differences == ()


def test_probing_through_pipelines_is_flagged_as_well(embedded_database: TestDatabase) -> None:
    with guarded(embedded_database) as acme:
        for number in range(5):
            stage = {"name": "a", "model": f"model-{number}", "estimate": {"requests": 1}}
            body = {"id": f"p{number}", "pipeline": f"p{number}", "stages": [stage]}
            acme.send(NOON, ("publish_pipeline", body))[0].result()
        for number in range(12):
            at = NOON + number * SECOND
            refused = acme.one(at, "reserve_pipeline", pipeline=f"p{number % 5}")
            assert refused.code == "unknown_model"
        watched(embedded_database, acme)
        (flagged,) = acme.events("fraud_flagged")
        assert flagged.event.signs == (("probing", 55),)


@pytest.mark.parametrize("limit", [1, 7, 1_000])
def test_replaying_the_log_comes_to_the_flags_that_stand_in_it(
    embedded_database: TestDatabase, limit: int
) -> None:
    """However the log is cut into pieces, and with a new watcher for each of them."""
    with guarded(embedded_database) as acme:
        probing(acme, NOON)
        while True:
            with watching(embedded_database, acme) as watcher:
                if not watcher.step(limit):
                    break
        case = acme.balance().case
        assert case is not None
        acme.one(NOON + HOUR, "clear_case", case="acme.1", reason="a test").result()
        probing(acme, NOON + 3 * HOUR)
        watched(embedded_database, acme, limit)
        flags = [each.event for each in acme.events("fraud_flagged")]
        assert [each.case for each in flags] == ["acme.1", "acme.2"]
        with closing(connect(embedded_database.app_url)) as reading:
            entries = LogReader(reading).after(0, 10_000)
        events = [entry for entry, _ in entries if isinstance(entry, Followed)]
        for _ in range(2):
            commands = [each.command() for each in score(events, {})]
            found = [(each.customer, each.score, each.signs, each.seen) for each in commands]
            assert found == [(each.customer, each.score, each.signs, each.seen) for each in flags]


class Crashing(FraudHabits):
    """Loses what was scored, after the flags were decided."""

    def save(self, before: Watched, after: Watched, habits: Mapping[str, str]) -> None:
        raise RuntimeError("killed")


def test_a_crash_after_the_flag_flags_nobody_twice(embedded_database: TestDatabase) -> None:
    with guarded(embedded_database) as acme:
        probing(acme, NOON)
        with (
            watching(embedded_database, acme, Crashing) as watcher,
            pytest.raises(RuntimeError, match="killed"),
        ):
            watcher.step()
        assert len(acme.events("fraud_flagged")) == 1
        watched(embedded_database, acme)
        assert len(acme.events("fraud_flagged")) == 1
        assert [each.name for each in acme.events("command_refused")][12:] == []


def test_a_flag_that_could_not_be_decided_is_decided_later(embedded_database: TestDatabase) -> None:
    def away(_commands: Sequence[FlagCustomer]) -> None:
        raise RuntimeError("the ledger is away")

    with guarded(embedded_database) as acme:
        probing(acme, NOON)
        with (
            closing(connect(embedded_database.app_url)) as keeping,
            closing(connect(embedded_database.app_url)) as reading,
        ):
            watcher = Watcher(LogReader(reading), FraudHabits(keeping), away)
            with pytest.raises(RuntimeError, match="away"):
                watcher.step()
        watched(embedded_database, acme)
        assert len(acme.events("fraud_flagged")) == 1


def test_new_rules_score_the_past_again_and_flag_nobody_for_it(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        probing(acme, NOON)
        head = acme.ledger.store.head().position
        embedded_database.query(
            "UPDATE fraud_watch SET rule = 999, position = %s RETURNING 1", head
        )
        watched(embedded_database, acme)
        assert acme.events("fraud_flagged") == []
        assert embedded_database.query("SELECT rule, silent_until FROM fraud_watch") == [
            (RULE, head)
        ]
        probing(acme, NOON + 30 * HOUR)
        watched(embedded_database, acme)
        assert len(acme.events("fraud_flagged")) == 1


def test_one_scores_at_a_time_and_who_was_overtaken_begins_again(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme, watching(embedded_database, acme) as slow:
        assert slow.step(1) == 1
        with closing(connect(embedded_database.app_url)) as other:
            assert not FraudHabits(other).lead()
            fast = Watcher(
                LogReader(other), FraudHabits(other), lambda commands: flag(acme.ledger, commands)
            )
            assert fast.step(1) == 1
        with pytest.raises(WatchMovedError):
            slow.step(1)
        assert slow.step(1_000) > 0
        assert slow.step(1_000) == 0
