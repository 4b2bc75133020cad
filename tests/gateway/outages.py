"""A gateway that a test cuts off from its ledger, while the ledger itself goes on."""

import struct
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from domain import meters
from domain.events import ReservationSettled
from domain.tensors import Tensor
from entrypoints.bootstrap import Database, tollbook_on
from entrypoints.gateway.admission import Asked
from entrypoints.gateway.assembling import gateway_on
from entrypoints.gateway.config import GatewayConfig, config_from
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.running import Running
from entrypoints.gateway.slices import PREFIX
from entrypoints.gateway.standings import Slice
from tests.faults.cutting_proxy import CuttingProxy
from tests.gateway.rig import METERS, Licensee, Rig
from tests.support.triton import wait_until

OPEN, CLOSED = "professional", "enterprise"
"""The templates whose licences go on in an outage, and do not."""
ESTIMATE = 37
"""What `asked` can cost at worst, in millionths of a USD: 5 bytes at 1, 16 tokens at 2."""
COST = 25
"""What `answered` costs: 3 tokens at 1, 11 at 2."""


def config(millionths: int = 4 * ESTIMATE, seconds: int = 60, **more: Any) -> GatewayConfig:
    """Return a configuration under which licences of OPEN may go on."""
    pool = {"name": "shared", "also": ["dedicated"], "grpc": "127.0.0.1:1", "http": "127.0.0.1:1"}
    outage = {"template": OPEN, "amount": f"0.{millionths:06d}", "seconds": seconds}
    return config_from(
        {"pool": [pool], "model": METERS, "hold_seconds": 10, "outage": [outage], **more}
    )


def asked(who: Licensee) -> Asked:
    """Ask for a text."""
    request = meters.Request({"TEXT": Tensor("BYTES", (1,), listed=["a b c"])}, {})
    return Asked("textgen", who.key, request, "0" * 64)


def number(value: int) -> Tensor:
    """Return what a model says of a count."""
    return Tensor("INT64", (1,), struct.pack("<q", value))


class Stage:
    """A gateway's core on a ledger that it may be cut off from."""

    def __init__(self, rig: Rig, gateway: Gateway, proxy: CuttingProxy | None = None) -> None:
        """It is not cut off yet, and without a proxy never will be."""
        self.rig = rig
        self.gateway = gateway
        self._proxy = proxy

    def cut_off(self) -> None:
        """Take the ledger away from the gateway."""
        assert self._proxy is not None
        self._proxy.refusing = True
        self._proxy.cut_everybody()

    def reconnect(self) -> None:
        """Give the ledger back, and wait until the gateway has noticed."""
        assert self._proxy is not None
        self._proxy.refusing = False
        wait_until(lambda: not self.gateway.emergency.away)

    def begin(self, who: Licensee) -> Running:
        """Have an inference admitted, and write down that it goes to its server."""
        running = self.rig.call(self.gateway.admit(asked(who)))
        self.rig.now(lambda: self.gateway.begin(running))
        return running

    def finish(self, running: Running) -> dict[str, str]:
        """Answer an inference that is under way."""
        told = {"INPUT_TOKENS": number(3), "OUTPUT_TOKENS": number(11)}
        self.rig.now(lambda: running.message(told, {}))
        return self.rig.now(lambda: self.gateway.finish(running))

    def slices(self) -> list[Slice]:
        """Return the gateway's slices that can be drawn from."""
        standings = self.gateway.emergency.slices.standings.values()
        return [each.slice for each in standings if each.slice is not None]

    def prepared(self, who: Licensee) -> str:
        """Use a licence, and wait until something is set aside for it; return the reservation."""
        self.finish(self.begin(who))
        wait_until(lambda: bool(self.slices()))
        return self.slices()[0].allowance.reservation


@contextmanager
def staged(
    rig: Rig, home: Path, configured: GatewayConfig, redis: str | None = None
) -> Iterator[Stage]:
    """Run a gateway's core behind a proxy; at the end it is connected again."""
    with (
        tempfile.TemporaryDirectory(prefix="tollbook-cut-") as folder,
        closing(CuttingProxy(rig.database.app_url, Path(folder) / "s", lambda: None)) as proxy,
    ):
        database = Database(rig.database.owner_url, proxy.url, rig.database.master_key)
        with tollbook_on(database) as tollbook:
            stack = AsyncExitStack()
            core = gateway_on(database, tollbook, configured, home, redis=redis)
            gateway = rig.call(stack.enter_async_context(core))
            try:
                yield Stage(rig, gateway, proxy)
            finally:
                proxy.refusing = False
                rig.call(stack.aclose())


def parts(who: Licensee, slice_id: str) -> list[ReservationSettled]:
    """Return what was charged in part of a slice."""
    return [each for each in who.charges() if each.reservation == slice_id and not each.final]


def is_slice(id: str) -> bool:
    """Say whether a reservation is an emergency slice."""
    return id.startswith(f"{PREFIX}_")
