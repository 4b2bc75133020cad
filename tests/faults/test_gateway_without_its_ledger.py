"""The ledger is away, or the intent log's disk is full: nothing runs that nobody could charge."""

import json
import re
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tollbook.errors import Unavailable

from adapters.embedded_postgres.errors import ServerUnavailable
from adapters.triton.server import TritonServer
from domain import meters
from domain.tensors import Tensor
from entrypoints.gateway.admission import Asked
from tests.faults.gateway_process import GatewayProcess, document
from tests.faults.invariants import assert_sound
from tests.faults.own_server import OwnServer
from tests.gateway.http_serving import Answer, ask
from tests.gateway.rig import METERS, Licensee, Rig, rig_on
from tests.integration.embedded_postgres_helpers import ROOT
from tests.support.databases import MASTER_KEY
from tests.support.triton import account, wait_until
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

LIMIT = 4_096
SLOW_MS = 4_000


def asked(address: str, who: Licensee, model: str, **inputs: Any) -> Answer:
    body = {"TEXT": "a b c", **inputs}
    return ask(address, "POST", f"/v2/models/{model}/generate", body, who.headers)


def counted(gateway: GatewayProcess, name: str) -> int:
    """Return one of the gateway's metrics."""
    told = gateway.monitored("/metrics")[1]
    found = re.search(rf"^tollbook_gateway_{name} (\S+)$", told, re.MULTILINE)
    assert found is not None, told
    return int(float(found[1]))


def test_without_its_ledger_nothing_new_runs_and_what_runs_is_told_later(
    own_server: OwnServer, triton: TritonServer, tmp_path: Path
) -> None:
    pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
    config = document(pool=[pool], model=METERS)
    gateway = GatewayProcess(tmp_path, own_server.parts.owner_url, MASTER_KEY, config)
    with rig_on(own_server.parts) as rig, ThreadPoolExecutor(4) as pool_of_threads:
        who = rig.licensee()
        gateway.start()
        try:
            address = gateway.found["http"].removeprefix("http://")
            assert asked(address, who, "textgen").status == 200
            assert gateway.monitored("/readyz")[0] == 200
            before = len(account(triton, "textgen"))
            slow = pool_of_threads.submit(asked, address, who, "slow", DELAY_MS=SLOW_MS)
            wait_until(lambda: counted(gateway, "running") == 1)  # the gateway knows of its hold
            time.sleep(0.5)  # it is at the server by then
            own_server.kill_everything()
            refused = list(pool_of_threads.map(lambda _: asked(address, who, "textgen"), range(3)))
            assert {answer.status for answer in refused} == {503}
            # Both promise that nothing was done.
            assert {answer.json["code"] for answer in refused} <= {"unavailable", "overloaded"}
            assert len(account(triton, "textgen")) == before, "it ran, and nobody could charge it"
            status, said = gateway.monitored("/readyz")
            assert status == 503
            assert "the ledger" in json.loads(said)["missing"]
            assert slow.result(60).status == 200
            wait_until(lambda: counted(gateway, "settlements_waiting") == 1)
            wait_until(lambda: is_back(own_server))
            wait_until(lambda: counted(gateway, "settlements_waiting") == 0)
            wait_until(lambda: gateway.monitored("/readyz")[0] == 200)
            assert asked(address, who, "textgen").status == 200
            gateway.stop()
        finally:
            gateway.kill()
        assert sorted(charge.model for charge in who.charges()) == ["slow", "textgen", "textgen"]
        assert list(gateway.home.iterdir()) == []
        assert_sound(own_server.super_url)


def is_back(server: OwnServer) -> bool:
    """Revive PostgreSQL; a session that began in its last moment may be in the way at first."""
    try:
        server.revive()
    except ServerUnavailable:
        return False
    return True


@pytest.mark.timeout(200)
def test_a_full_disk_is_told_before_anything_runs_and_what_runs_is_charged(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.test_gateway_without_its_ledger", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def on_a_full_disk(folder: Path) -> None:
    """Let files grow to a limit, at which writing fails as it does on a disk without room.

    It cuts the line that reaches the limit, and refuses every one after it.
    """
    with closing(OwnServer(folder / "ledger")) as server, rig_on(server.parts) as rig:
        who = rig.licensee()
        home = folder / "home"
        with rig.gateway(home) as gateway:
            request = meters.Request({"TEXT": Tensor("BYTES", (1,), listed=["a b c"])}, {})
            question = Asked("textgen", who.key, request, "0" * 64)
            early = rig.call(gateway.admit(question))
            rig.now(lambda: gateway.begin(early))
            resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
            refused = _begun_until_full(rig, gateway, question)
            # What ran when the disk filled up is charged, though its outcome finds no room.
            ended = {"INPUT_TOKENS": _count(3), "OUTPUT_TOKENS": _count(5)}
            rig.now(lambda: early.message(ended, {}))
            assert "tollbook-receipt" in rig.now(lambda: gateway.finish(early))
            (charge,) = who.until(1)
            assert charge.reservation == early.id
            wait_until(lambda: who.names().count("reservation_released") == len(refused))
            assert not gateway.running.keys() & {each.id for each in refused}
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
            # With room again it goes on; the line that was cut stays none.
            late = rig.call(gateway.admit(question))
            rig.now(lambda: gateway.begin(late))
            rig.now(lambda: late.message(ended, {}))
            rig.now(lambda: gateway.finish(late))
            who.until(2)
            for running in tuple(gateway.running.values()):
                rig.now(partial(gateway.failed, running, "the test is over"))
        assert list(home.iterdir()) == []
        assert_sound(server.super_url)


def _begun_until_full(rig: Rig, gateway: Any, question: Asked) -> list[Any]:
    """Begin inferences until three were refused in a row."""
    refused: list[Any] = []
    while len(refused) < 3:
        running = rig.call(gateway.admit(question))
        try:
            rig.now(partial(gateway.begin, running))
        except Unavailable:
            refused.append(running)
        else:
            assert not refused, "the limit lets a line in between"
    return refused


def _count(number: int) -> Tensor:
    return Tensor("INT64", (1,), number.to_bytes(8, "little"))


if __name__ == "__main__":
    on_a_full_disk(Path(sys.argv[1]))
