"""An ensemble of a real Triton as a pipeline: held, run, and settled stage by stage."""

import json
import tomllib
from typing import Any

import pytest

from adapters.triton.ensembles import stages_of
from adapters.triton.server import TritonServer
from tests.integration.audit_fixtures import audited
from tests.support.databases import TestDatabase
from tests.support.ledger import create_customer, issue_grant, open_ledger
from tests.support.pipelines import reserve_pipeline, settle_pipeline
from tests.support.shell import run_here
from tests.support.triton import infer, text_inputs

STEPS = ["retrieve", "textgen", "polish"]
PRICES = {
    "retrieve": {"requests": "0.001"},
    "textgen": {"input_tokens": "10", "output_tokens": "30"},
    "polish": {"requests": "0.002"},
}
ESTIMATES: dict[str, dict[str, int]] = {
    "retrieve": {"requests": 1},
    "textgen": {"input_tokens": 100, "output_tokens": 100},
    "polish": {"requests": 1},
}
BOOK: dict[str, Any] = {
    "id": "default",
    "currency": "USD",
    "effective_from": "2020-01-01T00:00:00Z",
    "models": [{"name": name, "prices": PRICES[name]} for name in STEPS],
}


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a-2", "a-3"]),
        (["a-2", "a", "a"], ["a-2", "a", "a-3"]),
        (["org/a.b", "org-a-b"], ["org-a-b", "org-a-b-2"]),
        (["m" * 60, "m" * 61], ["m" * 28, "m" * 28 + "-2"]),
    ],
)
def test_each_step_is_a_stage_of_a_name_of_its_own(models: list[str], names: list[str]) -> None:
    assert [stage["name"] for stage in stages_of(models)] == names
    assert [stage["model"] for stage in stages_of(models)] == models


def test_an_ensemble_is_held_run_and_settled_by_its_stages(
    triton: TritonServer, embedded_database: TestDatabase
) -> None:
    wanted = ("pipelines", "ensemble", "pipeline", "--triton", triton.http_address)
    body = json.loads(run_here(*wanted, "--name", "rag", "--json").out)
    assert tomllib.loads(run_here(*wanted).out) == {**body, "pipeline": "pipeline"}
    assert run_here(*wanted[:2], "textgen", *wanted[3:]).code == 2, "it is no ensemble"
    for wrong in ("127.0.0.1", f"http://{triton.http_address}"):
        told = run_here(*wanted[:4], wrong)
        assert (told.code, "must be HOST:PORT" in told.err) == (2, True), told.err
    assert run_here(*wanted[:2], "nothing", *wanted[3:]).code == 2
    with open_ledger(embedded_database) as ledger:
        ledger.publish(BOOK).result()
        create_customer(ledger).result()
        issue_grant(ledger, amount="1").result()
        assert [stage["model"] for stage in body["stages"]] == STEPS
        for stage in body["stages"]:
            stage["estimate"] = ESTIMATES[stage["name"]]
        ledger.run("publish_pipeline", {"id": "rag:1", **body}).result()
        held = reserve_pipeline(ledger, "run-1").result()
        assert held["held"]["amount"] == "0.007000000000"
        answer = infer(triton, "pipeline", text_inputs("one two", 3), request_id="run-1")
        words = {
            unit: int(answer.as_numpy(unit.upper()).item())
            for unit in ("input_tokens", "output_tokens")
        }
        once = {"requests": 1}
        done = settle_pipeline(ledger, "run-1", retrieve=once, textgen=words, polish=once).result()
        costs = [stage["charged"]["amount"] for stage in done["stages"]]
        assert costs == ["0.001000000000", "0.000140000000", "0.002000000000"]
        assert done["charged"]["amount"] == "0.003140000000"
    assert audited(embedded_database).differences == ()
