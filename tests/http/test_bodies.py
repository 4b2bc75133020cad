"""What is sent is read strictly, and whatever is wrong is a problem that names it."""

import httpx
import pytest

from tests.support.ledger import MODEL, USAGE
from tests.support.serving import Served

JSON = {"Content-Type": "application/json"}
PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b"{}{}", "body"),
        (b'{"id": "\xff"}', "body"),
        (b'\xef\xbb\xbf{"id": "a"}', "body"),
        (b'{"id": NaN}', "number"),
        (b'{"id": Infinity}', "number"),
        (b'{"id": 1.0}', "number"),
        (b'{"id": 1e400}', "number"),
        (b'{"id": "a", "id": "a"}', "key"),
        (b'{"id": "a", "x": {"y": 1, "y": 2}}', "key"),
        (b"[" * 100_000, "body"),
        (b'{"x":' * 100_000, "body"),
        (b'{"id": ' + b"9" * 10_000 + b"}", "body"),
        (b'{"id": "\\ud800"}', "body"),
        (b'{"id": 5}', "id"),
        (b'{"id": null}', "id"),
        (b'{"id": "a b"}', "id"),
        (b'{"id": "a\\n"}', "id"),
        (b'{"id": "a", "name": "A", "currency": "USD", "bogus": 1}', "bogus"),
        (b'{"id": "a", "name_sealed": "AAAA"}', "name_sealed"),
        (b'{"id": "a", "name": "A", "currency": "usd"}', "currency"),
        (b'{"id": "a", "name": "", "currency": "USD"}', "name"),
        (b'{"id": "a", "name": "\\u0000", "currency": "USD"}', "name"),
        (b'{"id": "a", "name": ["A"], "currency": "USD"}', "name"),
        (b'{"id": "a", "currency": "USD"}', "name"),
        (b'{"id": "a", "name": "A", "currency": "USD", "credit_limit": 5}', "credit_limit"),
        (b'{"id": "a", "name": "A", "currency": "USD", "credit_limit": "-1"}', "credit_limit"),
        (b'{"id": "a", "name": "A", "currency": "USD", "time_zone": "Mars"}', "time_zone"),
    ],
)
def test_a_wrong_body_is_refused_by_name(api: httpx.Client, body: bytes, field: str) -> None:
    """400 where it cannot be read, 422 where a field breaks a rule; nothing is recorded."""
    response = api.post("/customers", content=body, headers=JSON)
    problem = response.json()
    assert response.status_code in (400, 422), response.text
    assert response.headers["content-type"] == PROBLEM
    assert (problem["code"], problem["field"]) == ("invalid", field), problem
    assert problem["rule"]
    assert len(response.content) < 2000
    assert api.get("/customers/a").status_code == 404


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 422),
        ("application/json; charset=utf-8", 422),
        ('APPLICATION/JSON;Charset="UTF-8"', 422),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/cloudevents+json", 415),
        ("", 415),
        (None, 415),
    ],
)
def test_the_media_type_is_checked(
    api: httpx.Client, content_type: str | None, status: int
) -> None:
    """Only JSON in UTF-8 is read."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = api.post("/customers", content=b'{"bogus": 1}', headers=headers)
    assert response.status_code == status
    assert response.headers["content-type"] == PROBLEM


def test_the_id_may_come_in_the_header(api: httpx.Client, customer: str) -> None:
    """Alone, or the same as in the body; at odds with it, nobody knows which is meant."""
    body = {"customer": customer, "model": MODEL, "estimate": USAGE}
    name = f"header-{customer}"
    made = api.post("/reservations", json=body, headers={"Idempotency-Key": name})
    assert (made.status_code, made.json()["id"]) == (201, name)
    both = api.post("/reservations", json={**body, "id": name}, headers={"Idempotency-Key": name})
    assert (both.status_code, both.json()) == (200, made.json())
    assert both.headers["idempotency-replayed"] == "true"
    odds = api.post("/reservations", json={**body, "id": "x"}, headers={"Idempotency-Key": name})
    assert (odds.status_code, odds.json()["field"]) == (400, "Idempotency-Key")
    bad = api.post("/reservations", json=body, headers={"Idempotency-Key": "no spaces"})
    assert (bad.status_code, bad.json()["field"]) == (400, "Idempotency-Key")


def test_an_id_that_is_made_here_is_new_and_sorts(api: httpx.Client, customer: str) -> None:
    """Prefixed by what it names, and in the order of time."""
    body = {"customer": customer, "model": MODEL, "estimate": USAGE}
    made = [api.post("/reservations", json=body).json()["id"] for _ in range(3)]
    assert len(set(made)) == 3
    assert all(name.startswith("rsv_") for name in made)
    assert sorted(name[:14] for name in made) == [name[:14] for name in made]


def test_the_same_id_with_another_body_is_refused(api: httpx.Client, customer: str) -> None:
    """It names the field; a name is named as it was sent, not as it is sealed."""
    body = {"id": f"same-{customer}", "customer": customer, "model": MODEL, "estimate": USAGE}
    api.post("/reservations", json=body).raise_for_status()
    other = api.post("/reservations", json={**body, "estimate": {"output_tokens": 1}})
    assert (other.status_code, other.json()["code"]) == (409, "id_reused")
    assert other.json()["field"] == "estimate"
    terms = {"id": customer, "name": "Somebody else", "currency": "USD"}
    renamed = api.post("/customers", json=terms)
    assert (renamed.status_code, renamed.json()["field"]) == (409, "name")


def test_a_refusal_stays_a_refusal(api: httpx.Client, customer: str) -> None:
    """It has a position, says what is missing, and is the same for ever."""
    body = {"id": f"dear-{customer}", "customer": customer, "model": MODEL}
    dear = {**body, "estimate": {"input_tokens": 10**9}}
    first = api.post("/reservations", json=dear)
    problem = first.json()
    assert (first.status_code, problem["code"]) == (402, "insufficient_balance")
    assert {"id", "position", "required", "available"} <= problem.keys()
    again = api.post("/reservations", json=dear)
    assert (again.status_code, again.json()) == (402, problem)
    assert again.headers["idempotency-replayed"] == "true"


def test_the_path_says_what_the_body_may_not(api: httpx.Client, customer: str) -> None:
    """Even if both agree, since one day they would not."""
    body = {"customer": customer, "amount": "1", "kind": "paid"}
    response = api.post(f"/customers/{customer}/grants", json=body)
    assert (response.status_code, response.json()["field"]) == (422, "customer")


def test_a_path_or_method_that_is_not_there_is_a_problem(served: Served) -> None:
    """404, and 405 with what is allowed; nobody needs a key to learn that."""
    with httpx.Client(base_url=served.url) as client:
        for path in ("/", "/v1", "/v2/customers", "/v1/customers/", "/v1//customers", "/v1/%00"):
            response = client.get(path)
            assert (response.status_code, response.json()["code"]) == (404, "not_found"), path
            assert response.headers["content-type"] == PROBLEM
        wrong = client.put("/v1/customers")
        assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
        assert wrong.headers["allow"] == "GET, HEAD, POST"
        assert client.request("OPTIONS", "/v1/customers").status_code == 405


def test_an_id_that_is_too_long_is_not_repeated(api: httpx.Client) -> None:
    """Nothing has it, and the problem stays short."""
    for path in ("/customers/{}", "/reservations/{}", "/prices/{}", "/usage/parked/{}", "/keys/{}"):
        response = api.get(path.format("x" * 10_000))
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
        assert len(response.content) < 300


def test_a_head_is_a_get_without_its_body(api: httpx.Client, customer: str) -> None:
    """With the same status and the same length."""
    path = f"/customers/{customer}/grants"
    got, head = api.get(path), api.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/events?limit=0", "limit"),
        ("/events?limit=1001", "limit"),
        ("/events?limit=1e2", "limit"),
        ("/events?limit=", "limit"),
        ("/events?limit=1&limit=2", "limit"),
        ("/events?after=-1", "after"),
        ("/events?after=99999999999999999999", "after"),
        ("/events?custmer=x", "custmer"),
        ("/events?customer=%00", "customer"),
        ("/customers?after=%20", "after"),
        ("/customers?wait_for=999999999", "wait_for"),
        ("/charges?from_day=2021-02-30", "from_day"),
        ("/charges?from_day=2021-2-3", "from_day"),
        ("/charges?order=down", "order"),
        ("/usage?after=nonsense", "after"),
        ("/usage?after=a%20b%20c", "after"),
        ("/usage/parked?code=%00", "code"),
        ("/reservations?status=lost", "status"),
        ("/commands?id=x", "kind"),
        ("/commands?source=x", "id"),
        ("/commands?kind=nonsense", "kind"),
        ("/commands?kind=usage&id=x&limit=3", "limit"),
        ("/commands?kind=usage&id=x&customer=a&source=b", "source"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(api: httpx.Client, path: str, field: str) -> None:
    """Also one that is not known: a filter with a typing error would list everything."""
    response = api.get(path)
    assert (response.status_code, response.json()["code"]) == (422, "invalid"), response.text
    assert response.json()["field"] == field


@pytest.mark.parametrize("at", ["yesterday", "-1", "2999-01-01T00:00:00Z", "999999999", ""])
def test_a_moment_that_is_none_is_refused(api: httpx.Client, customer: str, at: str) -> None:
    """Neither the future nor what is no time has a balance."""
    response = api.get(f"/customers/{customer}/balance", params={"at": at})
    assert (response.status_code, response.json()["field"]) == (422, "at")


def test_a_field_that_is_missing_is_named_alone(api: httpx.Client) -> None:
    """The rest of the body is not what is wrong, and may hold what nobody should read in a log."""
    missing = api.post("/reservations", json={"id": "r", "customer": "secret"})
    assert missing.json()["detail"] == "model is missing: must be given: it is required"
    assert "secret" not in missing.text
