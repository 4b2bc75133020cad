"""A gateway process before a Triton of the test's own, and the commands that compare the two."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as client
from tritonclient.utils import InferenceServerException

from adapters.triton.server import TritonServer
from tests.faults.gateway_process import GatewayProcess, document
from tests.gateway.grpc_serving import wait
from tests.gateway.rig import METERS, Licensee, Rig, rig_on
from tests.support.databases import MASTER_KEY, TestDatabase, fresh_database
from tests.support.servers import embedded_server
from tests.support.shell import Ended, run_here
from tests.support.triton import a_triton, tensor, text_inputs

TIMED: dict[str, Any] = {
    "name": "image",
    "price_model": "timed",
    "usage": {"gpu_seconds": {"traces": True}},
    "estimate": {"gpu_seconds": {"constant": "1"}},
}
SOLD = [each for each in METERS if each["name"] != "image"] + [TIMED]


class Counted:
    """A gateway, its Triton, its ledger, and a customer."""

    def __init__(
        self,
        rig: Rig,
        made: TestDatabase,
        triton: TritonServer,
        folder: Path,
        meters: Sequence[dict[str, Any]],
    ) -> None:
        """Write the configuration down; nothing is started yet."""
        pool = {
            "name": "shared",
            "grpc": triton.grpc_address,
            "http": triton.http_address,
            "traces": str(triton.traces),
        }
        sold = [each for each in meters if each["name"] in triton.models or not triton.models]
        config = document(pool=[pool], model=sold, trace_seconds=10)
        self.triton = triton
        self.who: Licensee = rig.licensee()
        self.gateway = GatewayProcess(folder, made.owner_url, MASTER_KEY, config)
        self._options = ["--config", str(folder / "gateway.toml"), "--database", made.owner_url]
        self._options += ["--intents", str(self.gateway.home.parent)]

    def ask(self, model: str, text: str, count: int = 1, **more: Any) -> None:
        """Ask through the gateway, whatever comes of it."""
        with client.InferenceServerClient(self.gateway.found["grpc"]) as asking:
            for _ in range(count):
                inputs = more.get("inputs") or text_inputs(text, 2)
                with suppress(InferenceServerException):
                    asking.infer(model, inputs, headers=self.who.headers)

    def leave(self, delay_ms: int) -> None:
        """Ask for a long stream, and leave it after its first word."""
        came = threading.Event()

        def told(result: Any, error: Any) -> None:
            came.set()

        with client.InferenceServerClient(self.gateway.found["grpc"]) as asking:
            asking.start_stream(told, headers=self.who.headers)
            inputs = text_inputs("a b", 100, batched=False)
            inputs.append(tensor("DELAY_MS", "INT32", [delay_ms]))
            asking.async_stream_infer("textgen_stream", inputs)
            assert came.wait(20)
            asking.stop_stream(cancel_requests=True)

    def ended(self, charges: int) -> None:
        """Wait until the ledger knows of so many charges, and of the end of everything."""
        self.who.until(charges)
        wait(lambda: not self._running())

    def _running(self) -> bool:
        _, told = self.gateway.monitored("/metrics")
        names = ("running", "settlements_waiting")
        return any(f"tollbook_gateway_{name} 0.0" not in told for name in names)

    def sample(self) -> str:
        """Take a sample now, and return its time."""
        return str(self._document("sample")["at"])

    def reconcile(self, *more: str, code: int = 0) -> dict[str, Any]:
        """Compare, and return the document."""
        return self._document("triton", *more, code=code)

    def command(self, name: str, *more: str) -> Ended:
        """Run a command, whatever comes of it."""
        return run_here("reconcile", name, *self._options, *more)

    def _document(self, name: str, *more: str, code: int = 0) -> dict[str, Any]:
        ended = self.command(name, *more, "--json")
        assert ended.code == code, (ended.out, ended.err)
        found: dict[str, Any] = json.loads(ended.out)
        return found


def line(document: dict[str, Any], model: str) -> tuple[int, int, dict[str, int], int]:
    """Return what ran, what was charged, the causes between, and what they leave."""
    (found,) = [each for each in document["models"] if model in each["served_as"]]
    causes = {part["cause"]: part["count"] for part in found["causes"] if part["count"]}
    assert found["ran"] - found["charged"] == sum(causes.values()) + found["unexplained"]
    return found["ran"], found["charged"], causes, found["unexplained"]


@contextmanager
def counted(
    config: pytest.Config,
    folder: Path,
    models: Sequence[str] = (),
    prepare: Callable[[Rig], Sequence[dict[str, Any]]] = lambda _: SOLD,
) -> Iterator[Counted]:
    """Run all of it, on a ledger of its own: others would be counted as well.

    `prepare` does with the ledger what the meters need that it returns.
    """
    with (
        fresh_database(embedded_server(config)) as made,
        rig_on(made.parts) as rig,
        a_triton(folder / "triton", models=models) as triton,
    ):
        stage = Counted(rig, made, triton, folder, prepare(rig))
        stage.gateway.start()
        try:
            yield stage
        finally:
            stage.gateway.kill()
