"""Licences over HTTP: their keys, the decisions under them, and what is signed."""

from typing import Any

import httpx
import pytest
from tollbook import license_key
from tollbook.errors import Tampered
from tollbook.signed_decision import verify as verify_decision

from tests.http.licensing import (
    MODEL,
    NONCE,
    UNKNOWN_KEY,
    fresh,
    issue,
    one_limit,
    trusted,
    validate,
    verified,
)
from tests.support.ledger import USAGE
from tests.support.serving import Served


def test_a_key_is_shown_once_and_never_again(api: httpx.Client, customer: str) -> None:
    body = {"id": fresh("once"), "customer": customer, "template": "professional"}
    made = api.post("/licenses", json=body)
    assert (made.status_code, made.headers["location"]) == (201, f"/v1/licenses/{body['id']}")
    key = made.json()["license_key"]
    license_key.check(key)
    assert made.json()["key_hint"] == license_key.hint(key)
    again = api.post("/licenses", json=body)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    first = {**made.json(), "key_shown": False}
    del first["license_key"]
    assert again.json() == first
    assert key not in api.get(f"/events?customer={customer}&limit=1000").text
    assert key not in api.get(f"/licenses/{body['id']}").text


def test_a_refused_issue_is_refused_again(api: httpx.Client, customer: str) -> None:
    """Although each try makes a key of its own."""
    other = issue(api, customer)
    body = {"id": other["id"], "customer": customer, "template": "free"}
    assert api.post("/licenses", json=body).json()["code"] == "id_reused"
    device = api.post(f"/licenses/{other['id']}/activate", json={"id": fresh("dev")})
    assert device.json()["code"] == "license_channel_denied"
    revoked = {"id": fresh("rev"), "reason": "x"}
    api.post(f"/licenses/{other['id']}/revoke", json=revoked).raise_for_status()
    rotation = {"id": fresh("rot")}
    for _ in range(2):
        rotated = api.post(f"/licenses/{other['id']}/rotate", json=rotation)
        assert rotated.json()["code"] == "license_revoked"


@pytest.mark.parametrize("id", ["validate", "expiring"])
def test_words_of_paths_are_no_ids(api: httpx.Client, customer: str, id: str) -> None:
    body = {"id": id, "customer": customer, "template": "free"}
    made = api.post("/licenses", json=body)
    assert (made.status_code, made.json()["field"]) == (422, "id")


def test_a_request_is_admitted_by_its_key_alone(api: httpx.Client, customer: str) -> None:
    made = issue(api, customer, overrides=one_limit(2))
    body = {"model": MODEL, "license_key": made["license_key"]}
    admitted = api.post("/licenses/validate", json=body).json()
    assert admitted["admitted"] is True
    assert (admitted["license"], admitted["customer"]) == (made["id"], customer)
    assert [each["remaining"] for each in admitted["remaining"]] == [1]
    shown = {name: admitted[name] for name in ("features", "priority", "pool", "watermark")}
    assert shown == {
        "features": ["batch", "streaming"],
        "priority": 5,
        "pool": "shared",
        "watermark": "none",
    }
    assert admitted["policy_version"] == "professional:0:0"
    assert validate(api, made["id"]).json()["remaining"][0]["remaining"] == 0
    refused = validate(api, made["id"], id="over-the-limit")
    assert (refused.status_code, refused.json()["code"]) == (403, "license_limit_reached")
    assert {"id", "position", "used", "allowed", "resets_at"} <= refused.json().keys()
    again = validate(api, made["id"], id="over-the-limit")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == refused.json()


@pytest.mark.parametrize(
    "key",
    [
        UNKNOWN_KEY[:-1],
        UNKNOWN_KEY.replace("q", "r"),
        UNKNOWN_KEY.upper(),
        "",
        "0" * 32,
        7,
        ["x"],
    ],
)
def test_a_mistyped_key_is_named_before_anything_is_asked(
    api: httpx.Client, customer: str, key: Any
) -> None:
    """A keyed hash, as events show it, is no key either."""
    name = issue(api, customer)["id"]
    reserve = {"customer": customer, "model": MODEL, "estimate": USAGE, "license_key": key}
    for response in (
        api.post("/licenses/validate", json={"model": MODEL, "license_key": key}),
        validate(api, name, license_key=key),
        api.post("/reservations", json=reserve),
    ):
        assert (response.status_code, response.json()["field"]) == (422, "license_key")
        assert str(key) == "" or str(key) not in response.text


