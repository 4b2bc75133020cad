"""Pipelines over HTTP: publishing and reading them, runs and exact sums, licences by stage."""

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anyio.from_thread
import httpx
import pytest
from tollbook.client import Client
from tollbook.errors import NotFound, Refused

from sdk.tests.driven import Driven
from tests.http.licensing import issue
from tests.support.ledger import MODEL, USAGE
from tests.support.serving import Served

_numbers = itertools.count(1)


def stage(name: str, **more: Any) -> dict[str, Any]:
    """Return a stage of the standard model."""
    return {"name": name, "model": MODEL, **more}


@pytest.fixture
def pipeline(api: httpx.Client) -> str:
    """Return the name of a pipeline of this test's own, with two stages."""
    name = f"rag-{next(_numbers)}"
    stages = [stage("rank", estimate={"input_tokens": 1000, "output_tokens": 0}), stage("write")]
    assert api.post("/pipelines", json={"pipeline": name, "stages": stages}).status_code == 201
    return name


def reserve(api: httpx.Client, pipeline: str, customer: str, **more: Any) -> httpx.Response:
    """Reserve a run."""
    body = {"customer": customer, "stages": [{"stage": "write", "estimate": USAGE}], **more}
    return api.post(f"/pipelines/{pipeline}/reservations", json=body)


def amount(document: dict[str, Any], name: str) -> Decimal:
    """Return an amount of an answer, after checking that its stages add up to it."""
    whole = Decimal(document[name]["amount"])
    assert whole == sum(Decimal(each[name]["amount"]) for each in document["stages"])
    return whole


def test_a_pipeline_is_published_and_read_where_the_answer_says(api: httpx.Client) -> None:
    body = {"id": "pub-here", "pipeline": "here", "stages": [stage("only")]}
    made = api.post("/pipelines", json=body)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/pipelines/here")
    assert made.json()["version"] == 1
    again = api.post("/pipelines", json=body)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    body = {"pipeline": "here", "stages": [stage("only", licensed=True), stage("more")]}
    assert api.post("/pipelines", json=body).json()["version"] == 2
    seen = api.get("/pipelines/here").json()
    assert [each["name"] for each in seen["stages"]] == ["only", "more"]
    assert [each["version"] for each in seen["versions"]] == [1, 2]
    listed = api.get("/pipelines").json()["items"]
    assert [each["version"] for each in listed if each["pipeline"] == "here"] == [2]
    assert api.get("/pipelines/nowhere").json()["code"] == "not_found"


@pytest.mark.parametrize(
    "stages",
    [
        [],
        [stage("a"), stage("a")],
        [stage("a.b")],
        [stage(f"s{number}") for number in range(33)],
        [{"name": "a"}],
        [stage("a", price="1")],
    ],
)
def test_stages_that_are_none_are_refused(api: httpx.Client, stages: list[Any]) -> None:
    answer = api.post("/pipelines", json={"pipeline": "wrong", "stages": stages})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["field"].startswith("stages")


