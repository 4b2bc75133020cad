"""Reconciliation with a real Triton: every request that it counted is charged, or has a cause."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain import reconciliation
from tests.architecture.source_files import ROOT
from tests.gateway.counting_server import counted, line
from tests.gateway.rig import Rig
from tests.gateway.staged import meter, published
from tests.support.triton import infer, tensor, text_inputs

PAGE = (ROOT / "docs" / "reconciliation.md").read_text("utf-8")


def assert_printed(text: str) -> None:
    """Compare what was printed with what the page shows; dots there stand for anything."""
    shown = PAGE.split("```text\n")[1].split("```")[0]
    wanted = [" ".join(each.split()) for each in shown.splitlines() if each]
    found = [" ".join(each.split()) for each in text.splitlines() if each]
    assert len(found) == len(wanted), text
    for printed, pattern in zip(found, wanted, strict=True):
        assert re.fullmatch(re.escape(pattern).replace(r"\.\.\.", ".*"), printed), pattern


@pytest.mark.timeout(200)
def test_traffic_of_all_kinds_leaves_no_gap_and_a_direct_call_does(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    with counted(pytestconfig, tmp_path) as stage:
        begin = stage.sample()
        stage.ask("textgen", "a b c", 5)
        stage.ask("textgen", "boom", 2)
        stage.ask("textgen", "", inputs=[tensor("TEXT", "BYTES", [[[b"a"]]])])
        stage.ask("textgen_cached", "the same words", 4)
        stage.ask("failing", "crash")
        stage.ask("failing", "a b", 2)
        stage.ask("pipeline", "a b", 3)
        stage.ask("pipeline", "boom")
        images = np.zeros((2, 2, 2, 3), np.uint8)
        stage.ask("image", "", 3, inputs=[tensor("IMAGE", "UINT8", images)])
        stage.leave(20)
        stage.ended(5 + 4 + 2 + 3 + 3 + 1)
        end = stage.sample()

        found = stage.reconcile("--from", begin, "--to", end)
        assert (found["explained"], found["restarts"]) == (True, 0)
        assert line(found, "textgen") == (5 + 2 + 3 + 1, 5, {"errors": 2, "ensemble": 4}, 0)
        assert line(found, "textgen_cached") == (1, 4, {"cache": -3}, 0)
        assert line(found, "failing") == (3, 2, {"errors": 1}, 0)
        # A failure of an ensemble is counted twice by this Triton.
        assert line(found, "pipeline") == (3 + 2, 3, {"errors": 2}, 0)
        assert line(found, "retrieve") == (4, 0, {"ensemble": 4}, 0)
        assert line(found, "polish") == (3, 0, {"ensemble": 3}, 0)
        assert line(found, "textgen_stream") == (1, 1, {}, 0)
        assert line(found, "image") == (3, 3, {}, 0)
        (timed,) = [each["gpu_seconds"] for each in found["models"] if each["model"] == "timed"]
        assert float(timed["charged"]) > 0
        assert (timed["causes"], timed["unexplained"]) == ([], "0")

        told = stage.command("triton", "--from", begin, "--to", end)
        assert_printed(told.out)
        for _ in range(2):
            infer(stage.triton, "textgen", text_inputs("for nothing", 2))
        late = stage.sample()
        found = stage.reconcile("--from", begin, "--to", late, code=1)
        assert line(found, "textgen")[2:] == ({"errors": 2, "ensemble": 4}, 2)
        found = stage.reconcile("--from", end, code=1)
        assert [each["served_as"] for each in found["models"]] == [["textgen"]]
        assert line(found, "textgen") == (2, 0, {}, 2)
        told = stage.command("triton", "--from", end)
        assert told.code == 1
        assert "1 of 1 models have a gap that nothing explains." in told.out


@pytest.mark.timeout(200)
def test_a_run_through_a_pipeline_counts_once_and_beside_the_models_of_its_stages(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    def prepared(rig: Rig) -> list[dict[str, Any]]:
        return [meter(published(rig, "rag"))]

    steps = ("pipeline", "retrieve", "textgen", "polish")
    with counted(pytestconfig, tmp_path, steps, prepared) as stage:
        begin = stage.sample()
        stage.ask("pipeline", "a b", 3)
        stage.ask("pipeline", "boom")
        stage.ended(3 * 3)
        found = stage.reconcile("--from", begin, "--to", stage.sample())
        assert found["explained"]
        assert line(found, "pipeline") == (3 + 2, 3, {"errors": 2}, 0)
        assert [each["model"] for each in found["models"]] == ["pipeline rag", None, None, None]
        assert line(found, "retrieve") == (4, 0, {"ensemble": 4}, 0)
        assert line(found, "polish") == (3, 0, {"ensemble": 3}, 0)
        begin = stage.sample()
        infer(stage.triton, "pipeline", text_inputs("for nothing", 2))
        found = stage.reconcile("--from", begin, "--to", stage.sample(), code=1)
        assert line(found, "pipeline") == (1, 0, {}, 1)


@pytest.mark.timeout(200)
def test_what_a_killed_server_forgot_is_told_and_nothing_that_it_did_not(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    with counted(pytestconfig, tmp_path, ("textgen",)) as stage:
        stage.ask("textgen", "a b", 4)
        stage.ended(4)
        begin = stage.sample()
        stage.ask("textgen", "a b", 3)
        stage.ended(7)
        stage.triton.kill()
        stage.triton.start()
        stage.ask("textgen", "a b", 2)
        stage.ended(9)
        stage.sample()
        stage.ask("textgen", "a b", 5)
        stage.ended(14)
        stage.gateway.stop()
        found = stage.reconcile("--from", begin)
        assert found["restarts"] == 1
        assert line(found, "textgen") == (2 + 5, 3 + 2 + 5, {"restart": -3}, 0)
        assert found["samples"] == 3, "one of the gateway's end, and those between"
        assert stage.reconcile()["explained"], "from the gateway's start"


def test_an_interval_without_samples_names_those_that_there_are(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    with counted(pytestconfig, tmp_path, ("textgen",)) as stage:
        first, last = stage.sample(), stage.sample()
        for times in (("--from", "2999-01-01T00:00:00Z"), ("--to", "2001-01-01T00:00:00Z")):
            ended = stage.command("triton", *times)
            assert ended.code == 2
            assert re.search(rf"samples go from \S+ to {last}", ended.err), ended.err
        ended = stage.command("triton", "--from", first, "--to", first)
        assert ended.code == 2
        assert "an interval with two samples" in ended.err
        assert stage.reconcile("--from", first)["models"] == []
        stage.triton.kill()
        ended = stage.command("sample")
        assert ended.code == 4
        assert "no server tells what it has counted" in ended.err


def test_the_reasons_that_are_told_apart_are_those_that_the_gateway_gives() -> None:
    sources = (ROOT / "entrypoints" / "gateway").glob("*.py")
    text = "\n".join(path.read_text("utf-8") for path in sources)
    known = (*reconciliation.NEVER_SENT, *reconciliation.TOLD_APART)
    assert [reason for reason in known if reason not in text] == []
    given = re.findall(r'(?:give_up\([\w.]+, |  reason = )f?"([^"{]+)', text)
    assert len(given) >= 5
    assert [reason for reason in given if not reason.startswith(reconciliation.NEVER_SENT)] == []
