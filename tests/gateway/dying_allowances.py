"""A gateway's process that dies with inferences from allowances in every state.

Run as a program with one JSON argument: where the ledger, its home and Redis, if there is one, are,
and a licence's key. It writes down the inferences by their states before it kills itself.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from domain import meters
from domain.tensors import Tensor
from entrypoints.bootstrap import Database, tollbook_on
from entrypoints.gateway.admission import Asked
from entrypoints.gateway.assembling import gateway_on
from tests.gateway.allowances import answered, drawn, quick
from tests.gateway.dying_gateway import ANSWER, die

BEFORE = 40
"""So many were drawn and ended in order before."""
EACH = 3
STATES = ("answered", "begun", "admitted")


async def live(order: dict[str, Any]) -> None:
    """Draw, end what is to be ended, and die with the rest."""
    urls = order["urls"]
    database = Database(urls[0], urls[1], bytes.fromhex(order["master_key"]))
    request = meters.Request({"TEXT": Tensor("BYTES", (1,), listed=["a b c"])}, {})
    asked = Asked("textgen", order["key"], request, "0" * 64)
    home = Path(order["home"])
    with tollbook_on(database) as tollbook:
        core = gateway_on(database, tollbook, quick("gateway-a"), home, redis=order["redis"])
        async with core as gateway:
            for _ in range(BEFORE):
                await answered(gateway, await drawn(gateway, asked))
                await asyncio.sleep(0.005)
            await gateway.settler.drain(30)
            setattr(gateway.settler, "tell", lambda *_: None)  # noqa: B010 - nobody is told
            states = order["states"]
            found = {state: [await drawn(gateway, asked) for _ in range(EACH)] for state in states}
            for state in ("answered", "begun"):
                for running in found.get(state, ()):
                    gateway.begin(running)
            for running in found["answered"]:
                running.message(ANSWER, {})
                gateway.finish(running)
            told = {
                state: {each.id: each.admitted.slice for each in runnings}
                for state, runnings in found.items()
            }
            print(json.dumps(told), flush=True)
            die()


if __name__ == "__main__":
    asyncio.run(live(json.loads(sys.argv[1])))
