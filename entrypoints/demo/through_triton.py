"""The main job through a real Triton: each row is asked as a client would ask, at the gateway.

A row becomes a text of as many words, and the model makes as many; to our model a word is a token.
"""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import uvloop
from tollbook.errors import Unavailable

from adapters.triton.grpc_client import SERVICE
from adapters.triton.server import TritonServer
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database
from entrypoints.demo.cluster import Cluster
from entrypoints.demo.counting import Counted, charged, counted
from entrypoints.demo.job import MODEL, Outcome, Tally, customer_id
from entrypoints.demo.requests import text_request
from entrypoints.demo.serving import serving
from entrypoints.demo.trace import TOKENS_MAX, Row
from entrypoints.gateway.asking import KEY_HEADER, PROBLEM_HEADER
from entrypoints.gateway.config import GatewayConfig, config_from
from entrypoints.gateway.server import Ports, fronts_on

LIMIT = 2_000
"""So many rows are asked unless more are wanted: here they run in real time."""
AT_ONCE = 16
"""So many customers ask at once; each waits for its answer before it asks again."""

_SERVED = "textgen"
_WORD = "a "
_MESSAGE_BYTES = 128 * 1_048_576  # the longest text that a trace may ask for, and more


class Ran(NamedTuple):
    """What came of a trace, and through which gateway."""

    outcome: Outcome
    counted: Counted
    """What the model itself has counted."""
    seconds: float
    config: GatewayConfig


def run(
    database: Database,
    tollbook: Tollbook,
    rows: Sequence[Row],
    keys: Sequence[str],
    folder: Path,
    advance: Callable[[int], None],
    cluster: Cluster | None = None,
) -> Ran:
    """Run every inference of a trace; with a cluster, its Triton runs and its workers settle them.

    `keys` are those of the customers' licences; the folder is the ledger's, and takes what the
    model and the gateway write beside it.
    """
    outcome = Outcome(customers={customer_id(each): Tally() for each in range(len(keys))})
    log, home = model_log_of(folder), home_of(folder)
    kafka = None if cluster is None else cluster.kafka
    server = serving(log, (_SERVED,)) if cluster is None else nullcontext(cluster.triton)
    with server as triton, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        config = _configuration(triton)

        async def asking() -> float:
            ports = Ports("127.0.0.1", 0, 0, 0)
            async with fronts_on(database, tollbook, config, home, ports, kafka) as found:
                began = time.monotonic()
                await _ask_all(str(found["grpc"]), rows, keys, outcome, advance)
                if cluster is not None:
                    await asyncio.to_thread(cluster.settle, tollbook, list(outcome.customers))
            # The gateway has stopped by now, and the ledger knows all that it had to tell.
            return time.monotonic() - began

        seconds = runner.run(asking())
    charges = charged(tollbook, outcome)
    return Ran(outcome, counted(log / f"{_SERVED}.jsonl", charges), seconds, config)


def model_log_of(folder: Path) -> Path:
    """Return where the demo's models write down what they did, below its ledger."""
    return folder / "model-log"


def home_of(folder: Path) -> Path:
    """Return where the demo's gateway writes down what it does, below its ledger."""
    return folder / "gateway" / "demo"


def _configuration(triton: TritonServer) -> GatewayConfig:
    pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
    meter: dict[str, Any] = {
        "name": _SERVED,
        "price_model": MODEL,
        "request_id_output": "REQUEST_ID",
        "usage": {
            "input_tokens": {"output": "INPUT_TOKENS"},
            "output_tokens": {"output": "OUTPUT_TOKENS"},
        },
        "estimate": {
            "input_tokens": {"input_bytes": "TEXT"},
            "output_tokens": {"input": "MAX_TOKENS", "most": TOKENS_MAX},
        },
    }
    return config_from(
        {"name": "demo", "pool": [pool], "model": [meter], "message_bytes": _MESSAGE_BYTES}
    )


async def _ask_all(
    address: str,
    rows: Sequence[Row],
    keys: Sequence[str],
    outcome: Outcome,
    advance: Callable[[int], None],
) -> None:
    """Ask the rows of each customer one after another, those of several customers at once."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        of_customers: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            of_customers[row.number % len(keys)].append(row)
        waiting = iter(of_customers.items())

        async def one_after_another() -> None:
            for number, mine in waiting:
                shown = ((KEY_HEADER, keys[number]),)
                for row in mine:
                    text = _WORD * row.input_tokens
                    request = text_request(_SERVED, text, row.output_tokens)
                    refusal = await _ask(call, request, shown)
                    if refusal is not None:
                        outcome.refused += 1
                        outcome.refusals[refusal] = outcome.refusals.get(refusal, 0) + 1
                    advance(1)

        await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))


async def _ask(call: Any, request: bytes, shown: tuple[tuple[str, str], ...]) -> str | None:
    """Ask once; return the code of the ledger's no, or None when the model has answered."""
    try:
        await call(request, metadata=shown)
    except grpc.aio.AioRpcError as error:
        for name, value in error.trailing_metadata() or ():
            if name == PROBLEM_HEADER and error.code() is not grpc.StatusCode.UNAVAILABLE:
                return str(json.loads(value)["code"])
        words = f"{error.code().name}: {error.details()}"
        raise Unavailable(f"the gateway did not have an inference run: {words}") from None
    return None
