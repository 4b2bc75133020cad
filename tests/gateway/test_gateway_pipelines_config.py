"""The file of a gateway before pipelines: what does not fit is told before anything is served."""

import copy
from pathlib import Path
from typing import Any

import pytest
from tollbook.errors import Invalid

from adapters.triton.server import TritonServer
from entrypoints.gateway.config import read_config
from tests.architecture.source_files import ROOT
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.rig import TEXT_ESTIMATE, Rig, configured
from tests.gateway.staged import ONCE, STAGE_METERS, STAGES, WRITE, meter, published
from tests.gateway.test_checking import checked
from tests.support.shell import run_here


def stages(**changes: Any) -> dict[str, Any]:
    """Return the meters of all stages, some of them others; None takes one away."""
    found = {**copy.deepcopy(STAGE_METERS), **changes}
    return {name: each for name, each in found.items() if each is not None}


TRACED = {
    "usage": {"gpu_seconds": {"traces": True}},
    "estimate": {"gpu_seconds": {"constant": "1"}},
}


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"pipeline": None}, "must have its usage, or a pipeline and meters of its stages"),
        ({"stage": {}}, "must have, with a pipeline, only meters of its stages"),
        ({"usage": ONCE["usage"]}, "must have, with a pipeline, only meters of its stages"),
        ({"estimate": {"requests": {"constant": 1}}}, "only meters of its stages"),
        ({"price_model": "rag"}, "the pipeline names their models"),
        ({"pipeline": "a b"}, "pipeline"),
        ({"stage": {"re trieve": ONCE}}, "stage"),
        ({"stage": {"retrieve": {}}}, "stage.retrieve.usage"),
        ({"stage": {"retrieve": {"usage": {}}}}, "stage.retrieve.usage"),
        ({"stage": {"retrieve": {**ONCE, "seconds": 5}}}, "stage.retrieve.seconds"),
        ({"stage": stages(retrieve=TRACED)}, "step must be given"),
        (
            {"stage": {"a": {**TRACED, "step": "m"}, "b": {**ONCE, "step": "m"}}},
            "must name each step of one stage",
        ),
        ({"stage": {"a": {"usage": {"words": {"constant": 1}}}}}, "words must be one of"),
        (
            {"stage": {"a": {**WRITE, "estimate": {"input_tokens": {"constant": 1}}}}},
            "estimate.output_tokens must be given",
        ),
        (
            {"stage": {"a": {**WRITE, "estimate": {"input_tokens": {"output": "A"}}}}},
            "estimate.input_tokens must be one of",
        ),
    ],
)
def test_a_meter_of_stages_that_makes_no_sense_is_refused(
    fields: dict[str, Any], rule: str
) -> None:
    changed = {**meter("rag"), **fields}
    body = {name: value for name, value in changed.items() if value is not None}
    with pytest.raises(Invalid, match=rule):
        configured(meters=[body])


def test_what_is_wrong_with_a_stage_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(
        '[[pool]]\nname = "shared"\ngrpc = "a:1"\nhttp = "a:2"\n\n'
        '[[model]]\nname = "ens"\npipeline = "rag"\n\n'
        '[model.stage.write.usage]\noutput_tokens = { output = "A", axis = 3 }\n'
    )
    with pytest.raises(Invalid) as caught:
        read_config(path)
    assert caught.value.message.startswith("line 11: model.0.stage.write.usage.output_tokens")


def test_the_example_of_the_page_is_read(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "gateway.md").read_text("utf-8")
    shown = page.split("### Pipelines\n")[1].split("```toml\n")[1].split("```")[0]
    path = tmp_path / "gateway.toml"
    path.write_text(f'[[pool]]\nname = "shared"\ngrpc = "a:1"\nhttp = "a:2"\n{shown}')
    (found,) = read_config(path).model
    assert (found.pipeline, sorted(found.stage)) == ("rag", ["retrieve", "write"])


@pytest.mark.parametrize(
    ("change", "declared", "rule"),
    [
        ({"pipeline": "nowhere"}, STAGES, "is 'nowhere': must be published"),
        ({"stage": stages(polish=None)}, STAGES, "each stage of the pipeline .*: retrieve, write"),
        ({"stage": stages(check=ONCE)}, STAGES, "a meter for each stage of the pipeline"),
        (
            {"stage": stages(polish={**ONCE, "price_model": "rag/write"})},
            STAGES,
            r"stage.polish.price_model is 'rag/write': must be rag/polish",
        ),
        ({"stage": stages(write={"usage": WRITE["usage"]})}, STAGES, "stage.write.estimate"),
        ({}, [{**stage, "licensed": False} for stage in STAGES], "one of which at least is licen"),
    ],
)
def test_a_gateway_does_not_start_before_a_pipeline_that_its_file_does_not_fit(
    rig: Rig, tmp_path: Path, change: dict[str, Any], declared: list[dict[str, Any]], rule: str
) -> None:
    config = configured(meters=[{**meter(published(rig, stages=declared)), **change}])
    with pytest.raises(Invalid, match=rule), rig.gateway(tmp_path, config):
        pass


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (
            {**WRITE, "usage": {**WRITE["usage"], "output_tokens": {"output": "TOKENS"}}},
            r"pipeline\.stage\.write\.usage\.output_tokens is 'TOKENS': must be an output of",
        ),
        (
            {**WRITE, "estimate": {**TEXT_ESTIMATE, "input_tokens": {"input_bytes": "DRAFT"}}},
            r"pipeline\.stage\.write\.estimate\.input_tokens is 'DRAFT': must be an input of",
        ),
        (
            {**TRACED, "step": "image"},
            r"stage\.write\.step is 'image': must be asked once .*: retrieve, textgen, polish",
        ),
    ],
)
def test_a_stage_that_counts_what_the_ensemble_does_not_have_is_told(
    rig: Rig, triton: TritonServer, part: dict[str, Any], says: str
) -> None:
    places = triton.grpc_address, triton.http_address
    checked(rig, configured(*places, meters=[meter("rag")]))
    with pytest.raises(Invalid, match=says):
        checked(rig, configured(*places, meters=[meter("rag", stage=stages(write=part))]))


def test_the_check_of_a_file_looks_at_the_pipeline_as_well(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    path, name = tmp_path / "gateway.toml", published(rig)
    text = (
        f'[[pool]]\nname = "shared"\ngrpc = "{triton.grpc_address}"\n'
        f'http = "{triton.http_address}"\n\n[[model]]\nname = "pipeline"\npipeline = "{name}"\n'
    )
    parts = [
        f"[model.stage.{stage}.usage]\nrequests = {{ constant = 1 }}\n" for stage in STAGE_METERS
    ]
    command = ("gateway", "--config", str(path), "--check", "--database", rig.database.owner_url)
    path.write_text(text + "".join(parts))
    told = run_here(*command)
    assert (told.code, told.out) == (0, "Every meter fits its model (1 checked).\n"), told.err
    path.write_text(text + "".join(parts[:2]))
    told = run_here(*command)
    assert told.code == 2
    assert "a meter for each stage of the pipeline" in told.err
