"""Many commands or records in one request: each is answered for itself, in order."""

import gc
import time
from typing import Any

import httpx
import pytest
from tollbook.errors import TollbookError

from tests.support.ledger import MODEL, USAGE
from tests.support.serving import Served


def reserve(name: str, customer: str, **more: Any) -> dict[str, Any]:
    """Return the command that holds the money for one inference."""
    body = {"kind": "reserve", "id": name, "customer": customer, "model": MODEL}
    return {**body, "estimate": USAGE, **more}


def test_an_item_that_is_no_command_harms_no_other(api: httpx.Client, customer: str) -> None:
    """It gets its problem, and its id stays free."""
    wrong = [
        reserve(f"a-{customer}", customer, bogus=1),
        {"kind": "nonsense", "id": "b"},
        {"id": "c"},
        reserve(f"d-{customer}", customer, id=7),
        {"kind": "settle", "id": "e", "reservation": "nothing", "usage": USAGE},
        {"kind": "issue_grant", "customer": customer, "amount": "1"},
    ]
    commands = [reserve(f"f-{customer}", customer), *wrong, reserve(f"g-{customer}", customer)]
    results = api.post("/commands", json={"commands": commands}).json()["results"]
    statuses = [each["status"] for each in results]
    assert statuses == ["done", *(["refused"] * len(wrong)), "done"]
    codes = [each["code"] for each in results[1:-1]]
    assert codes == ["invalid"] * 4 + ["not_found", "invalid"]
    fields = [each["field"] for each in results[1:-1]]
    assert fields == ["bogus", "kind", "kind", "id", "reservation", "grant_kind"]
    assert [each["id"] for each in results[:3]] == [f"f-{customer}", f"a-{customer}", "b"]
    again = api.post("/reservations", json=_without_kind(reserve(f"a-{customer}", customer)))
    assert again.status_code == 201


def _without_kind(command: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in command.items() if name != "kind"}


def test_a_refusal_in_a_batch_is_the_one_that_stands_alone(
    api: httpx.Client, customer: str
) -> None:
    """With the same code, facts and position, whichever way it comes."""
    dear = reserve(f"dear-{customer}", customer, estimate={"input_tokens": 10**9})
    (refused,) = api.post("/commands", json={"commands": [dear]}).json()["results"]
    alone = api.post("/reservations", json=_without_kind(dear)).json()
    assert refused["status"] == "refused"
    rest = {name: alone[name] for name in alone if name not in ("type", "status")}
    assert {name: refused[name] for name in rest} == rest


@pytest.mark.parametrize("wrong", ["refused", "invalid"])
def test_all_or_nothing_is_nothing_when_one_is_wrong(
    api: httpx.Client, customer: str, wrong: str
) -> None:
    """The culprit says why, the others that they were not done."""
    other = {"estimate": {"input_tokens": 10**9}} if wrong == "refused" else {"bogus": 1}
    commands = [reserve(f"x-{customer}", customer), reserve(f"y-{customer}", customer, **other)]
    body = {"atomic": True, "commands": commands}
    first, second = api.post("/commands", json=body).json()["results"]
    assert (first["code"], first["because"]) == ("aborted", f"y-{customer}")
    assert second["code"] == ("insufficient_balance" if wrong == "refused" else "invalid")
    assert api.get(f"/reservations/x-{customer}").status_code == 404
    held = api.get(f"/customers/{customer}/balance").json()["held"]["amount"]
    assert held == "0.000000000000"


def test_all_or_nothing_is_all_when_none_is_wrong(api: httpx.Client, customer: str) -> None:
    """A customer, prices and money may come with what needs them."""
    new = f"new-{customer}"
    commands = [
        {"kind": "create_customer", "id": new, "name": "Grace Hopper", "currency": "USD"},
        {"kind": "issue_grant", "customer": new, "amount": "1", "grant_kind": "paid"},
        reserve(f"r-{new}", new),
        {"kind": "settle", "reservation": f"r-{new}", "usage": USAGE},
    ]
    results = api.post("/commands", json={"atomic": True, "commands": commands}).json()["results"]
    assert [each["status"] for each in results] == ["done"] * 4
    assert api.get(f"/customers/{new}").json()["name"] == "Grace Hopper"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "commands"),
        ({"commands": []}, "commands"),
        ({"commands": {}}, "commands"),
        ({"commands": [[]]}, "commands"),
        ({"commands": [{}] * 1001}, "commands"),
        ({"commands": [{}], "atomic": 1}, "atomic"),
        ({"commands": [{}], "bogus": 1}, "bogus"),
    ],
)
def test_a_batch_of_another_form_is_refused_as_a_whole(
    api: httpx.Client, body: dict[str, Any], field: str
) -> None:
    """Nothing of it is looked at."""
    response = api.post("/commands", json=body)
    assert (response.status_code, response.json()["field"]) == (422, field)


