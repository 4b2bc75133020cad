"""Scoring beside the stream: what it settles is scored, and nothing waits for the scoring."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from signal import SIGSTOP, SIGTERM
from typing import Any

import pytest
from tollbook.times import SECOND, format_instant

from adapters.event_store.log_reader import LogReader
from adapters.event_store.store import PostgresEventStore
from adapters.kafka import topics
from adapters.kafka.server import KafkaServer
from adapters.postgres import connect
from application.following import Followed
from application.fraud_watching import score
from application.tollbook import Tollbook
from domain.fraud_commands import FlagCustomer
from domain.fraud_events import FraudFlagged
from entrypoints import streaming
from entrypoints.cli.stream import _told
from entrypoints.fraud_watching import LEAVE_SECONDS, Scoring
from entrypoints.streaming import fraud_standing
from streams import wire
from streams.dead_letters import SUFFIX
from tests.faults.stream_process import StreamWorker
from tests.integration.audit_fixtures import audited
from tests.streams.records import usage_event
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.kafka import send
from tests.support.ledger import a_customer, open_ledger, reserve
from tests.support.receiver import SECRET, receiver

DAY = 86_400 * SECOND
BURST = 150
"""Requests of one minute, where there used to be two."""


Verdict = tuple[str, object, object]


def verdict(flag: FraudFlagged | FlagCustomer) -> Verdict:
    """Return who is flagged, why, and what had been seen by then."""
    return flag.customer, flag.signs, flag.seen


class Streamed:
    """A ledger with a customer, a topic, and workers that settle from it."""

    def __init__(
        self, database: TestDatabase, ledger: Tollbook, kafka: KafkaServer, folder: Path
    ) -> None:
        """Make the topic."""
        self.database, self.ledger, self.kafka = database, ledger, kafka
        self._folder = folder
        self.topic = f"topic-{secrets.token_hex(6)}"
        wanted = {self.topic: 2, self.topic + SUFFIX: 1}
        asyncio.run(topics.make_topics(kafka.address, wanted, 1, 1))
        self.sent = 0

    def worker(self, name: str, **environment: str) -> StreamWorker:
        """Return a worker of this ledger."""
        given = (self.database.owner_url, MASTER_KEY, self.kafka.address, self.topic)
        return StreamWorker(self._folder, name, *given, environment=environment)

    def use(self, times: list[int], customer: str = "cust-1") -> None:
        """Send usage of these times, by Kafka."""
        events = []
        for at in times:
            self.sent += 1
            event = usage_event(f"u-{self.sent}", customer, occurred_at=format_instant(at))
            events.append({**event, "subject": customer})
        some = [events[at : at + 50] for at in range(0, len(events), 50)]
        values = [wire.packed(each) for each in some]
        send(self.kafka.address, self.topic, values, key=customer.encode())

    def probe(self, customer: str) -> None:
        """Ask for models that there are not."""
        for number in range(12):
            refused = reserve(
                self.ledger, f"{customer}-{number}", customer, model=f"m-{number % 5}"
            )
            assert refused.code == "unknown_model"

    def flags(self) -> list[FraudFlagged]:
        """Return whom scoring has flagged, in order."""
        return [each.event for each in self._log() if isinstance(each.event, FraudFlagged)]

    def replayed(self) -> list[Verdict]:
        """Score the log again, from nothing."""
        return [verdict(each.command()) for each in score(self._log(), {})]

    def _log(self) -> list[Followed]:
        with closing(connect(self.database.app_url)) as reading:
            entries = LogReader(reading).after(0, 10_000)
        return [entry for entry, _ in entries if isinstance(entry, Followed)]

    def standing(self) -> dict[str, Any]:
        """Return what `status` tells, without a process for each time that it is asked."""
        return asyncio.run(streaming.standing(self.database.parts, self.kafka.address, self.topic))

    def status(self) -> Any:
        """Ask the command that says how far the stream is."""
        command = [sys.executable, "-m", "tollbook", "stream", "status", "--json"]
        command += ["--kafka", self.kafka.address, "--topic", self.topic]
        command += ["--database", self.database.owner_url]
        done = subprocess.run(command, capture_output=True, check=True, timeout=60)
        return json.loads(done.stdout)


@pytest.fixture
def streamed(
    embedded_database: TestDatabase, kafka: KafkaServer, tmp_path: Path
) -> Iterator[Streamed]:
    with open_ledger(embedded_database) as ledger:
        for customer in ("cust-1", "cust-2", "cust-3"):
            a_customer(ledger, customer)
        yield Streamed(embedded_database, ledger, kafka, tmp_path)


def patiently(is_true: Callable[[], bool]) -> None:
    """Wait for what may take a worker's start, and the end of a killed one's session."""
    end = time.monotonic() + 90
    while not is_true():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.2)


def test_what_the_stream_settles_is_scored_and_told_to_security(streamed: Streamed) -> None:
    """Everything comes by Kafka: quiet days, and then a rate that was never seen before."""
    now = time.time_ns() // 1_000
    quiet = [
        now - days * DAY + number * 3_600 * SECOND for days in (5, 4, 3, 2) for number in (0, 1)
    ]
    burst = [now - 60 * SECOND + number for number in range(BURST)]
    with receiver() as security:
        told = {
            "TOLLBOOK_SECURITY_WEBHOOK_URL": security.url,
            "TOLLBOOK_SECURITY_WEBHOOK_SECRET": SECRET,
        }
        with streamed.worker("worker", **told) as worker:
            patiently(lambda: bool(streamed.database.query("SELECT 1 FROM webhook_cursors")))
            streamed.use(quiet + burst)
            (notice,) = security.wait_for(1)
            patiently(lambda: streamed.standing()["behind"] == 0)
            patiently(lambda: streamed.standing()["fraud"]["behind"] == 0)
            fraud = streamed.status()["fraud"]
            assert worker.stop() == 0
    (flag,) = streamed.flags()
    assert (flag.customer, [code for code, _ in flag.signs or ()]) == ("cust-1", ["rate"])
    assert notice.body["data"]["customer"] == "cust-1"
    assert streamed.replayed() == [verdict(flag)]
    head = streamed.ledger.store.head().position
    notices = {"position": head, "tries": 0, "error": ""}
    assert fraud == {"scored": head, "behind": 0, "scoring": True, "notices": notices}
    assert audited(streamed.database).differences == ()


def test_another_worker_scores_when_the_one_that_did_is_killed(streamed: Streamed) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(streamed.worker(f"worker-{n}")) for n in range(2)]
        for number, customer in enumerate(("cust-1", "cust-2", "cust-3")):
            streamed.probe(customer)
            patiently(lambda: streamed.replayed() == list(map(verdict, streamed.flags())))
            if number < len(workers):
                patiently(workers[number].has_scoring)  # the other may have been faster
                beside = workers[number].beside()
                workers[number].kill()
                patiently(partial(are_over, beside))
        codes = {worker.stop() for worker in workers}
    assert [flag.customer for flag in streamed.flags()] == ["cust-1", "cust-2", "cust-3"]
    # One that was just being started again knows no signal yet.
    assert codes <= {0, -SIGTERM}


def are_over(processes: list[int]) -> bool:
    """Say whether none of these processes lives."""
    return not any(map(lives, processes))


def lives(pid: int) -> bool:
    """Say whether a process is there and is more than its exit status."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_scoring_that_hangs_holds_up_no_settlement_and_no_end(streamed: Streamed) -> None:
    """What stands still is begun again; one that does so at the end is not waited for."""
    now = time.time_ns() // 1_000
    with streamed.worker("worker") as worker:
        patiently(lambda: streamed.standing()["fraud"]["scoring"] is True)
        (scoring,) = worker.beside()
        os.kill(scoring, SIGSTOP)
        streamed.use([now - number for number in range(60)])
        patiently(lambda: streamed.standing()["behind"] == 0)
        assert worker.codes == {}
        streamed.probe("cust-2")
        patiently(lambda: bool(streamed.flags()))
        assert not lives(scoring)
        patiently(lambda: bool(worker.beside()))  # a slow start is taken for another standstill
        (another,) = worker.beside()
        os.kill(another, SIGSTOP)
        assert (worker.stop(), worker.codes) == (0, {0: 1})
        assert not lives(another)
    assert [flag.customer for flag in streamed.flags()] == ["cust-2"]