def test_pipelines_are_listed_page_by_page_in_order_of_their_names(api: httpx.Client) -> None:
    names = ["page-a", "page-B", "page_", "page-a-b", "page.a"]
    for name in names:
        for _ in range(2):
            api.post("/pipelines", json={"pipeline": name, "stages": [stage("only")]})
    seen, after = [], {"after": "page"}
    while True:
        page = api.get("/pipelines", params={"limit": 2, **after}).json()
        assert len(page["items"]) <= 2
        seen += [(each["pipeline"], each["version"]) for each in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen[:5] == [(name, 2) for name in sorted(names)]
    for wrong in ({"limit": 0}, {"limit": 1001}, {"after": "a b"}):
        assert api.get("/pipelines", params=wrong).status_code == 422


KEY = "TOLL-RAWKEY"


@pytest.mark.parametrize(
    "stages",
    [{"license_key": KEY}, [[{"license_key": KEY}]], [{"stage": "write"}, [KEY]], KEY, [KEY]],
)
def test_a_key_in_stages_that_cannot_be_read_is_not_shown_again(
    api: httpx.Client, customer: str, pipeline: str, stages: Any
) -> None:
    body = {"customer": customer, "pipeline": pipeline, "stages": stages}
    one = reserve(api, pipeline, customer, stages=stages)
    many = api.post("/commands", json={"commands": [{"kind": "reserve_pipeline", **body}]})
    for problem in (one.json(), many.json()["results"][0]):
        assert (problem["code"], problem["field"]) == ("invalid", "stages")
    assert KEY not in one.text + many.text


def test_a_run_is_held_read_and_settled_with_exact_sums(
    api: httpx.Client, customer: str, pipeline: str
) -> None:
    made = reserve(api, pipeline, customer, id=f"run-{pipeline}")
    assert made.status_code == 201
    place = f"/pipelines/{pipeline}/reservations/run-{pipeline}"
    assert made.headers["location"] == f"/v1{place}"
    assert amount(made.json(), "held") == Decimal("0.035")
    seen = api.get(place).json()
    assert (seen["status"], seen["customer"], amount(seen, "held")) == (
        "open",
        customer,
        Decimal("0.035"),
    )
    assert [each["stage"] for each in seen["stages"]] == ["rank", "write"]
    one = api.get(f"/reservations/run-{pipeline}.rank").json()
    assert one["held"]["amount"] == "0.010000000000"
    used = [{"stage": "write", "usage": {"input_tokens": 10}}]
    settled = api.post(f"{place}/settle", json={"id": f"s-{pipeline}", "stages": used}).json()
    assert amount(settled, "charged") == Decimal("0.0001")
    assert amount(settled, "released") == Decimal("0.0349")
    seen = api.get(place).json()
    assert [each["status"] for each in seen["stages"]] == ["released", "settled"]
    assert (seen["status"], amount(seen, "charged")) == ("settled", Decimal("0.0001"))
    refused = api.post(f"{place}/release", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "already_released")
    assert refused.json()["stage"] == "rank", "the first of the stages"
    elsewhere = api.get(f"/pipelines/other/reservations/run-{pipeline}")
    assert elsewhere.json()["code"] == "not_found"


def test_a_refusal_names_the_stage_and_holds_nothing(
    api: httpx.Client, customer: str, pipeline: str
) -> None:
    before = api.get(f"/customers/{customer}/balance").json()["available"]
    stages = [{"stage": "write", "estimate": {"input_tokens": 10**12}}]
    refused = reserve(api, pipeline, customer, stages=stages)
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (402, "insufficient_balance")
    assert (problem["stage"], problem["detail"].startswith("stage write: ")) == ("write", True)
    assert api.get(f"/customers/{customer}/balance").json()["available"] == before


def test_a_stage_under_a_licence_is_decided_by_it_and_by_its_key(
    api: httpx.Client, customer: str
) -> None:
    name = f"licensed-{next(_numbers)}"
    stages = [stage("free"), stage("paid", licensed=True)]
    api.post("/pipelines", json={"pipeline": name, "stages": stages}).raise_for_status()
    once = {"limits": [{"id": "once", "unit": "requests", "limit": 1, "per": "total"}]}
    issued = issue(api, customer, template="enterprise", overrides=once)
    free = {"stage": "free", "estimate": USAGE}
    paid = {"stage": "paid", "estimate": USAGE, "license_key": issued["license_key"]}
    assert reserve(api, name, customer, stages=[free, {**paid, "license_key": "x"}]).json()[
        "code"
    ] in ("invalid", "license_key_invalid")
    assert reserve(api, name, customer, stages=[free]).json()["code"] == "invalid"
    nonce = {**paid, "nonce": "n" * 20}
    assert reserve(api, name, customer, stages=[free, nonce]).json()["code"] == "invalid"
    run = reserve(api, name, customer, stages=[free, paid])
    assert run.status_code == 201, run.json()
    place = f"/pipelines/{name}/reservations/{run.json()['id']}"
    assert [each["license"] for each in api.get(place).json()["stages"]] == [None, issued["id"]]
    refused = reserve(api, name, customer, stages=[free, paid]).json()
    assert (refused["code"], refused["stage"]) == ("license_limit_reached", "paid")
    api.post(f"{place}/release", json={"reason": "enough"}).raise_for_status()


def test_pipelines_come_in_batches_too(api: httpx.Client, customer: str, pipeline: str) -> None:
    wanted = {"kind": "reserve_pipeline", "customer": customer, "pipeline": pipeline}
    stages = [{"stage": "write", "estimate": USAGE}]
    run = f"batch-{pipeline}"
    body = {
        "atomic": True,
        "commands": [
            {**wanted, "id": run, "stages": stages},
            {
                "kind": "settle_pipeline",
                "id": f"s-{run}",
                "pipeline": pipeline,
                "reserved": run,
                "stages": [{"stage": "rank", "usage": {"input_tokens": 5}}],
            },
            {**wanted, "id": f"{run}-2", "stages": [{"stage": "nowhere"}]},
        ],
    }
    results = api.post("/commands", json=body).json()["results"]
    assert [each["code"] for each in results] == ["aborted", "aborted", "invalid"]
    body["commands"] = body["commands"][:2]  # type: ignore[index]
    results = api.post("/commands", json=body).json()["results"]
    assert [each["status"] for each in results] == ["done", "done"]
    assert amount(results[1], "charged") == Decimal("0.00005")


@pytest.fixture(params=["blocking", "asynchronous"])
def client(request: pytest.FixtureRequest, served: Served) -> Iterator[Any]:
    """Open a client of either kind."""
    if request.param == "blocking":
        with Client(served.url, key=served.key()) as client:
            yield client
        return
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        Driven(portal, served.url, served.key()) as client,
    ):
        yield client


