"""kill -9 of gateway, Triton and PostgreSQL under runs through a pipeline: all stages, or none.

What the models' own logs say is compared with the ledger after a last start: a run that its last
step finished is charged as a whole or parked as a whole, once, and every other run costs nothing.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tritonclient.grpc import aio
from tritonclient.utils import InferenceServerException

from domain.pipeline_events import PipelineReserved, PipelineSettled
from domain.stages import whole_of
from tests.faults.gateway_process import GatewayProcess, document
from tests.faults.invariants import assert_sound
from tests.faults.own_server import OwnServer
from tests.faults.test_gateway_kills import Stage, assert_no_hold_stays, recovered
from tests.gateway.rig import Licensee, rig_on
from tests.gateway.staged import STAGE_METERS, meter, published
from tests.support.databases import MASTER_KEY
from tests.support.sizes import in_full_or
from tests.support.triton import a_triton, account, text_inputs

VICTIMS = ("gateway", "postgres", "gateway", "triton", "gateway")[
    in_full_or(1, 0) : in_full_or(4, 5)
]
CLIENTS = 6
ENDS = {
    "reservation_settled": "charged",
    "reservation_released": "released",
    "usage_parked": "parked",
}


class Load:
    """Clients that ask the ensemble again and again, and know which of their runs were answered."""

    def __init__(self, gateway: GatewayProcess, licensees: list[Licensee], seed: str) -> None:
        """Ask when `running`."""
        self._gateway, self._licensees = gateway, licensees
        self._chance = Random(seed)
        self.answered = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask while the block runs, and let what is under way come to its end."""
        going = asyncio.Event()
        tasks = [asyncio.create_task(self._ask(going)) for _ in range(CLIENTS)]
        try:
            yield
        finally:
            going.set()
            await asyncio.gather(*tasks)

    async def _ask(self, over: asyncio.Event) -> None:
        while not over.is_set():
            who, text = self._chance.choice(self._licensees), self._chance.choice(["a b", "boom"])
            with suppress(InferenceServerException, asyncio.CancelledError):
                async with aio.InferenceServerClient(self._gateway.found["grpc"]) as client:
                    inputs = text_inputs(text, self._chance.randint(1, 6))
                    await client.infer("pipeline", inputs, headers=who.headers, client_timeout=20)
                    self.answered += 1
            await asyncio.sleep(0.01)

    async def progress(self, stage: Stage, more: int) -> None:
        """Wait until so many more runs were answered."""
        wanted, end = self.answered + more, time.monotonic() + 60
        while self.answered < wanted:
            assert time.monotonic() < end, "it does not go on"
            await asyncio.to_thread(stage.heal)
            await asyncio.sleep(0.02)


async def killed(stage: Stage, load: Load, chance: Random) -> None:
    """Kill everything in turn under load, and at last the gateway."""
    async with load.running():
        for victim in VICTIMS:
            await load.progress(stage, chance.randint(10, 30))
            await asyncio.to_thread(stage.kill, victim)
            await asyncio.sleep(chance.uniform(0.0, 0.5))
            await asyncio.to_thread(stage.revive, victim)
        await load.progress(stage, chance.randint(10, 30))
        await asyncio.to_thread(stage.gateway.kill)


@pytest.mark.timeout(280)
def test_a_run_is_charged_or_parked_as_a_whole_whatever_is_killed(
    own_server: OwnServer, tmp_path: Path, seed: int
) -> None:
    chance = Random(f"{seed}-pipelines")
    with rig_on(own_server.parts) as rig, a_triton(tmp_path / "triton") as triton:
        pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
        sold = [meter(published(rig, "rag"))]
        config = document(hold_seconds=10, trace_seconds=2, pool=[pool], model=sold)
        licensees = [rig.licensee() for _ in range(3)]
        gateway = GatewayProcess(tmp_path, own_server.parts.owner_url, MASTER_KEY, config)
        gateway.start()
        stage = Stage(gateway, triton, own_server)
        load = Load(gateway, licensees, f"{seed}-load")
        try:
            asyncio.run(killed(stage, load, chance))
            recovered(stage)
        finally:
            gateway.kill()
        finished = {line["request_id"] for line in account(triton, "polish")}
        written = {line["request_id"]: line for line in account(triton, "textgen")}
        ends = {run: end for who in licensees for run, end in ended(who).items()}
        assert finished <= ends.keys(), "something ran unheld"
        assert sum(end == "charged" for end in ends.values()) >= load.answered > 0
        for run, end in ends.items():
            assert end in (("charged", "parked") if run in finished else ("released", "parked", ""))
        for who in licensees:
            check_charges(who, written)
        assert_no_hold_stays(rig, licensees)
        assert_sound(own_server.super_url)


def ended(who: Licensee) -> dict[str, str]:
    """Return how each of a customer's runs ended; its stages have to have ended alike."""
    found: dict[str, dict[str, list[str]]] = {}
    for each in who.events():
        event: Any = each.event
        if isinstance(event, PipelineReserved):
            found[event.reserved] = defaultdict(list)
        elif event.NAME in ENDS:
            stage = event.record if event.NAME == "usage_parked" else event.reservation
            found[whole_of(stage)][stage].append(ENDS[event.NAME])
    ends = {}
    for run, stages in found.items():
        ways = [tuple(way) for way in stages.values()]
        assert len(ways) in (0, len(STAGE_METERS)), (run, dict(stages))
        assert len(set(ways)) <= 1, (run, dict(stages))
        assert all(len(way) == 1 for way in ways), (run, dict(stages))
        ends[run] = ways[0][0] if ways else ""
    return ends


def check_charges(who: Licensee, written: dict[str, Any]) -> None:
    """Compare charges with what the model that writes says, and their sum with the lines."""
    runs = [each.event for each in who.events() if isinstance(each.event, PipelineSettled)]
    usage = {charge.reservation: dict(charge.usage) for charge in who.charges()}
    assert len(usage) == 3 * len(runs)
    for run in runs:
        line = written[run.reserved]
        words = {unit: line[unit] for unit in ("input_tokens", "output_tokens")}
        assert usage[f"{run.reserved}.write"] == words
        assert usage[f"{run.reserved}.polish"] == usage[f"{run.reserved}.retrieve"]
    lines = [line.charged for run in runs for line in run.lines]
    assert sum(lines) == who.rig.tollbook.balance(who.customer).spent
