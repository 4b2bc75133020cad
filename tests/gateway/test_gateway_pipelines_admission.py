"""Admission to pipelines at the gateway's core: what is held, for how long, and what is not."""

import time
from pathlib import Path

import pytest
from tollbook.errors import Invalid, Refused, Unavailable

from domain import meters
from tests.gateway.http_serving import wait
from tests.gateway.rig import Licensee, Rig, configured
from tests.gateway.staged import (
    HELD,
    RELEASED,
    SETTLED,
    STAGES,
    assert_exact,
    meter,
    names,
    published,
    reserved,
)
from tests.gateway.test_core import answer, asked, begun, told


@pytest.fixture(scope="module")
def rag(rig: Rig) -> str:
    return published(rig)


def until(who: Licensee, wanted: list[str]) -> None:
    wait(lambda: names(who) == wanted)


def test_the_holds_of_all_stages_are_extended_while_a_run_goes_on(
    rig: Rig, rag: str, tmp_path: Path
) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path, configured(meters=[meter(rag)], hold_seconds=10)) as gateway:
        running = begun(rig, gateway, who, model="pipeline")
        end = time.monotonic() + 30
        while names(who).count("reservation_extended") < 3 and time.monotonic() < end:
            time.sleep(0.1)
        told(rig, running, answer(1, 1))
        rig.now(lambda: gateway.finish(running))
    assert names(who) == [*HELD, *["reservation_extended"] * 3, *SETTLED]
    assert_exact(who, (1, 1))


def test_an_estimate_that_the_file_does_not_give_is_the_pipelines(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    declared = [
        {**stage, "estimate": {"input_tokens": 100, "output_tokens": 50}}
        if stage["name"] == "write"
        else stage
        for stage in STAGES
    ]
    name = published(rig, stages=declared)
    stages = meter(name)["stage"]
    stages = {**stages, "write": {"usage": stages["write"]["usage"]}}
    with rig.gateway(tmp_path, configured(meters=[meter(name, stage=stages)])) as gateway:
        running = begun(rig, gateway, who, model="pipeline")
        assert [amount for _, amount in reserved(who).held][1] == 200_000_000
        rig.now(lambda: gateway.failed(running, "enough"))


def test_a_pipeline_that_is_published_anew_is_taken_up_if_it_fits_and_not_run_if_not(
    rig: Rig, tmp_path: Path
) -> None:
    who, name = rig.licensee(), published(rig)
    with rig.gateway(tmp_path, configured(meters=[meter(name)])) as gateway:
        licensed = [{**stage, "licensed": True} for stage in STAGES]
        published(rig, name, licensed)
        running = begun(rig, gateway, who, model="pipeline")
        assert all(stage.license == who.license for stage in reserved(who).stages)
        told(rig, running, answer(2, 2))
        rig.now(lambda: gateway.finish(running))
        until(who, [*HELD, *SETTLED])
        for stages in (
            [*STAGES, {"name": "check", "model": "rag/polish", "estimate": {"requests": 1}}],
            STAGES[:2],
        ):
            published(rig, name, stages)
            other = rig.licensee()
            with pytest.raises(Unavailable, match=r"this gateway's file does not fit it"):
                rig.call(gateway.admit(asked(other.key, "pipeline")))
            assert rig.tollbook.balance(other.customer).held == 0


def test_a_pool_that_is_not_here_holds_nothing(rig: Rig, rag: str, tmp_path: Path) -> None:
    who = rig.licensee(overrides={"pool": "moon"})
    with rig.gateway(tmp_path, configured(meters=[meter(rag)])) as gateway:
        with pytest.raises(Unavailable, match="no pool moon"):
            rig.call(gateway.admit(asked(who.key, "pipeline")))
        assert gateway.refused["unavailable"] == 1
    assert names(who) == [*HELD, *RELEASED]


def test_a_fact_that_a_stages_licence_begins_to_ask_for_is_shown(
    rig: Rig, rag: str, tmp_path: Path
) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path, configured(meters=[meter(rag)])) as gateway:
        running = begun(rig, gateway, who, model="pipeline", address="10.1.2.3")
        rig.now(lambda: gateway.failed(running, "enough"))
        change = {"id": f"u-{who.license}", "license": who.license}
        overrides = {"networks": ["10.0.0.0/8"]}
        rig.tollbook.run("upgrade_license", {**change, "overrides": overrides}).result()
        running = begun(rig, gateway, who, model="pipeline", address="10.1.2.3")
        rig.now(lambda: gateway.failed(running, "enough"))
        with pytest.raises(Refused, match="stage write"):
            rig.call(gateway.admit(asked(who.key, "pipeline", address="192.0.2.1")))


def test_a_request_that_does_not_tell_a_stages_hold_is_refused(
    rig: Rig, rag: str, tmp_path: Path
) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path, configured(meters=[meter(rag)])) as gateway:
        nothing = asked(who.key, "pipeline")._replace(request=meters.Request({}, {}))
        with pytest.raises(Invalid, match="TEXT"):
            rig.call(gateway.admit(nothing))
    assert names(who) == []
