"""Facts about requests over HTTP: hardware is kept as hashes only, and other forms are refused."""

from typing import Any

import httpx
import pytest

from tests.http.licensing import MODEL, NONCE, fresh, issue, validate
from tests.support.ledger import USAGE


def test_hardware_is_kept_as_hashes_that_still_fit(api: httpx.Client, customer: str) -> None:
    overrides = {"hardware": {"required": 2}}
    made = issue(api, customer, deployment="on_premise", overrides=overrides)
    parts = {"mac": "02:00:00:aa:bb:cc", "cpu": "serial-4711-0815", "disk": "wd-77777777"}
    device = {"id": fresh("dev"), "components": parts}
    activated = api.post(f"/licenses/{made['id']}/activate", json=device)
    assert activated.status_code == 200, activated.text
    again = api.post(f"/licenses/{made['id']}/activate", json=device)
    assert again.headers["idempotency-replayed"] == "true"
    facts = {"channel": "on_premise", "hardware": {**parts, "disk": "another"}}
    assert validate(api, made["id"], facts=facts).status_code == 200
    said = {"value": facts["hardware"], "from": "attested"}
    assert validate(api, made["id"], facts={**facts, "hardware": said}).status_code == 200
    other = {**facts, "hardware": {"mac": parts["mac"]}}
    refused = validate(api, made["id"], facts=other).json()
    assert refused["code"] == "license_hardware_mismatch"
    stored = api.get(f"/events?customer={customer}&limit=1000").text
    shown = api.get(f"/licenses/{made['id']}").json()["devices"]
    assert shown == [{"device": device["id"], "components": sorted(parts), "holder": None}]
    for value in parts.values():
        assert value not in stored


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"hardware": {"mac": 7}}, "facts.hardware"),
        ({"hardware": {str(number): "x" for number in range(17)}}, "facts.hardware"),
        ({"hardware": {"mac": "x" * 1001}}, "hardware"),
        ({"hardware": "x"}, "facts"),
        ({"colour": "red"}, "facts"),
        (["country"], "facts"),
    ],
)
def test_facts_of_another_form_are_refused(
    api: httpx.Client, customer: str, facts: Any, field: str
) -> None:
    refused = validate(api, issue(api, customer)["id"], facts=facts)
    assert (refused.status_code, refused.json()["field"]) == (422, field), refused.text


def test_hardware_without_a_licence_is_refused(api: httpx.Client, customer: str) -> None:
    body = {"customer": customer, "model": MODEL, "estimate": USAGE}
    asked = {"facts": {"hardware": {"mac": "x"}}, "nonce": NONCE}
    refused = api.post("/reservations", json={**body, **asked})
    assert refused.status_code == 422
    assert refused.json()["field"] == "facts.hardware"
