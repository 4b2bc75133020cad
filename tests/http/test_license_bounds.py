"""What a licence does not give: a lease past its hardware, or an old answer as a new one."""

import httpx
from tollbook.times import parse_instant

from tests.http.licensing import HOLDER, MODEL, NONCE, fresh, issue, one_limit, validate, verified
from tests.support.ledger import USAGE
from tests.support.serving import Served


def test_a_customer_does_not_lease_past_the_hardware_by_naming_the_api(
    served: Served, api: httpx.Client, customer: str
) -> None:
    """A lease runs wherever its holder is, so on whose word it is for the API matters."""
    bound = {"deployment": "hybrid", "overrides": {"hardware": {"required": 1}, "devices": 1}}
    hybrid = issue(api, customer, **bound)["id"]
    free = issue(api, customer, deployment="on_premise")["id"]
    elsewhere = {"channel": "api", "environment": "development"}
    asked = {"model": MODEL, "holder": HOLDER}
    with served.client("customer", customer) as mine:
        for name in (hybrid, issue(api, customer)["id"]):
            refused = mine.post(f"/licenses/{name}/leases", json={**asked, "facts": elsewhere})
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
            assert "position" not in refused.json()
        taken = mine.post(f"/licenses/{free}/leases", json=asked).json()
        path = f"/licenses/{free}/leases/{taken['lease']}/renew"
        assert mine.post(path, json={"facts": elsewhere}).json()["code"] == "forbidden"
        assert mine.post(path, json={"facts": {"channel": "on_premise"}}).status_code == 200


def test_an_answer_that_is_given_again_is_signed_with_the_time_of_its_decision(
    api: httpx.Client, customer: str
) -> None:
    name, id = issue(api, customer)["id"], fresh("again")
    decided = verified(api, validate(api, name, id=id, nonce=NONCE).json())
    api.post(f"/licenses/{name}/revoke", json={"reason": "x"}).raise_for_status()
    other = "another-nonce-0123"
    again = verified(api, validate(api, name, id=id, nonce=other).json(), other)
    assert again == decided
    body = {"kind": "validate_license", "id": id, "license": name, "model": MODEL, "nonce": NONCE}
    (result,) = api.post("/commands", json={"commands": [body]}).json()["results"]
    assert verified(api, result).issued_at == decided.issued_at
    id = fresh("refused")
    refused = verified(api, validate(api, name, id=id, nonce=NONCE).json())
    again = verified(api, validate(api, name, id=id, nonce=other).json(), other)
    assert (again.answer["code"], again.issued_at) == ("license_revoked", refused.issued_at)


def test_a_lease_under_the_largest_policy_is_signed(api: httpx.Client, customer: str) -> None:
    features = [f"{number:03d}{'f' * 125}" for number in range(100)]
    terms = {"features": features, "limits": []}
    name = issue(api, customer, deployment="on_premise", overrides=terms)["id"]
    body = {"model": MODEL, "holder": HOLDER, "nonce": NONCE}
    leased = api.post(f"/licenses/{name}/leases", json=body)
    assert leased.status_code == 201, leased.text
    assert verified(api, leased.json()).answer["features"] == features


def test_a_limit_that_came_with_an_upgrade_shows_what_is_used(
    api: httpx.Client, customer: str
) -> None:
    name = issue(api, customer, overrides=one_limit(10))["id"]
    newer = {"limits": [{"id": "new", "unit": "requests", "limit": 5, "per": "total"}]}
    api.post(f"/licenses/{name}/upgrade", json={"overrides": newer}).raise_for_status()
    assert validate(api, name).json()["remaining"][0]["remaining"] == 4
    (limit,) = api.get(f"/licenses/{name}").json()["limits"]
    assert (limit["used"], limit["remaining"]) == (1, 4)


def test_a_total_shows_that_it_never_resets(api: httpx.Client, customer: str) -> None:
    """In admissions and denials, to whoever asks and asks again, and wherever they are read."""
    minute = {"id": "often", "unit": "requests", "limit": 9, "per": "minute"}
    limits = [minute, *one_limit(1)["limits"]]
    name = issue(api, customer, overrides={"limits": limits})["id"]
    dry = validate(api, name, dry_run=True).json()
    admitted = validate(api, name, id=f"yes-{name}", nonce=NONCE).json()
    for answer in (dry, admitted):
        often, total = answer["remaining"]
        assert parse_instant(often["resets_at"], "resets_at") > 0
        assert total == {"limit": "all", "remaining": 0, "resets_at": None}
    verified(api, admitted)
    held = {"id": f"r-{name}", "customer": customer, "model": MODEL, "estimate": USAGE}
    denials = [
        validate(api, name, id=f"no-{name}", nonce=NONCE).json(),
        validate(api, name, id=f"no-{name}").json(),
        validate(api, name, dry_run=True).json()["why"],
        api.post("/reservations", json={**held, "license": name}).json(),
    ]
    query = {"kind": "validate_license", "customer": customer, "id": f"no-{name}"}
    denials.append(api.get("/commands", params=query).json())
    wait = {"wait_for": denials[3]["position"]}
    decisions = api.get(f"/licenses/{name}/decisions", params=wait).json()["items"]
    denials += [each["why"] for each in decisions[:2]]
    for denial in denials:
        assert (denial["code"], denial["resets_at"]) == ("license_limit_reached", None)
        assert denial["detail"].endswith("it never resets")
    verified(api, denials[0])
    assert decisions[2]["remaining"] == admitted["remaining"]


def test_a_licence_to_the_end_of_time_is_shown(api: httpx.Client, customer: str) -> None:
    last = "9999-12-31T23:59:59.999999Z"
    name = issue(api, customer, expires_at=last)["id"]
    shown = api.get(f"/licenses/{name}").json()
    assert (shown["expires_at"], shown["ends_at"]) == (last, last)
