"""`tollbook demo --cluster` from the outside: the cluster changes no charge, whatever is asked."""

import json
import threading
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from entrypoints.demo.cluster import WORKERS
from entrypoints.demo.mixed import EACH
from tests.e2e.test_demo_triton import ROWS, demo
from tests.support import kafka, redis, triton
from tests.support.processes import processes_that_name
from tests.support.shell import run_here

# What tells each process of the cluster from the others, in its command line.
PARTS = {
    "gateway": "tollbook gateway ",
    "worker": "tollbook stream run ",
    "projector": "tollbook project ",
    "Triton": "tritonserver ",
    "Kafka": " kafka.Kafka ",
}
MILLIONTH = Decimal("0.000001")


class Ran(NamedTuple):
    """A demo on a cluster, and what was seen of it."""

    document: dict[str, Any]
    ledger: Path
    temporary: Path
    most: Counter[str]
    """How many of each part ran at once, at most."""
    gateways: set[str]
    """The command lines of its gateways."""


class Watch(threading.Thread):
    """Counts the processes of a demo while it runs."""

    def __init__(self, ledger: Path, temporary: Path) -> None:
        """Count those whose command lines name the ledger, or the folder of what is temporary."""
        super().__init__(daemon=True)
        self.most: Counter[str] = Counter()
        self.gateways: set[str] = set()
        self.ended = threading.Event()
        self._folders = ledger, temporary

    def run(self) -> None:
        """Look around again and again."""
        while not self.ended.wait(0.1):
            lines = [line for each in self._folders for line in processes_that_name(str(each))]
            for part, words in PARTS.items():
                found = sum(words in line for line in lines)
                self.most[part] = max(self.most[part], found)
            self.gateways |= {line for line in lines if PARTS["gateway"] in line}
            if (self._folders[0] / "postgres" / "postmaster.pid").exists():
                self.most["PostgreSQL"] = 1


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run the demo on a cluster, once for this file."""
    triton.installed()
    kafka.installed()
    redis.installed()
    ledger = tmp_path_factory.mktemp("cluster") / "ledger"
    temporary = tmp_path_factory.mktemp("tmp")
    watch = Watch(ledger, temporary)
    watch.start()
    code, document = demo(*ROWS, "--cluster", "--data", str(ledger), TMPDIR=str(temporary))
    watch.ended.set()
    watch.join()
    assert code == 0, document
    return Ran(document, ledger, temporary, watch.most, watch.gateways)


def model_log(ran: Ran, model: str) -> list[dict[str, Any]]:
    """Read what a model says that it did, and did well."""
    lines = (ran.ledger / "model-log" / f"{model}.jsonl").read_text("utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["outcome"] == "ok"]


def test_every_charge_is_the_one_that_the_plain_demo_makes(clustered: Ran) -> None:
    code, plain = demo(*ROWS)
    assert code == 0
    found = clustered.document
    assert found["customers"] == plain["customers"]
    for name in ("inferences", "settled", "refused", "blocked", "charged", "licenses", "position"):
        assert found[name] == plain[name], name
    assert found["counted_by_model"]["equal"] is True


def test_no_gap_to_tritons_own_counters_is_unexplained(clustered: Ran) -> None:
    found = clustered.document["reconciled"]
    assert found["explained"] is True
    (model,) = [each for each in found["models"] if each["charged"]]
    assert (model["ran"], model["charged"], model["gap"]) == (200, 200, 0)


def test_every_part_of_the_cluster_is_a_process_of_its_own(clustered: Ran) -> None:
    most = clustered.most
    assert (most["gateway"], most["worker"], most["projector"]) == (1, WORKERS, 1)
    # As these start, another process may have the same command line for a moment.
    assert all(most[part] >= 1 for part in ("Triton", "Kafka", "PostgreSQL")), most
    # A Redis tells no folder in its command line; the gateway tells which one it asks.
    (gateway,) = clustered.gateways
    assert " --kafka 127.0.0.1:" in gateway
    assert " --redis redis://127.0.0.1:" in gateway


def test_each_kind_is_charged_for_what_the_models_own_logs_say(clustered: Ran) -> None:
    mixed = clustered.document["mixed"]
    assert mixed["unclaimed"] == 0
    for name, kind in mixed["kinds"].items():
        assert kind["counted_by_models"] == {"ran": kind["charged"], "equal": True}, name
        ends = EACH // 2 if name == "failing" else EACH
        numbers = tuple(kind[each] for each in ("inferences", "charged", "parked", "released"))
        assert numbers == (EACH, ends, 0, EACH - ends), name
    assert sum(each["units"] for each in model_log(clustered, "image")) > EACH


def test_the_amounts_of_kinds_are_those_of_the_logs_by_a_sum_of_our_own(clustered: Ran) -> None:
    amounts = {
        name: Decimal(kind["amount"]["amount"])
        for name, kind in clustered.document["mixed"]["kinds"].items()
    }
    images = sum(each["units"] for each in model_log(clustered, "image"))
    assert amounts["images"] == Decimal("0.01") * images
    assert amounts["failing"] == Decimal("0.001") * len(model_log(clustered, "failing"))
    streamed = sum(
        each["input_tokens"] + 2 * each["output_tokens"]
        for each in model_log(clustered, "textgen_stream")
    )
    assert amounts["stream-grpc"] == amounts["stream-http"]
    assert amounts["stream-grpc"] * 2 == MILLIONTH * streamed
    polished = {each["request_id"] for each in model_log(clustered, "polish")}
    piped = sum(
        2 * each["input_tokens"] + 4 * each["output_tokens"]
        for each in model_log(clustered, "textgen")
        if each["request_id"] in polished
    )
    assert amounts["ensemble"] == MILLIONTH * piped
    # Asked one after another, a text is made once, and comes from the cache ever after.
    asked = model_log(clustered, "textgen_cached")
    made, again = len(asked), EACH - len(asked)
    (words,) = {each["input_tokens"] for each in asked}
    (generated,) = {each["output_tokens"] for each in asked}
    assert 0 < made < again
    price = made * words + again * Decimal("0.5") * words + EACH * 2 * generated
    assert amounts["cached"] == MILLIONTH * price


def test_what_triton_counted_of_each_kind_is_explained(clustered: Ran) -> None:
    found = clustered.document["mixed"]["reconciled"]
    assert (found["explained"], found["restarts"]) == (True, 0)
    lines = {
        each["served_as"][0]: (
            each["ran"] - each["charged"],
            {part["cause"] for part in each["causes"] if part["count"]},
        )
        for each in found["models"]
    }
    assert lines["textgen"] == (EACH, {"ensemble"})
    # What an allowance had paid for and failed right before the last sample may count as under way.
    gap, causes = lines["failing"]
    assert gap == EACH // 2
    assert {"errors"} <= causes <= {"errors", "in flight"}
    assert lines["textgen_cached"][1] == {"cache"}
    assert lines["retrieve"] == lines["polish"] == (EACH, {"ensemble"})
    for model in ("textgen_stream", "pipeline", "image"):
        assert lines[model] == (0, set()), model


def test_the_ledger_that_stays_can_be_audited_and_reconciled_again(clustered: Ran) -> None:
    found, ledger = clustered.document, str(clustered.ledger)
    roots = [f"{each['position']}:{each['root']}" for each in (found, found["mixed"])]
    expected = [word for root in roots for word in ("--expect", root)]
    assert found["mixed"]["position"] > found["position"]
    assert run_here("audit", "verify", "--data", ledger, *expected).code == 0
    config = str(clustered.ledger / "gateway.toml")
    again = run_here("reconcile", "triton", "--config", config, "--data", ledger, "--json")
    assert (again.code, json.loads(again.out)["models"]) == (
        0,
        found["mixed"]["reconciled"]["models"],
    )


def test_the_audit_is_clean_and_nothing_is_left_behind(clustered: Ran) -> None:
    for audit in (clustered.document["audit"], clustered.document["mixed"]["audit"]):
        assert audit == {**audit, "ok": True, "differences": []}
    for folder in (clustered.ledger, clustered.temporary):
        assert processes_that_name(str(folder)) == []
    assert list(clustered.temporary.iterdir()) == []
    assert not (clustered.ledger / "postgres" / "postmaster.pid").exists()


@pytest.mark.parametrize("missing", ["kafka", "redis"])
def test_where_a_server_is_missing_it_says_what_to_do_and_makes_nothing(
    missing: str, tmp_path: Path
) -> None:
    triton.installed()
    kafka.installed()
    data = tmp_path / "ledger"
    home = {f"TOLLBOOK_{missing.upper()}_HOME": str(tmp_path / "none")}
    code, problem = demo("--cluster", "--data", str(data), **home)
    assert (code, problem["code"]) == (4, "unavailable")
    assert f"make {missing}" in problem["detail"]
    assert not data.exists()
