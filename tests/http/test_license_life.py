"""The life of a licence over HTTP, its leases, who may do what with it, and what is listed."""

from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tollbook import lease as leases
from tollbook.errors import Refused
from tollbook.times import SECOND, parse_instant

from entrypoints.http.roles import CUSTOMER, ROLES
from tests.http.licensing import HOLDER, MODEL, fresh, issue, one_limit, trusted, validate
from tests.support.serving import Served

LATER = "2090-01-01T00:00:00Z"


def step(api: httpx.Client, name: str, word: str, **body: Any) -> dict[str, Any]:
    """Take a step in a licence's life."""
    done = api.post(f"/licenses/{name}/{word}", json=body)
    assert done.status_code == 200, done.text
    answer: dict[str, Any] = done.json()
    return answer


def test_a_licence_lives_through_every_step(api: httpx.Client, customer: str) -> None:
    name = issue(api, customer, expires_at="2080-01-01T00:00:00Z")["id"]

    def code() -> str:
        response = validate(api, name)
        return "" if response.status_code == 200 else str(response.json()["code"])

    assert step(api, name, "suspend", reason="not paid")["license_status"] == "suspended"
    assert code() == "license_suspended"
    assert api.get(f"/licenses/{name}").json()["reason"] == "not paid"
    assert step(api, name, "reinstate")["license_status"] == "active"
    assert code() == ""
    assert step(api, name, "renew", expires_at=LATER)["expires_at"] == "2090-01-01T00:00:00.000000Z"
    upgraded = step(api, name, "upgrade", template="enterprise", overrides={"models": ["other"]})
    assert upgraded["template"] == "enterprise"
    assert code() == "license_model_denied"
    early = api.post(f"/licenses/{name}/expire", json={})
    assert (early.status_code, early.json()["code"]) == (403, "license_not_expired")
    assert step(api, name, "revoke", reason="fraud")["license_status"] == "revoked"
    assert code() == "license_revoked"
    shown = api.get(f"/licenses/{name}").json()
    assert (shown["status"], shown["reason"]) == ("revoked", "fraud")
    assert shown["policy_version"] == "enterprise:0:1"
    again = api.post(f"/licenses/{name}/revoke", json={"reason": "again"})
    assert (again.status_code, again.json()["code"]) == (403, "license_revoked")


def test_an_upgrade_names_the_template_that_is_in_force(api: httpx.Client, customer: str) -> None:
    """Also where only the overrides change, and however often it is asked about."""
    name, id = issue(api, customer)["id"], fresh("up")
    only = {"id": id, "overrides": {"models": ["other"]}}
    upgraded = step(api, name, "upgrade", **only)
    assert (upgraded["template"], upgraded["template_version"]) == ("professional", 0)
    assert step(api, name, "upgrade", **only) == upgraded
    query = {"kind": "upgrade_license", "customer": customer, "id": id}
    assert api.get("/commands", params=query).json() == {"status": "done", **upgraded}
    assert api.get(f"/licenses/{name}").json()["policy_version"] == "professional:0:1"
    other = api.post(f"/licenses/{name}/upgrade", json={**only, "template": "free"})
    assert (other.json()["code"], other.json()["field"]) == ("id_reused", "template")


def test_a_licence_shows_what_its_limits_leave_now(api: httpx.Client, customer: str) -> None:
    limits = [
        {"id": "day", "unit": "requests", "limit": 3, "per": "day"},
        {"id": "gpu", "unit": "gpu_seconds", "limit": "1.5", "per": "total", "models": ["gpt*"]},
    ]
    name = issue(api, customer, overrides={"limits": limits})["id"]
    validate(api, name, usage={"requests": 1, "gpu_seconds": "0.25"}).raise_for_status()
    day, gpu = api.get(f"/licenses/{name}").json()["limits"]
    assert (day["allowed"], day["used"], day["remaining"]) == (3, 1, 2)
    assert parse_instant(day["resets_at"], "resets_at") > 0
    assert (gpu["used"], gpu["remaining"], gpu["resets_at"]) == ("0.25", "1.25", None)
    assert gpu["models"] == ["gpt*"]


