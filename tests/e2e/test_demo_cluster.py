"""`tollbook demo --cluster` from the outside: Kafka and two workers change no charge."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_demo_triton import ROWS, demo, processes_that_name
from tests.support import kafka, triton


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name the folder of the demo's ledger."""
    return tmp_path_factory.mktemp("cluster") / "ledger"


@pytest.fixture(scope="module")
def clustered(folder: Path) -> dict[str, Any]:
    """Run the demo on a cluster, once for this file."""
    triton.installed()
    kafka.installed()
    code, document = demo(*ROWS, "--cluster", "--data", str(folder))
    assert code == 0, document
    return document


def test_every_charge_is_the_one_that_the_plain_demo_makes(clustered: dict[str, Any]) -> None:
    code, plain = demo(*ROWS)
    assert code == 0
    assert clustered["customers"] == plain["customers"]
    for name in ("inferences", "settled", "refused", "blocked", "charged", "licenses", "position"):
        assert clustered[name] == plain[name], name
    assert clustered["counted_by_model"]["equal"] is True


def test_no_gap_to_tritons_own_counters_is_unexplained(clustered: dict[str, Any]) -> None:
    found = clustered["reconciled"]
    assert found["explained"] is True
    (model,) = [each for each in found["models"] if each["charged"]]
    assert (model["ran"], model["charged"], model["gap"]) == (200, 200, 0)


def test_the_audit_is_clean_and_nothing_is_left_behind(
    clustered: dict[str, Any], folder: Path
) -> None:
    assert clustered["audit"] == {**clustered["audit"], "ok": True, "differences": []}
    assert processes_that_name(str(folder)) == []
    assert not (folder / "postgres" / "postmaster.pid").exists()


def test_where_there_is_no_kafka_it_says_what_to_do_and_makes_nothing(tmp_path: Path) -> None:
    triton.installed()
    data = tmp_path / "ledger"
    home = {"TOLLBOOK_KAFKA_HOME": str(tmp_path / "none")}
    code, problem = demo("--cluster", "--data", str(data), **home)
    assert (code, problem["code"]) == (4, "unavailable")
    assert "make kafka" in problem["detail"]
    assert not data.exists()
