"""The registry of models over HTTP: entering, withdrawing, reading, and who may see what."""

import hashlib
import itertools
import json
from typing import Any

import httpx
import pytest

from tests.support.serving import Served

WEIGHTS = "0a" * 32
BOM = json.dumps(
    {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "components": [
            {
                "type": "machine-learning-model",
                "name": "gpt",
                "hashes": [{"alg": "SHA-256", "content": WEIGHTS}],
            }
        ],
    }
)

_numbers = itertools.count(1)


@pytest.fixture
def model(api: httpx.Client) -> str:
    """Return the name of a registered model of this test's own; it has a slash."""
    name = f"org/gpt-{next(_numbers)}"
    assert api.post("/models", json={"model": name}).status_code == 201
    return name


def release(api: httpx.Client, model: str, version: str, **body: Any) -> httpx.Response:
    """Release a version."""
    return api.post(f"/models/{model}/versions", json={"version": version, **body})


def test_a_model_is_registered_and_read_where_the_answer_says(api: httpx.Client) -> None:
    body = {"id": "reg-here", "model": "org/here"}
    made = api.post("/models", json=body)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/models/org/here")
    assert made.json()["model"] == "org/here"
    seen = api.get("/models/org/here").json()
    assert (seen["model"], seen["versions"]) == ("org/here", [])
    assert api.get("/models/org%2Fhere").json() == seen
    again = api.post("/models", json=body)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    other = api.post("/models", json={"model": "org/here"})
    assert (other.status_code, other.json()["code"]) == (409, "already_exists")


def test_a_version_is_released_with_its_document_checked(api: httpx.Client, model: str) -> None:
    said = [{"name": "certification", "value": "ISO/IEC 42001"}]
    body = {"digest": WEIGHTS, "released_at": "2026-01-01T00:00:00Z", "provenance": said}
    made = release(api, model, "4.1.0", bom=BOM, **body)
    assert made.status_code == 200, made.text
    (version,) = api.get(f"/models/{model}").json()["versions"]
    assert version == {
        "version": "4.1.0",
        "released_at": "2026-01-01T00:00:00.000000Z",
        "digest": WEIGHTS,
        "yanked_at": None,
        "reason": None,
        "provenance": [
            {
                "digest": hashlib.sha256(BOM.encode()).hexdigest(),
                "name": "ml_bom",
                "standing": "verified",
                "value": "CycloneDX 1.6",
            },
            {"digest": WEIGHTS, "name": "ml_bom.weights", "standing": "verified"},
            {"name": "ml_bom.component", "standing": "declared", "value": "gpt"},
            {"name": "certification", "standing": "declared", "value": "ISO/IEC 42001"},
        ],
    }


def test_the_same_release_again_is_answered_as_before(api: httpx.Client, model: str) -> None:
    """Also where the time and the document were left to the server."""
    first = release(api, model, "1.0.0", id=f"v-{model[4:]}", bom=BOM)
    again = release(api, model, "1.0.0", id=f"v-{model[4:]}", bom=BOM)
    assert (again.status_code, again.json()) == (200, first.json())
    other = release(api, model, "1.0.0", id=f"v-{model[4:]}", bom=BOM + " ")
    assert (other.json()["code"], other.json()["field"]) == ("id_reused", "provenance")


REFUSED = [
    ({"version": "1.0"}, 422, "version"),
    ({"released_at": "2999-01-01T00:00:00Z"}, 422, "released_at"),
    ({"digest": "0b" * 32, "bom": BOM}, 422, "bom"),
    ({"bom": BOM.replace("1.6", "1.4")}, 422, "bom.specVersion"),
    ({"bom": {"bomFormat": "CycloneDX"}}, 422, "bom"),
    (
        {"provenance": [{"name": "ml_bom", "digest": WEIGHTS, "standing": "verified"}]},
        422,
        "provenance",
    ),
    ({"model": "another"}, 422, "model"),
    ({"verified": True}, 422, "verified"),
]


@pytest.mark.parametrize(("more", "status", "field"), REFUSED)
def test_what_is_not_so_is_refused_by_its_field(
    api: httpx.Client, model: str, more: dict[str, Any], status: int, field: str
) -> None:
    made = api.post(f"/models/{model}/versions", json={"version": "1.0.0", **more})
    assert (made.status_code, made.json()["field"]) == (status, field), made.text
    assert api.get(f"/models/{model}").json()["versions"] == []