def test_a_repeated_batch_gets_the_same_answers(api: httpx.Client, customer: str) -> None:
    """So it may be sent again whenever its answer was lost."""
    commands = [reserve(f"p-{customer}", customer)]
    commands += [{"kind": "settle", "id": f"q-{customer}", "reservation": f"p-{customer}"}]
    commands[1]["usage"] = USAGE
    first = api.post("/commands", json={"commands": commands}).json()
    assert api.post("/commands", json={"commands": commands}).json() == first


def test_what_became_of_a_command_can_be_asked(
    served: Served, api: httpx.Client, customer: str
) -> None:
    """By kind, customer (or source) and id: the answer, or the refusal, as it was given."""
    commands = [
        reserve(f"ask-{customer}", customer),
        reserve(f"no-{customer}", customer, estimate={"input_tokens": 10**9}),
    ]
    results = api.post("/commands", json={"commands": commands}).json()["results"]
    with served.client("auditor") as auditor:
        for command, result in zip(commands, results, strict=True):
            query = {"kind": "reserve", "customer": customer, "id": command["id"]}
            assert auditor.get("/commands", params=query).json() == result
        query = {"kind": "reserve", "customer": customer, "id": "never"}
        assert auditor.get("/commands", params=query).status_code == 404
        listed = auditor.get("/commands", params={"customer": customer, "order": "desc"}).json()
    assert [each["id"] for each in listed["items"][:2]] == [f"no-{customer}", f"ask-{customer}"]
    assert [each["status"] for each in listed["items"][:2]] == ["refused", "done"]


LONG = "x" * 200_000
EVENT = {
    "specversion": "1.0",
    "type": "tollbook.usage.v1",
    "source": "s",
    "id": "i",
    "subject": "a",
}
UNREADABLE = [
    ("/usage", {**EVENT, "data": {"customer": "a", "model": "m", "usage": {"requests": LONG}}}),
    ("/usage", {**EVENT, "source": LONG, "data": {"customer": "a", "model": "m", "usage": USAGE}}),
    *(
        ("/commands", {"commands": [{"id": "i", "customer": "a", **command}]})
        for command in (
            {"kind": "issue_grant", "grant_kind": "paid", "amount": LONG},
            {"kind": "create_customer", "name": LONG, "currency": "USD"},
            {"kind": "reserve", "model": LONG, "estimate": USAGE},
            {"kind": "set_caps", "caps": [{"id": LONG}]},
            {"kind": "validate_license", "license_key": LONG, "model": "m"},
            {"kind": "settle", "reservation": "nothing", "usage": USAGE},
        )
    ),
]


@pytest.mark.parametrize(("path", "body"), UNREADABLE)
def test_what_was_refused_is_forgotten_with_its_answer(
    api: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    """At once: an error that waits for the garbage collector has the whole request with it."""

    def errors() -> int:
        return sum(isinstance(each, TollbookError) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = errors()
        for _ in range(5):
            (result,) = api.post(path, json=body).json()["results"]
            assert result["status"] == "refused"
        until = time.monotonic() + 60  # the answer may be here before its handler has returned
        while errors() > before and time.monotonic() < until:
            time.sleep(0.01)
        assert errors() <= before
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/cloudevents-batch+json", b"[]", 200),
        ("application/cloudevents-batch+json", b"{}", 422),
        ("application/cloudevents+json", b"[]", 422),
        ("application/json", b"[]", 422),
        ("application/cloudevents+json", b'"x"', 422),
        ("application/cloudevents+json; charset=utf-8", b"{}", 200),
        ("text/plain", b"{}", 415),
    ],
)
def test_the_media_type_says_whether_usage_is_a_batch(
    api: httpx.Client, content_type: str, body: bytes, status: int
) -> None:
    """One event is an object, a batch is a list."""
    response = api.post("/usage", content=body, headers={"Content-Type": content_type})
    assert response.status_code == status, response.text


def test_one_key_for_many_commands_is_refused_before_anything_is_done(
    api: httpx.Client, customer: str
) -> None:
    """Taken silently, it would look as if the same request twice were done once."""
    command = {"kind": "reserve", "customer": customer, "model": MODEL, "estimate": USAGE}
    header = {"Idempotency-Key": f"all-{customer}"}
    answer = api.post("/commands", json={"commands": [command]}, headers=header)
    assert (answer.status_code, answer.json()["field"]) == (400, "Idempotency-Key")
    assert api.get(f"/customers/{customer}/balance").json()["held"]["amount"] == "0.000000000000"