@pytest.mark.parametrize("role", ROLES)
def test_a_lease_is_told_again_to_those_alone_who_may_lease(
    served: Served, api: httpx.Client, customer: str, role: str
) -> None:
    """By its command's id, to others without the token; who repeats the command gets it too."""
    terms = {"seats": 1, "models": [MODEL]}
    name = issue(api, customer, deployment="on_premise", overrides=terms)["id"]
    path, body = (
        f"/licenses/{name}/leases",
        {"id": fresh("lease"), "model": MODEL, "holder": HOLDER},
    )
    leased = api.post(path, json=body).json()
    renewal = {"id": fresh("renewal")}
    renewed = api.post(f"{path}/{body['id']}/renew", json=renewal).json()
    assert leased["token"] and renewed["token"]
    with served.client(role, customer) as client:
        for kind, answer in (("lease_seat", leased), ("renew_lease", renewed)):
            query = {"kind": kind, "customer": customer, "id": answer["id"]}
            told = client.get("/commands", params=query)
            shown = {"status": "done", **answer}
            if role in ("auditor", "finance", "reviewer"):
                del shown["token"]
            if role == CUSTOMER:
                assert told.status_code == 403
            else:
                assert told.json() == shown
        again = client.post(path, json=body)
        batch = {"commands": [{"kind": "lease_seat", "license": name, **body}]}
        many = client.post("/commands", json=batch)
        listed = client.get("/commands", params={"customer": customer, "kind": "lease_seat"})
        events = client.get("/events", params={"customer": customer, "limit": 1000})
    may = role in ("admin", "service", CUSTOMER)
    assert again.json().get("token") == (leased["token"] if may else None)
    assert (leased["token"] in many.text) == (role in ("admin", "service"))
    for response in (listed, events):
        assert leased["token"] not in response.text


def test_a_lease_is_a_token_that_only_its_holder_uses(api: httpx.Client, customer: str) -> None:
    overrides = {"seats": 1, "features": ["batch"]}
    name = issue(api, customer, deployment="on_premise", overrides=overrides)["id"]
    holder = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    path = f"/licenses/{name}/leases"
    body = {"id": fresh("lease"), "model": MODEL, "holder": leases.thumbprint(holder)}
    taken = api.post(path, json=body)
    assert (taken.status_code, taken.headers["location"]) == (201, f"/v1{path}/{body['id']}")
    keys, answer = trusted(api), taken.json()
    now = parse_instant(answer["expires_at"], "expires_at") - 200 * SECOND
    lease = leases.verify(answer["token"], keys, holder, now, license=name, model=MODEL)
    assert (lease.id, lease.customer, lease.features) == (body["id"], customer, ("batch",))
    assert lease.expires_at - lease.issued_at == 300 * SECOND
    with pytest.raises(Refused, match="another holder"):
        leases.verify(answer["token"], keys, bytes(32), now, license=name, model=MODEL)
    assert api.post(path, json=body).json()["token"] == answer["token"]
    full = api.post(path, json={**body, "id": fresh("lease")})
    assert (full.status_code, full.json()["code"]) == (403, "license_seats_taken")
    renewed = api.post(f"{path}/{body['id']}/renew", json={"id": fresh("rls")}).json()
    longer = leases.verify(renewed["token"], keys, holder, now, license=name, model=MODEL)
    assert longer.expires_at > lease.expires_at
    assert api.get(f"{path}/{body['id']}").json()["status"] == "live"
    returned = api.post(f"{path}/{body['id']}/return", json={})
    assert (returned.status_code, returned.json()["lease"]) == (200, body["id"])
    assert api.get(f"{path}/{body['id']}").json()["status"] == "returned"
    late = api.post(f"{path}/{body['id']}/renew", json={})
    assert (late.status_code, late.json()["code"]) == (403, "license_lease_ended")
    assert api.post(path, json={**body, "id": fresh("lease")}).status_code == 201
    assert api.get(f"{path}/nothing").status_code == 404