def test_a_key_of_nobody_is_refused_and_leaves_the_id_free(
    api: httpx.Client, customer: str
) -> None:
    made = issue(api, customer)
    id = fresh("free")
    body = {"id": id, "model": MODEL, "license_key": UNKNOWN_KEY, "nonce": NONCE}
    refused = api.post("/licenses/validate", json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "license_key_invalid")
    assert "position" not in refused.json()
    verified(api, refused.json())
    assert validate(api, made["id"], id=id).status_code == 200


def test_a_key_of_another_licence_does_not_open_this_one(api: httpx.Client, customer: str) -> None:
    first, second = issue(api, customer), issue(api, customer)
    refused = validate(api, first["id"], license_key=second["license_key"])
    assert (refused.status_code, refused.json()["code"]) == (403, "license_key_invalid")
    assert refused.json()["license"] == first["id"]


def test_a_rotated_key_lives_on_for_the_overlap_only(api: httpx.Client, customer: str) -> None:
    made = issue(api, customer)
    rotate = f"/licenses/{made['id']}/rotate"
    second = api.post(rotate, json={"overlap_seconds": 3600}).json()
    assert second["key_shown"] is True
    for key in (made["license_key"], second["license_key"]):
        assert validate(api, made["id"], license_key=key).status_code == 200
    body = {"id": fresh("rot"), "overlap_seconds": 0}
    third = api.post(rotate, json=body).json()
    assert api.post(rotate, json=body).json()["key_shown"] is False
    for key in (made["license_key"], second["license_key"]):
        assert validate(api, made["id"], license_key=key).json()["code"] == "license_key_invalid"
    assert validate(api, made["id"], license_key=third["license_key"]).status_code == 200
    hints = [each["hint"] for each in api.get(f"/licenses/{made['id']}").json()["keys"]]
    assert hints == [third["key_hint"]]


def test_a_nonce_gets_a_signed_answer_denials_too(api: httpx.Client, customer: str) -> None:
    name = issue(api, customer, overrides=one_limit(1))["id"]
    admitted = validate(api, name, nonce=NONCE).json()
    assert verified(api, admitted).answer["admitted"] is True
    with pytest.raises(Tampered):
        verify_decision(admitted["signed"], trusted(api), "another-nonce-0123")
    denied = validate(api, name, nonce=NONCE).json()
    assert verified(api, denied).answer["code"] == "license_limit_reached"
    missing = validate(api, "nobody", nonce=NONCE)
    assert (missing.status_code, "signed" in missing.json()) == (404, True)


@pytest.mark.parametrize("nonce", ["short", "with space in it..", "x" * 129, 16, ["x" * 16]])
def test_a_nonce_of_another_form_is_refused(api: httpx.Client, customer: str, nonce: Any) -> None:
    refused = validate(api, issue(api, customer)["id"], nonce=nonce)
    assert (refused.status_code, refused.json()["field"]) == (422, "nonce")


def test_a_dry_run_counts_nothing_and_takes_no_id(api: httpx.Client, customer: str) -> None:
    name = issue(api, customer, overrides=one_limit(1))["id"]
    id = fresh("dry")
    for _ in range(2):
        tried = validate(api, name, id=id, dry_run=True, nonce=NONCE).json()
        assert (tried["admitted"], tried["dry_run"]) == (True, True)
        assert [each["remaining"] for each in tried["remaining"]] == [0]
        assert not tried.keys() & {"id", "position"}
        verified(api, tried)
    head = api.get("/events?limit=1").json()
    assert validate(api, name, id=id).status_code == 200
    tried = validate(api, name, dry_run=True).json()
    assert (tried["admitted"], tried["why"]["code"]) == (False, "license_limit_reached")
    assert api.get("/events?limit=1").json() == head
    assert validate(api, "nobody", dry_run=True).status_code == 404
    assert validate(api, name, dry_run="yes").json()["field"] == "dry_run"


