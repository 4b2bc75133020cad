"""`tollbook serve` and `tollbook keys`: the start, the keys, and the stop, as users see them."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.embedded_postgres.server import join
from tests.support.databases import fresh_database
from tests.support.serve_process import ServeProcess, serve_process
from tests.support.servers import plain_server
from tests.support.shell import Shell, run_tollbook

BOUND_SECONDS = 60
"""How long a test waits for what takes a second."""


def bearer(key: str | None) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"Authorization": f"Bearer {key}"}


def status_of(served: ServeProcess, key: str | None) -> int:
    """Ask for something that every staff key may read."""
    return httpx.get(f"{served.url}/v1/prices", headers=bearer(key), timeout=20).status_code


def takes_connections(host: str, port: int) -> bool:
    """Say whether somebody listens."""
    try:
        socket.create_connection((host, port), 20).close()
    except OSError:
        return False
    return True


def becomes(status: int, served: ServeProcess, key: str) -> bool:
    """Wait until the server has heard of what became of a key."""
    until = time.monotonic() + BOUND_SECONDS
    while status_of(served, key) != status:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_the_first_start_shows_an_admin_key_and_no_other_does(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with serve_process(folder, environment={"TOLLBOOK_LOG_LEVEL": "debug"}) as first:
        assert first.admin_key is not None
        assert status_of(first, first.admin_key) == 200
        assert httpx.get(f"{first.url}/readyz").json()["status"] == "ready"
        assert httpx.get(f"{first.url}/openapi.json").json()["openapi"].startswith("3.1")
        made = Shell(folder).json("keys", "create", "--role", "auditor", "--note", "for Eve")
        assert becomes(200, first, made["key"])
    log = (tmp_path / "ledger.serve.log").read_text("utf-8")
    assert log
    with serve_process(folder, environment={"TOLLBOOK_LOG_LEVEL": "debug"}) as second:
        assert second.admin_key is None
        assert status_of(second, first.admin_key) == 200
        assert status_of(second, made["key"]) == 200
        listed = Shell(folder).json("keys", "list")["keys"]
        assert {each["role"]: each["note"] for each in listed} == {
            "admin": "made at the first start",
            "auditor": "for Eve",
        }
        Shell(folder).json("keys", "revoke", made["id"])
        assert becomes(401, second, made["key"])
        assert status_of(second, first.admin_key) == 200
    log = (tmp_path / "ledger.serve.log").read_text("utf-8")
    for key in (first.admin_key, made["key"]):
        secret = key.split("_")[3]
        assert secret not in log
        assert secret not in json.dumps(listed)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("keys", "create", "--role", "root"), 2, "one of admin"),
        (
            ("keys", "create", "--role", "customer"),
            2,
            "customer is missing: must be a customer's id",
        ),
        (("keys", "create", "--role", "customer", "--customer", "nobody"), 2, "no customer"),
        (("keys", "revoke", "aaaaaaaaaaaa"), 2, "no API key"),
    ],
)
def test_a_key_that_cannot_be_made_or_found_is_said_in_words(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    server = join(tmp_path / "ledger")
    try:
        ended = Shell(tmp_path / "ledger").run(*arguments, "--json")
    finally:
        server.leave()
    assert ended.code == code
    assert words in json.loads(ended.out)["detail"]


def test_a_port_that_is_taken_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run_tollbook("serve", "--data", str(tmp_path / "ledger"), "--port", port)
    assert ended.code == 4
    assert f"127.0.0.1 port {port} is not to be had: something listens there already" in ended.err
    assert "--port" in ended.err
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_is_none_is_wrong_usage(tmp_path: Path, port: str) -> None:
    assert run_tollbook("serve", "--data", str(tmp_path), f"--port={port}").code == 2


def test_without_a_master_key_a_plain_database_is_not_served(pytestconfig: pytest.Config) -> None:
    with fresh_database(plain_server(pytestconfig)) as made:
        ended = run_tollbook("serve", "--database", made.owner_url, "--port", "0", "--json")
    assert ended.code == 4
    assert "TOLLBOOK_MASTER_KEY_FILE" in json.loads(ended.out)["detail"]


def test_a_setting_that_makes_no_sense_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLBOOK_RATE_REQUESTS", "fast")
    ended = run_tollbook("serve", "--data", str(tmp_path / "ledger"), "--port", "0", "--json")
    assert ended.code == 2
    assert "TOLLBOOK_RATE_REQUESTS" in json.loads(ended.out)["detail"]


def started(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start a server as a person does, without `--json`."""
    command = [sys.executable, "-m", "tollbook", "serve", "--data", str(folder), "--port", "0"]
    return subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TOLLBOOK_LOG_LEVEL": "warning"},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_person_reads_where_it_listens_and_a_signal_ends_it_well(
    tmp_path: Path, number: signal.Signals
) -> None:
    with started(tmp_path / "ledger") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "http://127.0.0.1:" in lines[0]
    assert "tb_admin_" in lines[-1]
    assert errors == ""


