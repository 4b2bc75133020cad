"""Who may what over HTTP: keys, models, money, and what is not offered at all."""

import pytest

from tests.gateway.http_serving import (
    HttpServed,
    document,
)
from tests.gateway.http_serving import strict as strict  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.rig import Rig

HELD, RELEASED, PARKED = "reservation_held", "reservation_released", "usage_parked"
INFER = "/v2/models/textgen/infer"
UNKNOWN_KEY = "tb_license_aaaqeayeaudaocajbifqydiob4ibceqt_79eddcb8"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/textgen/load"),
        ("POST", "/v2/repository/models/textgen/unload"),
        ("GET", "/v2/models/stats"),
        ("GET", "/v2/models/textgen/stats"),
        ("GET", "/v2/models/textgen/versions/1/stats"),
        ("GET", "/v2/trace/setting"),
        ("POST", "/v2/trace/setting"),
        ("POST", "/v2/models/textgen/trace/setting"),
        ("GET", "/v2/logging"),
        ("POST", "/v2/logging"),
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/systemsharedmemory/region/x/register"),
        ("POST", "/v2/systemsharedmemory/region/x/unregister"),
        ("POST", "/v2/systemsharedmemory/unregister"),
        ("GET", "/v2/cudasharedmemory/status"),
        ("POST", "/v2/cudasharedmemory/region/x/register"),
        ("POST", "/v2/cudasharedmemory/unregister"),
        ("GET", "/v2/models/textgen/infer/"),
        ("GET", "/v2/models/textgen/infer/../stats"),
        ("GET", "/v2//repository/index"),
        ("GET", "/v2/models/textgen%2Fstats/stats"),
    ],
)
def test_management_is_not_offered_not_even_with_a_key(
    rig: Rig, strict: HttpServed, method: str, path: str
) -> None:
    answer = strict.ask(method, path, b"", rig.licensee().headers)
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert "does not offer" in answer.json["error"]


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/v1/customers", "/v3", "/healthz", "/v2x", "//v2", "/v2/models/.."]
)
def test_nothing_else_is_here(rig: Rig, strict: HttpServed, path: str) -> None:
    status = 404 if not path.startswith("/v2/") else 403
    found = strict.ask("GET", path, headers=rig.licensee().headers).status
    assert found in (status, 404)


def test_a_method_that_does_not_fit_is_told_which_one_does(strict: HttpServed) -> None:
    for method, path, allowed in (("GET", INFER, "POST"), ("POST", "/v2/health/live", "GET")):
        answer = strict.ask(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"tollbook-license-key": ""}, 401),
        ({"authorization": "Basic abc"}, 401),
        ({"tollbook-license-key": "wrong"}, 422),
        ({"tollbook-license-key": UNKNOWN_KEY}, 403),
        ({"authorization": f"Bearer {UNKNOWN_KEY}"}, 403),
    ],
)
def test_without_a_key_nothing_of_a_model_is_told_and_no_body_read(
    strict: HttpServed, headers: dict[str, str], status: int
) -> None:
    for path in ("", "/ready", "/config"):
        assert strict.ask("GET", f"/v2/models/textgen{path}", headers=headers).status == status
    with strict.socket() as client:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n{lines}\r\n"
        client.sendall(head.encode())  # and no body
        assert client.recv(100).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_key_in_authorization_opens_as_well(rig: Rig, strict: HttpServed) -> None:
    who = rig.licensee()
    given = {"Authorization": f"Bearer {who.key}"}
    assert strict.ask("POST", INFER, document(), given).status == 200
    who.until(1)


def test_a_model_that_is_not_offered_or_not_licensed_is_refused(
    rig: Rig, strict: HttpServed
) -> None:
    who = rig.licensee(overrides={"models": ["slow"]})
    assert strict.post(who, "nothing/infer", document()).status == 404
    assert strict.post(who, "retrieve/infer", document()).status == 404  # the server has it
    for answer in (
        strict.post(who, "textgen/infer", document()),
        strict.ask("GET", "/v2/models/textgen", headers=who.headers),
        strict.ask("GET", "/v2/models/textgen/config", headers=who.headers),
    ):
        assert (answer.status, answer.json["code"]) == (403, "license_model_denied")
    assert HELD not in who.names()


def test_without_money_nothing_runs(rig: Rig, strict: HttpServed) -> None:
    who = rig.licensee(amount="0.000001")
    answer = strict.post(who, "textgen/infer", document("a " * 500, 4096))
    assert (answer.status, answer.json["code"]) == (402, "insufficient_balance")
    assert HELD not in who.names()
