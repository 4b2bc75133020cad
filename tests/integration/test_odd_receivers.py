"""Receivers that answer nonsense, or slowly: tried again later, and nobody waits for them."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread

import pytest
from tollbook.times import SECOND

from adapters.timed_http import connected
from adapters.webhooks import Webhook, read_secret
from application.notices import ERROR_MAX, FIRST_WAIT, NotDeliveredError, send_next
from entrypoints.bootstrap import Database
from entrypoints.fraud_watching import Notifying
from tests.integration.guarded_ledger import NOON, guarded
from tests.integration.test_fraud_notices import outbox_of
from tests.support.databases import TestDatabase
from tests.support.receiver import SECRET, receiver


@contextmanager
def answering(answer: bytes, pause: float = 0) -> Iterator[str]:
    """Answer every request with these bytes, all at once or with a pause after each of them."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            try:
                for place in range(0, len(answer), 1 if pause else len(answer)):
                    self.request.sendall(answer[place:] if not pause else answer[place : place + 1])
                    time.sleep(pause)
            except OSError:
                return  # the sender has gone

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/hooks"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", "BadStatusLine: \\x15\\x03\\x01\\x00"),
        ("\u00e4".encode() * 3000, "BadStatusLine: \\xc3\\xa4"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000, "LineTooLong: "),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\x00\r\n", "IncompleteRead: "),
        (b"", "RemoteDisconnected: "),
    ],
)
def test_whatever_is_answered_is_no_delivery_and_waits_its_turn(
    embedded_database: TestDatabase, answer: bytes, error: str
) -> None:
    with (
        guarded(embedded_database) as acme,
        outbox_of(embedded_database) as outbox,
        answering(answer) as url,
    ):
        acme.one(NOON, "flag_customer", reason="odd").result()
        now = 1_700_000_000 * SECOND
        to = Webhook(url, read_secret(SECRET), timeout=20)
        assert not send_next(outbox, to.deliver, now)
        cursor = outbox.cursor()
        assert (cursor.tries, cursor.next_at) == (1, now + FIRST_WAIT)
        assert cursor.error.startswith(error)
        assert cursor.error.isascii() and cursor.error.isprintable()
        assert len(cursor.error) <= ERROR_MAX


def test_a_name_that_is_none_is_no_delivery(embedded_database: TestDatabase) -> None:
    """However it came past the check of addresses."""

    def away(_name: str, _timestamp: int, _body: bytes) -> None:
        connection = HTTPConnection("a" * 64, 80)
        with pytest.raises(ValueError, match="label") as refused:
            connected(connection, None, time.monotonic() + 20)
        raise NotDeliveredError(f"\ud800{refused.value}\0")

    with guarded(embedded_database) as acme, outbox_of(embedded_database) as outbox:
        acme.one(NOON, "flag_customer", reason="odd").result()
        assert not send_next(outbox, away, NOON)
        assert outbox.cursor().error.startswith("\\ud800")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 60_000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 60_000,
        b"HTTP/1.1 " + b"2" * 60_000,
    ],
)
def test_an_answer_that_drips_has_no_more_time_than_any_other(answer: bytes) -> None:
    """Each piece comes well within the time, all of them together never."""
    with answering(answer, pause=0.05) as url, pytest.raises(NotDeliveredError, match="timed out"):
        Webhook(url, read_secret(SECRET), timeout=0.5).deliver("msg_1", 1, b"{}")


def test_a_resolver_that_hangs_has_no_more_time_than_any_receiver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No real resolver can be told to hang: its call stands in for it."""
    given_up, is_over = Event(), Event()

    def hang(*_: object, **__: object) -> None:
        given_up.wait(60)
        is_over.set()
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    to = Webhook("https://security.test/hooks", read_secret(SECRET), timeout=0.2)
    begin = time.monotonic()
    with pytest.raises(NotDeliveredError, match="lookup of the name timed out"):
        to.deliver("msg_1", 1, b"{}")
    assert time.monotonic() - begin < 30
    given_up.set()
    assert is_over.wait(60)


def test_who_stops_does_not_wait_for_a_receiver_that_is_slow(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme, receiver() as security:
        url = embedded_database.app_url
        slow = Webhook(security.url, read_secret(SECRET), timeout=30)
        sender = Notifying(Database(url, url, None), slow)
        security.open.clear()
        acme.one(NOON, "flag_customer", reason="odd").result()
        security.wait_for(1)
        sender.stop()
        with outbox_of(embedded_database) as outbox:
            assert outbox.cursor().tries == 0, "the delivery is still under way"
            security.open.set()
            while outbox.cursor().position < acme.ledger.store.head().position:
                time.sleep(0.05)
