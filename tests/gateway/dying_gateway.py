"""A gateway's process that kills itself at a moment of its choice, for tests of what it leaves.

It is told where the ledger is, the gateway's configuration and home, the inferences as
[model, key], and after what to die. It tells the inferences' ids first.
"""

import asyncio
import os
import signal
import struct
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from domain import meters
from domain.tensors import Tensor
from entrypoints.bootstrap import Database, tollbook_on
from entrypoints.gateway.admission import Asked
from entrypoints.gateway.assembling import gateway_on
from entrypoints.gateway.config import config_from
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.recovery import recover
from entrypoints.gateway.running import Running
from entrypoints.gateway.settling import Settler
from entrypoints.gateway.trace_collector import TraceCollector

ANSWER = {
    "INPUT_TOKENS": Tensor("INT64", (1,), struct.pack("<q", 3)),
    "OUTPUT_TOKENS": Tensor("INT64", (1,), struct.pack("<q", 11)),
}


def die(*_: object) -> NoReturn:
    """End at once, as by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def begin(order: dict[str, Any], told: "Connection[list[str], None]") -> None:
    """Live in a process that was forked for it."""
    asyncio.run(live(order, told))


async def live(order: dict[str, Any], told: "Connection[list[str], None]") -> None:
    """Go through the life of the inferences, to the moment that is ordered."""
    urls = order["urls"]
    database = Database(urls[0], urls[1], bytes.fromhex(order["master_key"]))
    config = config_from(order["config"])
    with tollbook_on(database) as tollbook:
        async with (
            TraceCollector(config) as traces,
            gateway_on(database, tollbook, config, Path(order["home"]), traces) as gateway,
        ):
            runnings = []
            for model, key in order["inferences"]:
                request = meters.Request({"TEXT": Tensor("BYTES", (1,), listed=["a b c"])}, {})
                asked = Asked(model, key, request, "0" * 64)
                runnings.append(await gateway.admit(asked))
            told.send([running.id for running in runnings])
            if order["after"] == "decided":
                # What another left is decided, and not told.
                setattr(Settler, "tell", die)  # noqa: B010 - one that never returns
                await recover(Path(order["home"]), gateway)
            await end(gateway, runnings, order["after"])


async def end(gateway: Gateway, runnings: list[Running], after: str) -> None:
    """Die after one line of the intent log, or after what follows it."""
    if after == "held":
        die()
    for running in runnings:
        gateway.begin(running)
    if after == "begun":
        die()
    for running in runnings:
        if after not in ("failed", "given up"):
            running.message(ANSWER, {})
    if after == "answered":
        die()
    parts: Any = gateway
    if after in ("outcome", "failed", "given up"):
        parts._settler.tell = lambda *_: None
    if after == "settled":
        # The ledger knows, and the line that says so is never written: there is none.
        parts._log.told = lambda id: None if id != runnings[-1].id else die()
    for running in runnings:
        if after == "failed":
            gateway.failed(running, "boom")
        elif after == "given up":
            gateway.give_up(running, "its server never saw it")
        else:
            gateway.finish(running)
    if after != "settled":
        die()
    await asyncio.sleep(60)
