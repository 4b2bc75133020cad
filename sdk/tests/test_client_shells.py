"""Both clients over real sockets, against a server that loses answers and cuts connections.

One suite of scenarios (see conftest.py): both clients must do the same in each.
"""

import logging
import re
import socket
import ssl
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tollbook.client import Money, UsageRecord
from tollbook.errors import Conflict, Refused, TollbookError, Unavailable, Unknown

from sdk.tests.ledger_server import ANSWERED, KEY, LedgerServer

USAGE = {"input_tokens": 3}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NETWORK = ["cut before", "answer lost"]


@pytest.mark.parametrize("fault", [*NETWORK, *(each for each in ANSWERED if "unauth" not in each)])
def test_a_command_has_one_effect_whatever_happens_to_its_first_tries(
    server: LedgerServer, client: Any, fault: str
) -> None:
    server.faults = [fault, fault]
    assert client.settle("r-1", USAGE).charged == Money.of("1", "USD")
    assert len(server.tries) == 3
    assert len({body for _, _, body in server.tries}) == 1
    assert set(server.effects.values()) == {1}


def test_many_faults_in_a_row_still_make_one_effect(server: LedgerServer, client: Any) -> None:
    server.faults = ["answer lost", "overloaded", "proxy, done", "cut before", "unknown, done"]
    hold = client.reserve("ada", "small", USAGE, id="r-1")
    assert hold.id == "r-1"
    assert server.effects == {"r-1": 1}


def test_a_slow_answer_is_given_up_and_asked_for_again(
    server: LedgerServer, open_client: Any
) -> None:
    server.faults = ["slow"]
    open_client(timeout=0.2, deadline=20).release("r-1", id="x-1")
    assert [len(server.tries), server.effects["x-1"]] == [2, 1]


def test_an_answer_that_drips_is_given_up_and_asked_for_again(
    server: LedgerServer, open_client: Any
) -> None:
    """Each of its pieces comes in time; the whole does not."""
    server.faults = ["dripping"]
    open_client(timeout=0.3, deadline=20).settle("r-1", USAGE, id="x-1")
    assert [len(server.tries), server.effects["x-1"]] == [2, 1]


@pytest.mark.parametrize("fault", ["answer lost", "proxy, done", "unknown, done"])
def test_an_outcome_that_stays_unknown_is_raised_with_the_id_to_ask_by(
    server: LedgerServer, open_client: Any, fault: str
) -> None:
    server.faults = [fault] * 1000
    with pytest.raises(Unknown) as caught:
        open_client(deadline=0.4).settle("r-1", USAGE, id="x-1")
    assert caught.value.facts["id"] == "x-1"
    server.faults = []
    again = open_client(deadline=20).settle("r-1", USAGE, id="x-1")
    assert (again.id, server.effects["x-1"]) == ("x-1", 1)


