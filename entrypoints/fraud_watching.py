"""Fraud in the background: a thread that scores the log, and one that tells security of it.

Any number of processes may run them: one of all scores, and one delivers; the others stand by.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path

from tollbook.errors import Invalid, TollbookError, Unavailable, Unknown

from adapters.event_store.log_reader import LogReader
from adapters.event_store.store import APPLICATION_ROLE
from adapters.fraud_habits import FraudHabits
from adapters.postgres import Connection, connect
from adapters.webhook_outbox import WebhookOutbox
from adapters.webhooks import Webhook, read_secret
from application.following import TooNew
from application.fraud_watching import Watcher
from application.jobs import Item
from application.notices import NotDeliveredError, send_next
from application.tollbook import Tollbook
from domain.fraud_commands import FlagCustomer
from entrypoints.bootstrap import Database

ACTOR = "scoring"
SECURITY = "security"
"""The name of the receiver of fraud notices."""

IDLE_SECONDS = 0.5
STANDBY_SECONDS = 2.0
FLAG_SECONDS = 60.0
LEAVE_SECONDS = 2.0
"""So long what is under way is waited for: another does it again, under the same id."""
RESTS = 3
"""So many times as long as the work took is the rest after it: whoever serves comes first."""

Opened = Callable[[], AbstractContextManager[Tollbook]]
"""Opens the ledger for commands; whoever stands by needs no more than one connection."""

_log = logging.getLogger("tollbook.fraud")


def scores(environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether this process is to score, by `TOLLBOOK_FRAUD_SCORING`; raises Invalid."""
    chosen = environment.get("TOLLBOOK_FRAUD_SCORING") or "on"
    if chosen not in ("on", "off"):
        raise Invalid.because("TOLLBOOK_FRAUD_SCORING", chosen, "on or off")
    return chosen == "on"


def security_webhook(environment: Mapping[str, str] = os.environ) -> Webhook | None:
    """Return where notices go, by the environment, or None; raises Invalid for half of it.

    `TOLLBOOK_SECURITY_WEBHOOK_URL` is the receiver's address; its secret is in
    `TOLLBOOK_SECURITY_WEBHOOK_SECRET`, or in the file `TOLLBOOK_SECURITY_WEBHOOK_SECRET_FILE`.
    """
    url = environment.get("TOLLBOOK_SECURITY_WEBHOOK_URL")
    secret = environment.get("TOLLBOOK_SECURITY_WEBHOOK_SECRET")
    file = environment.get("TOLLBOOK_SECURITY_WEBHOOK_SECRET_FILE")
    if not url:
        if secret or file:
            rule = "given where its secret is"
            raise Invalid.because("TOLLBOOK_SECURITY_WEBHOOK_URL", None, rule)
        return None
    if bool(secret) == bool(file):
        rule = "given, here or in the file TOLLBOOK_SECURITY_WEBHOOK_SECRET_FILE, and not twice"
        raise Invalid.because("TOLLBOOK_SECURITY_WEBHOOK_SECRET", None, rule)
    if file:
        try:
            secret = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            detail = f"TOLLBOOK_SECURITY_WEBHOOK_SECRET_FILE cannot be read: {error}"
            raise Unavailable(detail) from None
    return Webhook(url, read_secret(secret or ""))


class _Thread:
    """A thread that does something again and again until it is stopped."""

    def __init__(self, database: Database, name: str) -> None:
        """Begin at once; `stop` ends it."""
        self._database = database
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after what is under way, or without it when that takes too long."""
        self._stop.set()
        self._thread.join(LEAVE_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with closing(connect(self._database.app_url, role=APPLICATION_ROLE)) as connection:
                    self._work(connection)
            except TooNew as error:
                _log.error("%s ends: %s", self._thread.name, error)
                return
            except TollbookError as error:
                _log.warning("%s was put off: %s", self._thread.name, error)
            except Exception:  # noqa: BLE001 - whatever it is, the next time may go better
                _log.exception("%s failed; it tries again", self._thread.name)
            self._stop.wait(STANDBY_SECONDS)

    def _work(self, connection: Connection) -> None:
        raise NotImplementedError


class Scoring(_Thread):
    """Scores the log as it grows, and flags who is odd."""

    def __init__(self, database: Database, opened: Opened) -> None:
        """Flag through the ledger's own commands, once this process is the one that scores."""
        self._opened = opened
        super().__init__(database, "fraud-scoring")

    def _work(self, connection: Connection) -> None:
        store = FraudHabits(connection)
        if not store.lead():
            return
        with (
            self._opened() as tollbook,
            closing(connect(self._database.app_url, role=APPLICATION_ROLE)) as reading,
        ):
            watcher = Watcher(LogReader(reading), store, partial(flag, tollbook))
            while not self._stop.is_set():
                begin = time.monotonic()
                seen = watcher.step()
                rest = RESTS * (time.monotonic() - begin)
                self._stop.wait(rest if seen else max(rest, IDLE_SECONDS))


def flag(tollbook: Tollbook, commands: Sequence[FlagCustomer]) -> None:
    """Have the ledger decide flags; raises what kept it from deciding one."""
    items = [Item(command, ACTOR) for command in commands]
    for answer in tollbook.executor.execute(items, timeout=FLAG_SECONDS):
        if isinstance(answer.error, Unavailable | Unknown):
            raise answer.error
        if answer.error is not None:
            _log.error("the flag %s was not taken: %s", answer.id, answer.error)
        elif not answer.repeated:
            _log.warning("flagged %s", answer.result()["customer"])


class Notifying(_Thread):
    """Delivers a signed notice of each flag and verdict, in order."""

    def __init__(self, database: Database, webhook: Webhook) -> None:
        """Deliver to one receiver what happens from its first start on."""
        self._webhook = webhook
        with closing(connect(database.app_url, role=APPLICATION_ROLE)) as connection:
            WebhookOutbox(connection, SECURITY).cursor()
        super().__init__(database, "fraud-notices")

    def _work(self, connection: Connection) -> None:
        outbox = WebhookOutbox(connection, SECURITY)
        if not outbox.lead():
            return
        while not self._stop.is_set():
            more = send_next(outbox, self._deliver, outbox.now())
            if not more:
                self._stop.wait(IDLE_SECONDS)

    def _deliver(self, name: str, timestamp: int, body: bytes) -> None:
        try:
            self._webhook.deliver(name, timestamp, body)
        except NotDeliveredError:
            # What the receiver answers is no matter for a log; the cursor keeps it.
            _log.warning("security has not taken %s; it is tried again", name)
            raise
