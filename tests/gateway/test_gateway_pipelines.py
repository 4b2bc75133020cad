"""Pipelines behind the gateway on a real Triton ensemble: all stages of a run, or none."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tollbook import receipt
from tollbook.tokens import TrustedKeys
from tritonclient.utils import InferenceServerException

from adapters.triton.server import TritonServer
from entrypoints.bootstrap import license_secrets
from entrypoints.gateway.core import RECEIPT, REMAINING, REQUEST_ID, USAGE
from tests.gateway.fake_http_server import fake_server, whole
from tests.gateway.grpc_serving import GrpcServed, grpc_serving
from tests.gateway.grpc_serving import before as before_grpc
from tests.gateway.http_serving import HttpServed, before, document, http_serving, raw_request, wait
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.rig import Licensee, Rig, configured
from tests.gateway.staged import (
    HELD,
    PARKED,
    RELEASED,
    SETTLED,
    STAGES,
    assert_exact,
    meter,
    names,
    parked,
    published,
    reserved,
    settled,
)
from tests.gateway.test_core import answer, begun, told
from tests.support.triton import account, text_inputs

INFER = "pipeline/infer"
CAP = {"id": "day", "unit": "requests", "limit": 1, "calendar": "day"}


@pytest.fixture(scope="module")
def rag(rig: Rig) -> str:
    return published(rig)


@pytest.fixture(scope="module")
def served(
    rig: Rig, triton: TritonServer, rag: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpServed]:
    config = before(triton, meters=[meter(rag, request_id_output="REQUEST_ID")])
    with http_serving(rig, tmp_path_factory.mktemp("home"), config) as serving:
        yield serving


def served_words(triton: TritonServer, run: str) -> tuple[int, int]:
    """Return what the model that writes says itself of a run: its tokens in and out."""
    (line,) = [each for each in account(triton, "textgen") if each["request_id"] == run]
    return line["input_tokens"], line["output_tokens"]


def until(who: Licensee, wanted: list[str]) -> None:
    wait(lambda: names(who) == wanted)


def test_a_run_is_held_and_charged_by_its_stages_over_http(
    rig: Rig, triton: TritonServer, served: HttpServed
) -> None:
    limits = [{"id": "day", "unit": "requests", "limit": 100, "per": "day"}]
    who = rig.licensee(overrides={"limits": limits})
    found = served.post(who, INFER, document("a b", 4, outputs=[{"name": "OUT"}]))
    assert found.status == 200, found.body
    assert [each["name"] for each in found.json["outputs"]] == ["OUT"]
    until(who, [*HELD, *SETTLED])
    run = found.headers[REQUEST_ID]
    assert reserved(who).reserved == settled(who).reserved == run
    words = served_words(triton, run)
    assert_exact(who, words)
    told = {
        "retrieve.requests": 1,
        "write.input_tokens": words[0],
        "write.output_tokens": words[1],
        "polish.requests": 1,
    }
    assert json.loads(found.headers[USAGE]) == told
    (left,) = json.loads(found.headers[REMAINING])
    assert left["remaining"] == 98, "two of the stages are licensed, and count"
    store: Any = rig.tollbook.store
    trusted = TrustedKeys(license_secrets(rig.database, store).public_keys())
    signed = receipt.verify(found.headers[RECEIPT], trusted, run)
    assert (signed.usage, signed.model) == (told, reserved(who).pipeline)
    assert (signed.customer, signed.license) == (who.customer, who.license)


def test_a_run_is_charged_by_its_stages_over_grpc(
    rig: Rig, triton: TritonServer, rag: str, tmp_path: Path
) -> None:
    who, config = rig.licensee(), before_grpc(triton, meters=[meter(rag)])
    with grpc_serving(rig, tmp_path, config) as serving, serving.client() as client:
        client.infer("pipeline", text_inputs("a b c", 5), headers=who.headers)
        until(who, [*HELD, *SETTLED])
        assert_exact(who, served_words(triton, settled(who).reserved))
        _refused_over_grpc(serving, rig.licensee(overrides={"models": ["rag/write"]}))


def test_generate_is_charged_by_its_stages_as_well(
    rig: Rig, triton: TritonServer, served: HttpServed
) -> None:
    who = rig.licensee()
    found = served.post(who, "pipeline/generate", {"TEXT": "a b", "MAX_TOKENS": 3})
    assert found.status == 200, found.body
    until(who, [*HELD, *SETTLED])
    assert_exact(who, served_words(triton, settled(who).reserved))
    assert "write.output_tokens" in json.loads(found.headers[USAGE])


def _refused_over_grpc(serving: GrpcServed, who: Licensee) -> None:
    with serving.client() as client, pytest.raises(InferenceServerException) as caught:
        client.infer("pipeline", text_inputs("a", 1), headers=who.headers)
    assert caught.value.status() == str(grpc.StatusCode.PERMISSION_DENIED)
    assert "stage polish" in str(caught.value)


@pytest.mark.parametrize(
    ("amount", "terms", "caps", "stage", "code", "status"),
    [
        ("0.0015", {}, [], "write", "insufficient_balance", 402),
        ("0.0045", {}, [], "polish", "insufficient_balance", 402),
        ("9", {"overrides": {"models": ["rag/polish"]}}, [], "write", "license_model_denied", 403),
        ("9", {"overrides": {"models": ["rag/write"]}}, [], "polish", "license_model_denied", 403),
        (
            "9",
            {"overrides": {"limits": [{"id": "d", "unit": "requests", "limit": 1, "per": "day"}]}},
            [],
            "polish",
            "license_limit_reached",
            403,
        ),
        ("9", {}, [CAP], "write", "usage_capped", 403),
    ],
)
def test_a_stage_that_is_refused_refuses_the_run_and_names_itself(
    rig: Rig,
    triton: TritonServer,
    served: HttpServed,
    amount: str,
    terms: dict[str, Any],
    caps: list[dict[str, Any]],
    stage: str,
    code: str,
    status: int,
) -> None:
    who = rig.licensee(amount, **terms)
    if caps:
        body = {"id": f"caps-{who.customer}", "customer": who.customer, "caps": caps}
        rig.tollbook.run("set_caps", body).result()
    before_it = len(account(triton, "retrieve"))
    found = served.post(who, INFER, document("a b", 1500))
    assert (found.status, found.json["code"], found.json["stage"]) == (status, code, stage)
    assert names(who) == ["command_refused"]
    assert rig.tollbook.balance(who.customer).held == 0
    assert len(account(triton, "retrieve")) == before_it, "no server has had it"


def test_a_revoked_licence_is_refused_before_its_body_is_of_use(
    rig: Rig, served: HttpServed
) -> None:
    who = rig.licensee()
    revoke = {"id": f"r-{who.license}", "license": who.license, "reason": "it was stolen"}
    rig.tollbook.run("revoke_license", revoke).result()
    found = served.post(who, INFER, document("a b", 4))
    assert (found.status, found.json["code"]) == (403, "license_revoked")
    assert served.post(None, INFER, document("a b", 4)).status == 401


def test_a_server_that_fails_a_run_costs_nothing(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    assert served.post(who, INFER, document("boom", 4)).status == 500
    until(who, [*HELD, *RELEASED])
    assert rig.tollbook.balance(who.customer).held == 0


def told_tokens(name: str, count: int) -> dict[str, Any]:
    """Return an output of the ensemble as a server writes it."""
    return {"name": name, "datatype": "INT64", "shape": [1, 1], "data": [count]}


def test_a_client_that_leaves_pays_for_the_run_that_was_begun(
    rig: Rig, rag: str, tmp_path: Path
) -> None:
    who, has_left = rig.licensee(), threading.Event()
    outputs = [told_tokens("INPUT_TOKENS", 3), told_tokens("OUTPUT_TOKENS", 2)]
    body = whole(json.dumps({"outputs": outputs}).encode())

    def answered(connection: socket.socket) -> None:
        assert has_left.wait(20)
        connection.sendall(body)

    with fake_server(answered) as server:
        config = configured(http=server.address, meters=[meter(rag)])
        with http_serving(rig, tmp_path, config) as serving:
            with serving.socket() as connection:
                asked_for = raw_request(f"/v2/models/{INFER}", document("a b", 6), who)
                connection.sendall(asked_for)
                wait(lambda: len(server.got) == 1)
            has_left.set()
            until(who, [*HELD, *SETTLED])
    assert_exact(who, (3, 2))


def test_an_answer_that_does_not_tell_all_stages_parks_each_of_them(
    rig: Rig, rag: str, tmp_path: Path
) -> None:
    who = rig.licensee()
    body = json.dumps({"outputs": [told_tokens("INPUT_TOKENS", 3)]}).encode()
    with fake_server(whole(body)) as server:
        config = configured(http=server.address, meters=[meter(rag)])
        with http_serving(rig, tmp_path, config) as serving:
            assert serving.post(who, INFER, document("a b", 4)).status == 200
            until(who, [*HELD, *PARKED])
    run = reserved(who).reserved
    assert [each.record for each in parked(who)] == [f"{run}.{stage['name']}" for stage in STAGES]
    assert {each.detail for each in parked(who)} == {
        "the answer cannot be metered: OUTPUT_TOKENS is not in the answer"
    }
    assert rig.tollbook.balance(who.customer).spent == 0
    for each in parked(who):
        rig.tollbook.run("release_usage", {"id": each.parked, "parked": each.parked}).result()
    assert [charge.reservation for charge in who.charges()] == [
        f"{run}.{stage['name']}" for stage in STAGES
    ]


def test_a_stage_that_somebody_gave_back_meanwhile_parks_them_all(
    rig: Rig, rag: str, tmp_path: Path
) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path, configured(meters=[meter(rag)])) as gateway:
        running = begun(rig, gateway, who, model="pipeline")
        stage = f"{running.id}.write"
        release = {"id": f"r-{stage}", "reservation": stage, "reason": "by hand"}
        rig.tollbook.run("release", release).result()
        told(rig, running, answer(3, 11))
        rig.now(lambda: gateway.finish(running))
        until(who, [*HELD, "command_refused", *PARKED])
    assert {each.detail for each in parked(who)} == {
        f"already_released: stage write: reservation {stage} was released by r-{stage}"
    }
    assert list(tmp_path.iterdir()) == [], "the ledger has it all"


def test_only_who_may_use_every_stage_is_told_about_the_ensemble(
    rig: Rig, served: HttpServed
) -> None:
    for models, status in ((["rag/write"], 403), (["rag/write", "rag/polish"], 200)):
        who = rig.licensee(overrides={"models": models})
        assert served.ask("GET", "/v2/models/pipeline", headers=who.headers).status == status