def test_a_borrowed_lease_says_so(api: httpx.Client, customer: str) -> None:
    terms = {"template": "enterprise", "deployment": "on_premise"}
    name = issue(api, customer, **terms)["id"]
    body = {"model": MODEL, "holder": "0a" * 32, "borrow_seconds": 86_400}
    facts = {"facts": {"device": "dev-of-nobody"}}
    taken = api.post(f"/licenses/{name}/leases", json={**body, **facts})
    assert taken.json()["borrowed"] is True
    longer = api.post(f"/licenses/{name}/leases", json={**body, "borrow_seconds": 700_000})
    assert (longer.status_code, longer.json()["code"]) == (403, "license_borrow_denied")
    step(api, name, "revoke", reason="x")
    path = f"/licenses/{name}/leases/{taken.json()['id']}"
    assert api.get(path).json()["status"] == "revoked"


def test_a_device_gives_its_place_up(api: httpx.Client, customer: str) -> None:
    name = issue(api, customer, deployment="on_premise", overrides={"devices": 1})["id"]
    first = step(api, name, "activate", id=fresh("dev"), facts={"country": "de"})["device"]
    full = api.post(f"/licenses/{name}/activate", json={})
    assert (full.status_code, full.json()["code"]) == (403, "license_devices_taken")
    missing = api.post(f"/licenses/{name}/devices/none/deactivate", json={})
    assert (missing.status_code, missing.json()["code"]) == (403, "license_device_unknown")
    freed = step(api, name, f"devices/{first}/deactivate")
    assert freed["device"] == first
    second = step(api, name, "activate", id=fresh("dev"))
    listed = api.get(f"/licenses/{name}/devices?wait_for={second['position']}").json()["items"]
    assert [each["status"] for each in listed] == ["deactivated", "active"]
    active = api.get(f"/licenses/{name}/devices?status=active").json()["items"]
    assert [each["device"] for each in active] == [second["device"]]


def test_licences_are_listed_by_customer_and_status(api: httpx.Client, customer: str) -> None:
    first, second = issue(api, customer)["id"], issue(api, customer)["id"]
    last = step(api, second, "suspend", reason="x")["position"]
    mine = {"customer": customer, "wait_for": last}
    found = api.get("/licenses", params=mine).json()["items"]
    assert [each["id"] for each in found] == [first, second]
    paged = api.get("/licenses", params={**mine, "limit": 1}).json()
    rest = api.get("/licenses", params={**mine, "after": paged["next"]}).json()
    assert paged["items"] + rest["items"] == found
    suspended = api.get("/licenses", params={**mine, "status": "suspended"}).json()["items"]
    assert [each["id"] for each in suspended] == [second]
    newest = api.get("/licenses", params={**mine, "order": "desc"}).json()["items"]
    assert newest == found[::-1]
    assert api.get("/licenses", params={"customer": "nobody", "status": "gone"}).status_code == 422


def test_licences_that_come_to_their_end_are_listed(api: httpx.Client, customer: str) -> None:
    ends = ["2080-01-02T00:00:00Z", "2080-01-01T00:00:00Z"]
    made = [issue(api, customer, expires_at=end) for end in ends]
    query = {"within": 10 * 365 * 86_400, "wait_for": made[-1]["position"]}
    assert not {each["id"] for each in made} & {
        each["id"] for each in api.get("/licenses/expiring", params=query).json()["items"]
    }
    soon = issue(api, customer, expires_at="2027-06-01T00:00:00Z")
    query["wait_for"] = soon["position"]
    found = api.get("/licenses/expiring", params={**query, "limit": 1000}).json()["items"]
    assert soon["id"] in [each["id"] for each in found]
    ordered = [each["expires_at"] for each in found]
    assert ordered == sorted(ordered)


def test_a_template_is_published_and_sold_by_its_version(api: httpx.Client, customer: str) -> None:
    name = fresh("team")
    policy = {"models": ["*"], "seats": 3}
    first = api.post("/policies", json={"name": name, "policy": policy})
    assert (first.status_code, first.headers["location"]) == (201, f"/v1/policies/{name}")
    assert issue(api, customer, template=name)["policy_version"] == f"{name}:1:0"
    second = api.post("/policies", json={"name": name, "policy": {**policy, "seats": 4}}).json()
    assert second["version"] == 2
    shown = api.get(f"/policies/{name}").json()
    assert [each["version"] for each in shown["versions"]] == [2, 1]
    assert shown["policy"]["seats"] == 4
    first_page = api.get("/policies?limit=2").json()
    rest = api.get("/policies", params={"after": first_page["next"], "limit": 1000}).json()
    named = {each["name"]: each["version"] for each in first_page["items"] + rest["items"]}
    assert named[name] == 2
    assert {named[tier] for tier in ("free", "professional", "enterprise")} == {0}
    assert api.get("/policies/free").json()["version"] == 0
    assert api.get("/policies/none").status_code == 404
    wrong = api.post("/policies", json={"name": name, "policy": {"models": ["*"], "seats": -1}})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "policy")