def test_a_reservation_is_decided_under_the_licence_of_its_key(
    api: httpx.Client, customer: str
) -> None:
    made = issue(api, customer)
    body = {"customer": customer, "model": MODEL, "estimate": USAGE}
    asked = {"license_key": made["license_key"], "facts": {"region": "eu-1"}, "nonce": NONCE}
    held = api.post("/reservations", json={**body, **asked, "request_hash": "0b" * 32})
    assert held.status_code == 201, held.text
    assert held.json()["priority"] == 5
    verified(api, held.json())
    usage = {"usage": USAGE, "response_hash": "0c" * 32}
    api.post(f"/reservations/{held.json()['id']}/settle", json=usage).raise_for_status()
    api.post(f"/licenses/{made['id']}/revoke", json={"reason": "not paid"}).raise_for_status()
    refused = api.post("/reservations", json={**body, **asked})
    assert (refused.status_code, refused.json()["code"]) == (403, "license_revoked")
    verified(api, refused.json())
    assert api.post("/reservations", json=body).status_code == 201
    mine = {"license": made["id"], "wait_for": refused.json()["position"]}
    decided = api.get(f"/licenses/{made['id']}/decisions", params={"wait_for": mine["wait_for"]})
    denial, admission = decided.json()["items"]
    assert (denial["status"], denial["why"]["code"]) == ("denied", "license_revoked")
    assert (admission["request_hash"], admission["response_hash"]) == ("0b" * 32, "0c" * 32)


def test_many_commands_go_through_the_desk_as_well(api: httpx.Client, customer: str) -> None:
    made = issue(api, customer, overrides=one_limit(2))
    key, id = made["license_key"], fresh("many")
    money = {"customer": customer, "model": MODEL, "estimate": USAGE}
    commands: list[dict[str, Any]] = [
        {"kind": "issue_license", "id": id, "customer": customer, "template": "free"},
        {"kind": "reserve", **money, "license_key": key},
        {"kind": "validate_license", "license_key": key, "model": MODEL, "nonce": NONCE},
        {"kind": "validate_license", "license_key": key, "model": MODEL, "nonce": NONCE},
        {"kind": "validate_license", "license_key": UNKNOWN_KEY, "model": MODEL, "nonce": NONCE},
        {"kind": "validate_license", "license_key": key[:-1], "model": MODEL},
        {"kind": "reserve", **money},
    ]
    results = api.post("/commands", json={"commands": commands}).json()["results"]
    statuses = ["done", "done", "done", "refused", "refused", "refused", "done"]
    assert [each["status"] for each in results] == statuses
    license_key.check(results[0]["license_key"])
    assert (results[1]["pool"], "pool" in results[6]) == ("shared", False)
    codes = [each["code"] for each in results[3:6]]
    assert codes == ["license_limit_reached", "license_key_invalid", "invalid"]
    for result in results[2:5]:
        verified(api, result)
    assert api.get(f"/licenses/{id}").json()["template"] == "free"


def test_a_group_is_decided_under_all_its_licences_or_not_at_all(
    api: httpx.Client, customer: str
) -> None:
    first, second = (issue(api, customer, overrides=one_limit(1)) for _ in range(2))
    validate(api, second["id"]).raise_for_status()
    commands = [
        {"kind": "validate_license", "license": each["id"], "model": MODEL, "id": fresh("all")}
        for each in (first, second)
    ]
    group = api.post("/commands", json={"commands": commands, "atomic": True}).json()["results"]
    assert [each["code"] for each in group] == ["aborted", "license_limit_reached"]
    assert validate(api, first["id"]).status_code == 200


def test_the_key_hash_is_never_taken_from_a_caller(
    served: Served, api: httpx.Client, customer: str
) -> None:
    made = {"key_hash": "0a" * 16, "key_hint": "abcd"}
    body = {"customer": customer, "template": "free", **made}
    refused = api.post("/licenses", json=body)
    assert (refused.status_code, refused.json()["field"]) == (422, "key_hash")
    (result,) = api.post(
        "/commands", json={"commands": [{"kind": "issue_license", **body}]}
    ).json()["results"]
    assert result["field"] == "key_hash"
    with served.client("service") as client:
        assert client.post("/licenses", json=body).status_code == 403
