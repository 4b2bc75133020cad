"""kill -9 of a gateway while its ledger is away: what ran is charged once, or parked."""

import http.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from adapters.triton.server import TritonServer
from domain.events import ReservationHeld
from domain.usage_events import UsageParked
from tests.faults.gateway_process import GatewayProcess, document
from tests.faults.invariants import assert_sound
from tests.faults.own_server import OwnServer
from tests.faults.test_gateway_without_its_ledger import asked, counted, is_back
from tests.gateway.outages import OPEN, is_slice
from tests.gateway.rig import METERS, Licensee, rig_on
from tests.support.databases import MASTER_KEY
from tests.support.triton import account, wait_until
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

SLOW_MS = 15_000


def slices_of(who: Licensee) -> dict[str, str]:
    """Return the reservations that were set aside for an outage, by model."""
    held = [each.event for each in who.events() if isinstance(each.event, ReservationHeld)]
    return {event.model: event.reservation for event in held if is_slice(event.reservation)}


def broken(ask: Callable[[], object]) -> bool:
    """Say whether a call broke off without an answer."""
    try:
        ask()
    except (OSError, http.client.HTTPException):
        return True
    return False


def test_a_gateway_that_is_killed_in_an_outage_loses_and_doubles_nothing(
    own_server: OwnServer, triton: TritonServer, tmp_path: Path
) -> None:
    pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
    outage = {"template": OPEN, "amount": "0.01", "seconds": 60}
    config = document(hold_seconds=20, trace_seconds=1, pool=[pool], outage=[outage], model=METERS)
    gateway = GatewayProcess(tmp_path, own_server.parts.owner_url, MASTER_KEY, config)
    with rig_on(own_server.parts) as rig, ThreadPoolExecutor(1) as threads:
        who = rig.licensee()
        gateway.start()
        try:
            address = gateway.found["http"].removeprefix("http://")
            assert asked(address, who, "textgen").status == 200
            assert asked(address, who, "slow", DELAY_MS=1).status == 200
            wait_until(lambda: len(slices_of(who)) == 2)
            slices = slices_of(who)
            before = len(account(triton, "textgen"))
            own_server.kill_everything()
            answers = [asked(address, who, "textgen") for _ in range(3)]
            assert [answer.status for answer in answers] == [200, 200, 200]
            told = {answer.headers["tollbook-emergency"] for answer in answers}
            assert told == {slices["textgen"]}
            assert len(account(triton, "textgen")) == before + 3
            slow = threads.submit(broken, lambda: asked(address, who, "slow", DELAY_MS=SLOW_MS))
            wait_until(lambda: counted(gateway, "running") == 1)
            assert counted(gateway, "emergency_admitted_total") == 4
            assert counted(gateway, "settlements_waiting") == 3
            gateway.kill()
            assert slow.result(60)
            wait_until(lambda: is_back(own_server))
            gateway.start()
            wait_until(lambda: "usage_parked" in who.names())
            wait_until(lambda: len(who.charges()) == 5)
            gateway.stop()
        finally:
            gateway.kill()
        ends = [(each.model, each.reservation == slices[each.model], each.final)
                for each in who.charges()]  # fmt: skip
        assert sorted(ends) == [("slow", False, True), ("textgen", False, True)] + 3 * [
            ("textgen", True, False)
        ]
        (parked,) = [each.event for each in who.events() if isinstance(each.event, UsageParked)]
        assert parked.body["reservation"] == slices["slow"]
        assert parked.body["final"] is False
        assert list(gateway.home.iterdir()) == []
        assert_sound(own_server.super_url)
