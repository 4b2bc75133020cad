"""kill -9 of gateway, Triton and PostgreSQL under load: each inference that ran is paid for once.

What the models' own logs say is compared with the ledger after a last start: whatever they
finished is charged or parked, and nothing is charged that they did not do.
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import httpx
import pytest

from adapters.embedded_postgres.errors import ServerUnavailable
from adapters.triton.errors import TritonUnavailable
from adapters.triton.server import TritonServer
from tests.faults.gateway_process import GatewayProcess, document
from tests.faults.invariants import assert_sound
from tests.faults.own_server import OwnServer
from tests.gateway import model_accounts as counting
from tests.gateway.mixed_load import Mixture
from tests.gateway.mixed_seen import Seen
from tests.gateway.model_accounts import Ledgered, Line
from tests.gateway.rig import METERS, Licensee, Rig, rig_on
from tests.support.databases import MASTER_KEY
from tests.support.sizes import in_full_or
from tests.support.triton import a_triton, wait_until

VICTIMS = ("gateway", "triton", "postgres")
HOLD_SECONDS = 10
PROCESSES = (1, 2)[-in_full_or(1, 2) :]
"""How many processes the gateway is; elsewhere than in CI two, as other files kill single ones."""
OK = 200
STREAM, CACHED = "textgen_stream", "textgen_cached"


class Stage:
    """Everything that is killed, and brought back."""

    def __init__(
        self, gateway: GatewayProcess, triton: TritonServer, server: OwnServer, processes: int = 1
    ) -> None:
        """All of it runs; the gateway is so many processes."""
        self.gateway = gateway
        self.processes = processes
        self.triton = triton
        self.server = server

    def kill(self, victim: str) -> None:
        """Kill one of them at once."""
        if victim == "gateway" and self.processes > 1:
            os.kill(self.gateway.members[0], signal.SIGKILL)
        elif victim == "gateway":
            self.gateway.kill()
        elif victim == "triton":
            self.triton.kill()
        else:
            self.server.kill_everything()

    def revive(self, victim: str) -> None:
        """Start it again, on the same folder."""
        if victim == "gateway" and self.processes > 1:
            wait_until(self._crew_is_whole)  # it replaces who dies by itself
        elif victim == "gateway":
            self.gateway.start()
        elif victim == "triton":
            wait_until(self._triton_is_back)
        else:
            wait_until(self._server_is_back)

    def heal(self) -> None:
        """Start Triton again should it have died by itself: that is one kill more."""
        if not self.triton.is_running():
            wait_until(self._triton_is_back)

    def _crew_is_whole(self) -> bool:
        """Say whether every process of the gateway answers."""
        if len(self.gateway.members) < self.processes:
            return False
        try:
            found = [httpx.get(f"{each}/healthz") for each in self.gateway.found["monitors"]]
        except httpx.TransportError:
            return False
        return all(each.status_code == OK for each in found)

    def _triton_is_back(self) -> bool:
        """Start Triton; its Python backend may die of a lock that a killed one has held."""
        try:
            self.triton.start()
        except TritonUnavailable:
            return False
        return True

    def _server_is_back(self) -> bool:
        """Revive PostgreSQL; a session that began in its last moment may be in the way at first."""
        try:
            self.server.revive()
        except ServerUnavailable:
            return False
        return True


async def loaded(stage: Stage, licensees: list[Licensee], chance: Random) -> Seen:
    """Kill everything in turn under load, and at last the gateway."""
    going = True

    def steps() -> Iterator[int]:
        while going:
            yield 0

    found = stage.gateway.found
    http = found["http"].removeprefix("http://")
    mixture = Mixture(found["grpc"], http, licensees, str(chance.random()), 0.02)
    load = asyncio.create_task(mixture.run(steps()))
    times = in_full_or(1, 2)
    for victim in chance.sample(VICTIMS * times, len(VICTIMS) * times):
        await progress(stage, mixture.seen, load, chance.randint(20, 60))
        await asyncio.to_thread(stage.kill, victim)
        await asyncio.sleep(chance.uniform(0.0, 0.5))
        await asyncio.to_thread(stage.revive, victim)
    await progress(stage, mixture.seen, load, chance.randint(20, 60))
    await asyncio.to_thread(stage.gateway.kill)
    going = False
    return await load


async def progress(stage: Stage, seen: Seen, load: "asyncio.Task[Seen]", more: int) -> None:
    """Wait until so many more inferences were answered."""
    wanted, end = len(seen.right) + more, time.monotonic() + 60
    while len(seen.right) < wanted:
        assert not load.done(), load.exception()
        assert time.monotonic() < end, f"it does not go on: {seen.errors}"
        await asyncio.to_thread(stage.heal)
        await asyncio.sleep(0.02)


def recovered(stage: Stage) -> None:
    """Start the gateway a last time; when it stops, nothing is left to be told."""
    gateway = stage.gateway
    stage.heal()
    gateway.start()
    wait_until(lambda: len(list(gateway.home.iterdir())) == stage.processes)
    gateway.stop()
    assert list(gateway.home.iterdir()) == []


@pytest.mark.timeout(280)
@pytest.mark.parametrize("processes", PROCESSES)
def test_what_ran_is_charged_once_or_parked_whatever_is_killed(
    own_server: OwnServer, tmp_path: Path, seed: int, processes: int
) -> None:
    chance = Random(f"{seed}-gateway")
    with rig_on(own_server.parts) as rig, a_triton(tmp_path / "triton") as triton:
        pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
        config = document(
            hold_seconds=HOLD_SECONDS,
            trace_seconds=2,
            pool=[{**pool, "traces": str(triton.traces)}],
            model=METERS,
        )
        licensees = [rig.licensee() for _ in range(3)]
        gateway = GatewayProcess(tmp_path, own_server.parts.owner_url, MASTER_KEY, config)
        gateway.options("--processes", str(processes))
        gateway.start()
        stage = Stage(gateway, triton, own_server, processes)
        try:
            seen = asyncio.run(loaded(stage, licensees, chance))
            recovered(stage)
        finally:
            gateway.kill()
        assert triton.model_log is not None
        lines = counting.accounts(triton.model_log)
        ledger = counting.ledgered(licensees)
        for id, entry in ledger.items():
            check(id, entry, lines.get(id), seen)
        assert lines.keys() <= ledger.keys(), "something ran unheld"
        assert all(ledger[id].charge for id in seen.right), "somebody was served for nothing"
        assert_no_hold_stays(rig, licensees)
        assert_sound(own_server.super_url)


def check(id: str, entry: Ledgered, line: Line | None, seen: Seen) -> None:
    """Compare what became of one inference with what its model says it did."""
    about = (id, entry.held.model, str(line), entry.ends, seen.words[id])
    charge, parked = entry.charge, entry.parked
    assert not (charge and parked), about
    if parked is not None:
        assert parked.detail, about
    if seen.words[id] or (line is not None and line["outcome"] == "ok"):
        assert charge or parked, about
    if charge is None:
        return
    assert charge.charged == counting.worth(entry.held.model, charge.usage), about
    if entry.held.model == STREAM:
        most = charge.usage["output_tokens"] if line is None else line["output_tokens"]
        assert seen.words[id] <= charge.usage["output_tokens"] <= most, about
        assert id not in seen.right or charge.usage["output_tokens"] == most, about
    elif line is None:
        assert entry.held.model == CACHED, about
        assert "cached_input_tokens" in charge.usage, about
    else:
        assert line["outcome"] == "ok", about
        assert dict(charge.usage) == counting.used(line), about


def assert_no_hold_stays(rig: Rig, licensees: list[Licensee]) -> None:
    """Check that what nobody settles gives its money back when its time is over."""
    wait_until(lambda: not any(rig.tollbook.balance(who.customer).held for who in licensees))
