"""Notices to security: signed, in order, tried until they arrive, the same id on each try."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tollbook.errors import Invalid
from tollbook.times import SECOND

from adapters.postgres import connect
from adapters.webhook_outbox import WebhookOutbox
from adapters.webhooks import Webhook, check_url, read_secret, signature
from application.notices import FIRST_WAIT, LONGEST_WAIT, send_next
from entrypoints.fraud_watching import SECURITY, scores, security_webhook
from tests.integration.guarded_ledger import HOUR, MINUTE, NOON, Guarded, guarded
from tests.support.databases import TestDatabase
from tests.support.receiver import SECRET, SECRET_BYTES, Receiver, receiver

PROCESS = """
import sys, time
from entrypoints.bootstrap import Database
from entrypoints.fraud_watching import Notifying, security_webhook
Notifying(Database(sys.argv[1], sys.argv[1], None), security_webhook())
print("ready", flush=True)
time.sleep(600)
"""


@contextmanager
def outbox_of(database: TestDatabase) -> Iterator[WebhookOutbox]:
    """Open the outbox of security; the first time, it begins where the ledger stands."""
    with closing(connect(database.app_url)) as connection:
        outbox = WebhookOutbox(connection, SECURITY)
        outbox.cursor()
        yield outbox


def webhook(to: Receiver) -> Webhook:
    """Return the webhook of a receiver."""
    return Webhook(to.url, read_secret(SECRET), timeout=5)


def story(acme: Guarded) -> None:
    """Let a case be flagged by the rule, confirmed, and cleared."""
    acme.use(NOON, 1).result()
    acme.use(NOON + HOUR + 5 * MINUTE, 1001).result()
    at = NOON + 2 * HOUR
    acme.one(at, "confirm_case", case="acme.1", reason="stolen").result()
    acme.one(at + 1, "clear_case", case="acme.1", reason="it was not").result()


def test_security_is_told_of_each_flag_and_verdict_in_order(
    embedded_database: TestDatabase,
) -> None:
    with (
        guarded(embedded_database) as acme,
        receiver() as security,
        outbox_of(embedded_database) as outbox,
    ):
        story(acme)
        now = 1_700_000_000 * SECOND
        while send_next(outbox, webhook(security).deliver, now):
            pass
        assert [each.body["type"] for each in security.received] == [
            *("fraud.flagged", "fraud.confirmed", "fraud.cleared"),
        ]
        assert security.wrong == []
        flagged, _, cleared = (each.body["data"] for each in security.received)
        assert (flagged["event"], flagged["customer"]) == ("account_blocked", "acme")
        assert (flagged["recent"], cleared["unblocked"]) == (1001, True)
        assert {each.timestamp for each in security.received} == {1_700_000_000}
        assert len({each.id for each in security.received}) == 3
        assert outbox.cursor().position == acme.ledger.store.head().position
        assert not send_next(outbox, webhook(security).deliver, now)


def test_what_is_not_taken_is_tried_later_and_later_under_the_same_id(
    embedded_database: TestDatabase,
) -> None:
    with (
        guarded(embedded_database) as acme,
        receiver() as security,
        outbox_of(embedded_database) as outbox,
    ):
        story(acme)
        security.status = 500
        now, waits = 1_700_000_000 * SECOND, []
        for _ in range(14):
            assert not send_next(outbox, webhook(security).deliver, now)
            cursor = outbox.cursor()
            assert cursor.error == "answered with 500"
            waits.append(cursor.next_at - now)
            assert not send_next(outbox, webhook(security).deliver, cursor.next_at - 1)
            now = cursor.next_at
        assert waits[:3] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
        assert waits[-1] == LONGEST_WAIT
        assert len({each.id for each in security.received}) == 1, "those behind it wait"
        assert len(security.received) == 14
        security.status = 204
        while send_next(outbox, webhook(security).deliver, now):
            pass
        assert len({each.id for each in security.received}) == 3
        assert outbox.cursor().tries == 0


def test_a_new_receiver_is_told_nothing_of_the_past(embedded_database: TestDatabase) -> None:
    with guarded(embedded_database) as acme, receiver() as security:
        story(acme)
        with outbox_of(embedded_database) as outbox:
            assert not send_next(outbox, webhook(security).deliver, 0)
        assert security.received == []


def test_a_sender_that_is_killed_sends_again_under_the_same_id(
    embedded_database: TestDatabase,
) -> None:
    environment = {
        "TOLLBOOK_SECURITY_WEBHOOK_SECRET": SECRET,
        "PYTHONPATH": ":".join(filter(None, sys.path)),
    }
    with guarded(embedded_database) as acme, receiver() as security:
        environment["TOLLBOOK_SECURITY_WEBHOOK_URL"] = security.url
        for count in (1, 2):
            with sender(embedded_database, environment) as process:
                if count == 1:
                    security.open.clear()
                    acme.one(NOON, "flag_customer", reason="odd").result()
                    security.wait_for(1)
                    process.kill()
                    process.wait(30)
                    security.open.set()
                else:
                    security.wait_for(2)
        first, second = security.received[:2]
        assert (first.id, first.body) == (second.id, second.body)
        assert security.wrong == []


@contextmanager
def sender(database: TestDatabase, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a sender as a process of its own, which is killed at the end of the block."""
    command = [sys.executable, "-c", PROCESS, database.app_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of its specification."""
    secret = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://security.example/hooks", True),
        ("https://security.example:8443", True),
        ("http://127.0.0.1:9000/hooks", True),
        ("http://[::1]/hooks", True),
        ("http://localhost:9000/", True),
        ("http://security.example/hooks", False),
        ("http://127.0.0.1.example/hooks", False),
        ("http://10.0.0.1/", False),
        ("https://user:word@security.example/", False),
        ("https://security.example/?a=1", False),
        ("https://security.example/#a", False),
        ("https:///hooks", False),
        ("https://security.example:0/", False),
        ("https://security.example:99999/", False),
        ("https://security.example/a b", False),
        ("https://security.example/\r\nx: y", False),
        ("ftp://security.example/", False),
        (f"https://{'a' * 63}.example./", True),
        (f"https://{'a' * 64}.example/", False),
        (f"https://{'a.' * 130}example/", False),
        ("https://security..example/", False),
        ("https://.example/", False),
        ("https://./", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
def test_an_address_has_tls_or_is_on_this_machine(url: str, good: bool) -> None:
    if good:
        check_url(url)
        return
    with pytest.raises(Invalid) as refused:
        check_url(url)
    assert "word" not in str(refused.value.facts)


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_???", SECRET.removeprefix("whsec_"), "whsec_YQ=="]
)
def test_a_secret_of_another_form_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_secret(text)
    assert refused.value.facts["value"] == "None"


def test_the_environment_names_the_receiver_and_its_secret(tmp_path: Path) -> None:
    url, name = "https://security.example/hooks", "TOLLBOOK_SECURITY_WEBHOOK"
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    assert security_webhook({}) is None
    for found in (
        security_webhook({f"{name}_URL": url, f"{name}_SECRET": SECRET}),
        security_webhook({f"{name}_URL": url, f"{name}_SECRET_FILE": str(file)}),
    ):
        assert found == Webhook(url, SECRET_BYTES)
        assert "secret" not in repr(found)
    for more in ({}, {f"{name}_SECRET": SECRET, f"{name}_SECRET_FILE": str(file)}):
        with pytest.raises(Invalid):
            security_webhook({f"{name}_URL": url, **more})
    for half in ({f"{name}_SECRET": SECRET}, {f"{name}_SECRET_FILE": str(file)}):
        with pytest.raises(Invalid) as refused:
            security_webhook(half)
        assert refused.value.facts["field"] == f"{name}_URL"
    assert (scores({}), scores({"TOLLBOOK_FRAUD_SCORING": "off"})) == (True, False)
    with pytest.raises(Invalid):
        scores({"TOLLBOOK_FRAUD_SCORING": "maybe"})