def test_a_worker_that_is_not_to_score_starts_nothing_beside_it(streamed: Streamed) -> None:
    streamed.probe("cust-1")
    with streamed.worker("worker", TOLLBOOK_FRAUD_SCORING="off") as worker:
        streamed.use([time.time_ns() // 1_000])
        patiently(lambda: streamed.standing()["behind"] == 0)
        assert worker.beside() == []
        assert worker.stop() == 0
    with closing(PostgresEventStore(streamed.database.app_url)) as store:
        fraud = fraud_standing(store)
        assert fraud["behind"] == store.head().position
    assert (fraud["scoring"], fraud["notices"], streamed.flags()) == (False, None, [])


def test_a_topic_that_gets_on_while_it_is_asked_about_is_not_taken_for_one_that_lost_records(
    embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter(range(1, 100))

    async def cluster_id(*_: object) -> str:
        return "cluster"

    async def bounds(*_: object) -> dict[int, topics.Bounds]:
        return {0: topics.Bounds(0, next(moments))}

    monkeypatch.setattr(topics, "cluster_id", cluster_id)
    monkeypatch.setattr(topics, "bounds", bounds)
    monkeypatch.setattr(streaming, "offsets_of", lambda *_: lambda: {0: next(moments)})
    found = asyncio.run(streaming.standing(embedded_database.parts, "nowhere:1", "usage"))
    assert (found["partitions"][0]["settled"], found["behind"]) == (1, 1)


STANDINGS = [
    ((0, True, None), ["0 events of the ledger are not scored yet."]),
    (
        (1_200, False, None),
        ["1,200 events of the ledger are not scored yet.", "Nobody scores now."],
    ),
    ((0, True, (0, "")), ["0 events of the ledger are not scored yet."]),
    (
        (0, True, (3, "answered with 500")),
        [
            "0 events of the ledger are not scored yet.",
            "Security has not taken the next notice in 3 tries: answered with 500",
        ],
    ),
]


@pytest.mark.parametrize(("standing", "lines"), STANDINGS)
def test_what_scoring_and_notices_lack_is_told_to_people(
    standing: tuple[int, bool, tuple[int, str] | None], lines: list[str]
) -> None:
    behind, scoring, tried = standing
    notices = None if tried is None else {"position": 1, "tries": tried[0], "error": tried[1]}
    fraud = {"scored": 1, "behind": behind, "scoring": scoring, "notices": notices}
    found = {"behind": 2, "topic": "usage", "fraud": fraud}
    assert list(_told(found)) == ["2 records of usage are not settled yet.", *lines]


def test_the_end_of_scoring_does_not_wait_for_a_ledger_that_does_not_answer(
    embedded_database: TestDatabase,
) -> None:
    reached, answered = threading.Event(), threading.Event()

    @contextmanager
    def opened() -> Iterator[Tollbook]:
        reached.set()
        answered.wait(LEAVE_SECONDS + 60)
        with open_ledger(embedded_database) as ledger:
            yield ledger

    scoring = Scoring(embedded_database.parts, opened)
    assert reached.wait(30)
    scoring.stop()
    assert not answered.is_set()
    assert scoring._thread.is_alive(), "it was left alone"
    answered.set()
    scoring._thread.join(30)
    assert not scoring._thread.is_alive()