def test_a_version_is_yanked_once(api: httpx.Client, model: str) -> None:
    release(api, model, "1.0.0").raise_for_status()
    release(api, model, "1.1.0+build.1").raise_for_status()
    yanked = api.post(f"/models/{model}/versions/1.0.0/yank", json={"reason": "leaks"})
    assert (yanked.status_code, yanked.json()["version"]) == (200, "1.0.0")
    again = api.post(f"/models/{model}/versions/1.0.0/yank", json={"reason": "leaks"})
    assert (again.status_code, again.json()["code"]) == (409, "already_yanked")
    other = api.post(f"/models/{model}/versions/1.1.0+build.1/yank", json={"reason": "x"})
    assert other.status_code == 200
    seen = {each["version"]: each for each in api.get(f"/models/{model}").json()["versions"]}
    assert seen["1.0.0"]["reason"] == "leaks"
    assert seen["1.0.0"]["yanked_at"] is not None


@pytest.mark.parametrize("name", ["nobody", "org/nobody", "a b", "ü", "x/versions", "%00"])
def test_a_model_that_is_not_there_is_not_found(api: httpx.Client, name: str) -> None:
    missing = api.get(f"/models/{name}")
    assert missing.status_code in (404, 405), missing.text
    made = api.post(f"/models/{name}/versions", json={"version": "1.0.0"})
    assert made.json()["code"] in ("not_found", "invalid"), made.text


def test_models_are_listed_in_pages(api: httpx.Client, model: str) -> None:
    release(api, model, "1.0.0", released_at="2026-01-02T00:00:00Z").raise_for_status()
    release(api, model, "0.9.9", released_at="2026-01-01T00:00:00Z").raise_for_status()
    release(api, model, "2.0.0").raise_for_status()
    api.post(f"/models/{model}/versions/2.0.0/yank", json={"reason": "x"}).raise_for_status()
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = api.get("/models", params={"after": after, "limit": 2}).json()
        assert 0 < len(page["items"]) <= 2
        found, after = [*found, *page["items"]], page["next"]
    assert found == api.get("/models?limit=1000").json()["items"]
    positions = [each["position"] for each in found]
    assert positions == sorted(set(positions))
    mine = next(each for each in found if each["model"] == model)
    assert (mine["versions"], mine["yanked"], mine["newest"]) == (3, 1, "1.0.0")


def test_the_export_list_is_replaced_and_read(api: httpx.Client) -> None:
    first = api.post("/export-list", json={"countries": ["SY", "KP"], "note": "January"})
    assert (first.status_code, first.json()["countries"]) == (200, ["KP", "SY"])
    second = api.post("/export-list", json={"countries": ["IR"]})
    assert second.json()["version"] == first.json()["version"] + 1
    seen = api.get("/export-list").json()
    assert (seen["countries"], seen["version"]) == (["IR"], second.json()["version"])
    assert "note" not in seen
    wrong = api.post("/export-list", json={"countries": ["UK"]})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "countries")


def test_a_customer_sees_the_registry_but_not_the_export_list(
    served: Served, api: httpx.Client, model: str, customer: str
) -> None:
    with served.client("customer", customer) as client:
        assert client.get(f"/models/{model}").json() == api.get(f"/models/{model}").json()
        assert model in client.get("/models?limit=1000").text
        assert client.get("/export-list").status_code == 403


def test_models_are_entered_in_a_batch_too(api: httpx.Client) -> None:
    """A rule's no is answered there, and its id stays free: there is nobody to record it for."""
    name = f"batch-{next(_numbers)}"
    commands = [
        {"kind": "register_model", "id": f"r-{name}", "model": name},
        {"kind": "release_model_version", "model": name, "version": "1.0.0", "bom": BOM},
        {"kind": "release_model_version", "id": f"v-{name}", "model": name, "version": "1.0.0"},
        {"kind": "publish_export_list", "countries": []},
    ]
    results = api.post("/commands", json={"commands": commands}).json()["results"]
    assert [each["status"] for each in results] == ["done", "done", "refused", "done"]
    assert results[2]["code"] == "already_exists"
    assert "position" not in results[2]
    free = {"kind": "release_model_version", "id": f"v-{name}", "model": name, "version": "1.0.1"}
    (freed,) = api.post("/commands", json={"commands": [free]}).json()["results"]
    assert freed["status"] == "done"
    group = {"commands": [{**free, "id": f"g-{name}"}, {**free, "version": "9.9"}], "atomic": True}
    aborted = api.post("/commands", json=group).json()["results"]
    assert [each["status"] for each in aborted] == ["refused", "refused"]