def test_a_customers_key_uses_its_own_licences_and_sees_no_others(
    served: Served, api: httpx.Client, customer: str
) -> None:
    """To it, those of others are like none at all; so are their keys."""
    other = f"other-{customer}"
    api.post("/customers", json={"id": other, "name": "O", "currency": "USD"}).raise_for_status()
    mine, theirs = issue(api, customer), issue(api, other)
    with served.client("customer", customer) as client:
        assert validate(client, mine["id"]).status_code == 200
        body = {"model": MODEL, "license_key": theirs["license_key"]}
        refused = client.post("/licenses/validate", json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "license_key_invalid")
        assert "license" not in refused.json()
        own = {"model": MODEL, "license_key": mine["license_key"]}
        assert client.post("/licenses/validate", json=own).json()["license"] == mine["id"]
        holder = {"model": MODEL, "holder": "0a" * 32}
        for path, sent in (
            ("validate", {"model": MODEL}),
            ("validate", {"model": MODEL, "dry_run": True}),
            ("activate", {}),
            ("leases", holder),
            ("leases/l-1/renew", {}),
            ("leases/l-1/return", {}),
        ):
            hidden = client.post(f"/licenses/{theirs['id']}/{path}", json={"id": "x", **sent})
            missing = client.post(f"/licenses/absent/{path}", json={"id": "x", **sent})
            assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found"), path
            assert hidden.text.replace(theirs["id"], "absent") == missing.text, path
        for path in ("", "/devices", "/seats", "/decisions", "/leases/x"):
            assert client.get(f"/licenses/{theirs['id']}{path}").status_code == 404, path
            assert client.get(f"/licenses/{mine['id']}{path}").status_code in (200, 404), path
        listed = client.get(f"/licenses?wait_for={theirs['position']}").json()["items"]
        assert [each["id"] for each in listed] == [mine["id"]]
        assert client.get(f"/licenses?customer={other}").status_code == 404
        assert client.get("/license-keys").status_code == 200


def test_a_customers_word_is_only_its_word(
    served: Served, api: httpx.Client, customer: str
) -> None:
    name = issue(api, customer, overrides={"networks": ["192.0.2.0/24"]})["id"]
    observed = {"address": {"value": "192.0.2.7", "from": "observed"}}
    with served.client("customer", customer) as client:
        claimed = validate(client, name, facts=observed)
        assert (claimed.status_code, claimed.json()["code"]) == (403, "forbidden")
        assert (claimed.json()["fact"], claimed.json()["provenance"]) == ("address", "observed")
        tried = validate(client, name, facts=observed, dry_run=True)
        assert tried.json()["code"] == "forbidden"
        hardware = {"hardware": {"value": {"mac": "x"}, "from": "attested"}}
        assert validate(client, name, facts=hardware).json()["fact"] == "hardware"
        declared = validate(client, name, facts={"address": "192.0.2.7"})
        assert declared.json()["code"] == "license_address_mismatch"
    with served.client("service") as client:
        assert validate(client, name, facts=observed).status_code == 200


def test_a_licence_that_has_run_out_reads_as_expired(api: httpx.Client, customer: str) -> None:
    """Whether or not its end has been booked; until then its grace goes on."""
    past = "2080-01-01T00:00:00Z"
    made = issue(api, customer, overrides=one_limit(5), expires_at=past)
    shown = api.get(f"/licenses/{made['id']}").json()
    assert (shown["status"], shown["grace"]) == ("active", False)
    assert shown["ends_at"] == "2080-01-04T00:00:00.000000Z"