def test_the_client_runs_a_pipeline(client: Any, customer: str) -> None:
    name = f"client-{next(_numbers)}"
    stages = [stage("rank", estimate={"input_tokens": 100, "output_tokens": 0}), stage("write")]
    assert client.publish_pipeline(name, stages).version == 1
    shown = client.pipeline(name)
    assert [each.estimate for each in shown.stages][1] is None
    assert name in [each.pipeline for each in client.pipelines()]
    held = client.reserve_pipeline(name, customer, {"write": {"estimate": USAGE}}, ttl_seconds=60)
    assert sum(each.held.pico for each in held.stages) == held.held.pico
    run = client.pipeline_reservation(name, held.id)
    assert (run.status, run.held) == ("open", held.held)
    done = client.settle_pipeline(name, held.id, {"rank": {"input_tokens": 7}})
    assert sum(each.charged.pico for each in done.stages) == done.charged.pico
    with pytest.raises(Refused, match="stage rank"):
        client.settle_pipeline(name, held.id, {"rank": {"input_tokens": 7}})
    other = client.reserve_pipeline(name, customer, {"write": {"estimate": USAGE}})
    given = client.release_pipeline(name, other.id, reason="not needed")
    assert given.released == other.held
    with pytest.raises(NotFound):
        client.pipeline_reservation("nowhere", held.id)


def test_so_many_whole_pipelines_at_once_are_refused_as_a_body(
    api: httpx.Client, customer: str, pipeline: str
) -> None:
    """Deciding them would take longer than a decision's time may differ from the clock."""
    whose = {"kind": "reserve_pipeline", "customer": customer, "pipeline": pipeline}
    wanted = [{**whose, "stages": [{"stage": "write", "estimate": {}}]} for _ in range(32)]
    refused = api.post("/commands", json={"commands": wanted})
    assert (refused.status_code, refused.json()["field"]) == (422, "commands")
    done = api.post("/commands", json={"commands": wanted[:31]}).json()["results"]
    assert {each["status"] for each in done} == {"done"}