def test_who_listens_for_others_is_told_to_put_tls_in_front(tmp_path: Path) -> None:
    with started(tmp_path / "ledger", "--host", "0.0.0.0") as process:  # noqa: S104 - the point
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert "TLS" in errors


def test_what_is_under_way_at_the_stop_is_answered(tmp_path: Path) -> None:
    """A request whose body is still coming when the signal comes is served to its end."""
    folder = tmp_path / "ledger"
    with serve_process(folder) as served:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 20) as connection:
            body = json.dumps({"id": "late", "name": "N", "currency": "USD"}).encode()
            head = (
                f"POST /v1/customers HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
                f"Content-Type: application/json\r\nAuthorization: Bearer {served.admin_key}\r\n"
            )
            connection.sendall(head.encode() + b"\r\n" + body[:5])
            time.sleep(1)
            served.process.terminate()
            until = time.monotonic() + BOUND_SECONDS
            while takes_connections(host, int(port)):
                assert time.monotonic() < until, "it does not stop"
                time.sleep(0.05)
            connection.sendall(body[5:])
            answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 201"), answer
        assert b"connection: close" in answer.lower()
        assert served.process.wait(60) == 0
    assert Shell(folder).json("customers", "show", "late")["id"] == "late"


def test_rates_hold_over_the_socket(tmp_path: Path) -> None:
    environment = {
        "TOLLBOOK_RATE_REQUESTS": "5",
        "TOLLBOOK_RATE_COMMANDS": "50",
        "TOLLBOOK_RATE_REFUSED": "5",
    }
    with (
        serve_process(tmp_path / "ledger", environment=environment) as served,
        httpx.Client(base_url=served.url, headers=bearer(served.admin_key)) as client,
    ):
        answers = [client.get("/v1/prices") for _ in range(40)]
        limited = [each for each in answers if each.status_code == 429]
        assert limited
        assert {each.status_code for each in answers} == {200, 429}
        assert all(int(each.headers["retry-after"]) >= 1 for each in limited)
        assert limited[0].json()["code"] == "rate_limited"
        with httpx.Client(base_url=served.url) as nobody:  # one: to make forty takes long
            wrong = [nobody.get("/v1/prices").status_code for _ in range(40)]
        assert set(wrong) == {401, 429}
        assert client.get("/healthz").status_code == 200
        text = client.get("/metrics").text
        assert f"tollbook_rate_limited_total {len(limited) + wrong.count(429)}.0" in text
        assert f"tollbook_keys_refused_total {wrong.count(401)}.0" in text


def test_commands_are_counted_in_batches_as_well(tmp_path: Path) -> None:
    batch: dict[str, Any] = {
        "commands": [
            {"kind": "create_customer", "id": f"c{number}", "name": "N", "currency": "USD"}
            for number in range(100)
        ]
    }
    environment = {"TOLLBOOK_RATE_COMMANDS": "40"}
    with (
        serve_process(tmp_path / "ledger", environment=environment) as served,
        httpx.Client(base_url=served.url, headers=bearer(served.admin_key), timeout=30) as client,
    ):
        assert client.post("/v1/commands", json=batch).status_code == 200
        refused = client.post("/v1/commands", json=batch)
        assert refused.status_code == 429
        assert "commands" in refused.json()["detail"]


def test_two_servers_on_one_folder_serve_one_ledger(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with serve_process(folder) as one, serve_process(folder, "--no-projector") as other:
        body = {"id": "cust-1", "name": "N", "currency": "USD"}
        made = httpx.post(
            f"{one.url}/v1/customers", json=body, headers=bearer(one.admin_key), timeout=20
        )
        assert made.status_code == 201
        again = httpx.post(
            f"{other.url}/v1/customers", json=body, headers=bearer(one.admin_key), timeout=20
        )
        assert again.status_code == 200
        assert again.json() == made.json()


def test_many_ask_while_a_key_is_revoked(tmp_path: Path) -> None:
    """Within a second of the revocation's answer, no request is served with the key."""
    with serve_process(tmp_path / "ledger") as served:
        admin = bearer(served.admin_key)
        made = httpx.post(
            f"{served.url}/v1/keys", json={"role": "auditor"}, headers=admin, timeout=20
        ).json()
        assert becomes(200, served, made["key"])
        served_at: list[float] = []
        stop = threading.Event()

        def ask() -> None:
            headers = bearer(made["key"])
            with httpx.Client(base_url=served.url, headers=headers, timeout=30) as client:
                while not stop.is_set():
                    begin = time.monotonic()
                    if client.get("/v1/prices").status_code == 200:
                        served_at.append(begin)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + BOUND_SECONDS
        while not served_at:
            assert time.monotonic() < until, "nobody is served"
            time.sleep(0.01)
        httpx.post(
            f"{served.url}/v1/keys/{made['id']}/revoke", headers=admin, timeout=20
        ).raise_for_status()
        revoked_at = time.monotonic()
        time.sleep(2)
        stop.set()
        for thread in threads:
            thread.join()
        assert max(served_at) < revoked_at + 1.0