def test_a_server_that_is_not_there_is_told_at_once_and_unavailable_in_the_end(
    server: LedgerServer, open_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.shutdown()
    server.server_close()
    with socket.socket() as nobody:  # who has the port and does not listen: else others might
        nobody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        nobody.bind(("127.0.0.1", server.server_address[1]))
        with pytest.raises(Unavailable, match=server.url):
            open_client(deadline=1.5).reserve("ada", "small", USAGE)
    told = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert [each.name for each in told] == ["tollbook.client"]
    assert server.url in told[0].getMessage()
    assert re.search(r"; trying again for 1\.[0-5] s at most$", told[0].getMessage())


def test_a_refusal_is_raised_once_and_as_it_is(server: LedgerServer, client: Any) -> None:
    problem = {"code": "insufficient_balance", "detail": "too little", "available": "1"}
    server.refusals["/v1/reservations"] = 402, problem
    with pytest.raises(Refused, match="too little") as caught:
        client.reserve("ada", "small", USAGE)
    assert caught.value.code == "insufficient_balance"
    assert caught.value.facts["available"] == "1"
    assert len(server.tries) == 1


def test_the_same_id_with_another_body_is_a_conflict(server: LedgerServer, client: Any) -> None:
    client.settle("r-1", USAGE, id="x-1")
    with pytest.raises(Conflict) as caught:
        client.settle("r-1", {"input_tokens": 4}, id="x-1")
    assert (caught.value.code, caught.value.facts["field"]) == ("id_reused", "usage")


def test_a_rejected_key_after_a_lost_answer_leaves_the_outcome_unknown(
    server: LedgerServer, client: Any
) -> None:
    server.faults = ["answer lost", "unauthorized"]
    with pytest.raises(Unknown):
        client.release("r-1")


def test_commands_made_at_once_have_ids_of_their_own(server: LedgerServer, client: Any) -> None:
    for _ in range(20):
        client.reserve("ada", "small", USAGE)
    assert len(server.effects) == 20
    assert list(server.done) == sorted(server.done, key=lambda name: name[:14])


def records(count: int) -> list[UsageRecord]:
    """Make usage records of one source."""
    fixed: dict[str, Any] = {"source": "gw", "customer": "ada", "model": "small", "usage": USAGE}
    return [UsageRecord(**fixed, id=f"u{n}", occurred_at=NOON) for n in range(count)]


def test_usage_travels_in_chunks_and_each_record_has_one_effect(
    server: LedgerServer, client: Any
) -> None:
    server.faults = ["answer lost", "", "proxy, done"]
    results = client.usage(records(2500))
    assert [each.id for each in results] == [f"u{n}" for n in range(2500)]
    assert Counter(each.status for each in results) == {"duplicate": 2000, "accepted": 500}
    assert set(server.effects.values()) == {1}
    assert len(server.tries) == 5


def test_no_usage_sends_nothing(server: LedgerServer, client: Any) -> None:
    assert (client.usage([]), server.tries) == ([], [])


def test_a_batch_answers_one_by_one_and_repeats_with_the_same_ids(
    server: LedgerServer, client: Any
) -> None:
    server.faults = ["answer lost"]
    reserve = {"kind": "reserve", "customer": "ada", "model": "small", "estimate": USAGE}
    done = client.commands([reserve, {**reserve, "id": "mine"}])
    assert [each.status for each in done] == ["done", "done"]
    assert done[1].done().held == Money.of(1, "USD")
    assert done[0].id.startswith("rsv_")
    assert set(server.effects.values()) == {1}
    assert len(server.effects) == 2


def test_a_list_follows_its_pages_to_the_end(server: LedgerServer, client: Any) -> None:
    event: dict[str, Any] = {
        **dict.fromkeys(("name", "stream", "actor", "leaf"), "x"),
        **dict.fromkeys(("customer", "customer_sequence", "command")),
        **dict.fromkeys(("version", "stream_version"), 1),
        "occurred_at": "2026-01-01T00:00:00Z",
        "recorded_at": "2026-01-01T00:00:00.000001Z",
        "data": {},
    }
    path = "/v1/events?limit=2&after="
    for after, following in ((0, 2), (2, 4)):
        both = [{**event, "position": after + 1}, {**event, "position": after + 2}]
        server.documents[f"{path}{after}"] = {"events": both, "next": following}
    server.documents[f"{path}4"] = {"events": [{**event, "position": 5}], "next": None}
    server.faults = ["cut before", "", "overloaded"]
    found = list(client.events(limit=2))
    assert [each.position for each in found] == [1, 2, 3, 4, 5]
    assert found[0].recorded_at == datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)


def test_the_key_shows_nowhere(
    server: LedgerServer, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.faults = ["answer lost", "unauthorized"]
    shown = [repr(client), str(vars(client))]
    with pytest.raises(TollbookError) as caught:
        client.balance("ada")
    shown += [str(caught.value.problem()), repr(caught.value.__cause__), caplog.text]
    assert not [text for text in shown if KEY in text]


def test_redirects_are_not_followed(server: LedgerServer, client: Any) -> None:
    """Another host would be given the key."""
    server.refusals["/v1/reservations/r-1/release"] = 307, {}
    with pytest.raises(TollbookError) as caught:
        client.release("r-1")
    assert caught.value.code == "unexpected_answer"
    assert len(server.tries) == 1


@pytest.fixture
def encrypting(server: LedgerServer, tmp_path: Path) -> LedgerServer:
    """Let the server speak TLS with a certificate that nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    now = datetime.now(UTC)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(hours=1))
    own = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    file = tmp_path / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + own)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.url = server.url.replace("http:", "https:")
    return server


def test_a_server_that_cannot_prove_itself_gets_neither_key_nor_second_try(
    encrypting: LedgerServer, client: Any
) -> None:
    with pytest.raises(Unavailable, match="certificate") as caught:
        client.release("r-1")
    assert encrypting.tries == []
    assert encrypting.connections == 1
    assert caught.value.code == "unavailable"
