"""A real Triton for the tests: one for a whole run, and others for tests that kill theirs.

Where none can be installed, a test that needs it is skipped with the reason, and fails instead
where TOLLBOOK_REQUIRE says that nothing may be missing.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as client

from adapters.triton.errors import TritonUnavailable
from adapters.triton.installation import Installation, find
from adapters.triton.server import MODELS, TritonServer
from tests.support import third_party_deaths

WAIT_SECONDS = 60
_KINDS = {"BYTES": np.object_, "INT32": np.int32, "FP32": np.float32, "UINT8": np.uint8}


def installed() -> Installation:
    """Return the Triton of this checkout, or skip the test and say why there is none."""
    try:
        return find()
    except TritonUnavailable as error:
        reason = str(error)
    assert "TOLLBOOK_REQUIRE" not in os.environ, reason
    pytest.skip(reason)


@contextmanager
def a_triton(
    folder: Path, *, models: Sequence[str] = (), repository: Path = MODELS
) -> Iterator[TritonServer]:
    """Run a server of the test's own, with its traces and its models' accounts in its folder."""
    server = TritonServer(
        folder,
        repository=repository,
        models=models,
        traces=folder / "traces",
        model_log=folder / "models",
        installation=installed(),
    )
    try:
        server.start()
        yield server
    finally:
        server.kill()  # an orderly stop takes seconds, and has its own test


@cache
def shared_triton(config: pytest.Config) -> TritonServer:
    """Return the server of this run with all our models; the first test that needs it starts it.

    Should it die, it is started again on its ports (`third_party_deaths.py`).
    """
    installed()
    folder = Path(tempfile.mkdtemp(prefix="tollbook-triton-"))
    running = ExitStack()
    running.callback(shutil.rmtree, folder, ignore_errors=True)
    config.add_cleanup(running.close)
    server = running.enter_context(a_triton(folder))
    third_party_deaths.of(config).watch(server, lambda: _is_dying(server))
    return server


def _is_dying(server: TritonServer) -> bool:
    """Tell whether a server answers no more, or writes down already where its threads are."""
    _, _, since = server.log.read_text("utf-8", errors="replace").rpartition("Started Metrics")
    return "\nSignal (" in since or not server.is_ready()


@pytest.fixture
def triton(pytestconfig: pytest.Config) -> TritonServer:
    """Give the test the run's server; whoever kills one uses a_triton."""
    return shared_triton(pytestconfig)


def tensor(name: str, kind: str, values: Any) -> Any:
    """Make an input of the public client; a text is given as one."""
    array: Any = np.array(values, dtype=_KINDS[kind])
    made = client.InferInput(name, array.shape, kind)
    made.set_data_from_numpy(array)
    return made


def text_inputs(text: str, max_tokens: int | None = None, *, batched: bool = True) -> list[Any]:
    """Make the inputs of our models of texts; a decoupled model takes no batch dimension."""
    inputs = [tensor("TEXT", "BYTES", [[text.encode()]] if batched else [text.encode()])]
    if max_tokens is not None:
        inputs.append(tensor("MAX_TOKENS", "INT32", [[max_tokens]] if batched else [max_tokens]))
    return inputs


@contextmanager
def connected(server: TritonServer) -> Iterator[Any]:
    """Open the public client's connection to a server."""
    connection = client.InferenceServerClient(server.grpc_address)
    try:
        yield connection
    finally:
        connection.close()


def infer(server: TritonServer, model: str, inputs: list[Any], **options: Any) -> Any:
    """Ask a model once."""
    with connected(server) as connection:
        return connection.infer(model, inputs, **options)


def account(server: TritonServer, model: str) -> list[dict[str, Any]]:
    """Read what a model says itself that it executed, a record a request."""
    assert server.model_log is not None
    path = server.model_log / f"{model}.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def batch_of(server: TritonServer, model: str, id: str) -> set[str]:
    """Return the ids of those that a model of one instance ran in one batch with a request."""
    lines = account(server, model)
    (own,) = [line for line in lines if line["request_id"] == id]
    found = {line["request_id"] for line in lines if line["begun_ns"] == own["begun_ns"]}
    assert len(found) == own["batch"], (own, found)
    return found


def _whole(text: str) -> list[Any]:
    """Read a trace file; Triton writes a client's quotes as they come, and then it is no JSON."""
    try:
        found: list[Any] = json.loads(text)
    except ValueError:
        return []
    return found


def traces(folder: Path) -> dict[int, dict[str, Any]]:
    """Read the traces of one start: the record of each, with the list of its timestamps."""
    found: dict[int, dict[str, Any]] = {}
    for path in folder.iterdir():
        text = path.read_text("utf-8")
        for record in _whole(text):
            trace = found.setdefault(record["id"], {"timestamps": []})
            trace["timestamps"] += record.pop("timestamps", [])
            trace.update(record)
    return found


def traced(server: TritonServer, request_id: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait until the traces of a request are written, which may be after its answer."""
    folder = server.trace_folder
    assert folder is not None

    def of_it() -> list[dict[str, Any]]:
        return [one for one in traces(folder).values() if one.get("request_id") == request_id]

    wait_until(lambda: len(of_it()) >= count)
    return of_it()


def wait_until(is_true: Callable[[], bool]) -> None:
    """Wait for something that happens by itself, and fail when it does not.

    After each look it rests for twice as long as that took, so that waiting is no work.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        begun = time.monotonic()
        if is_true():
            return
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(max(0.01, 2 * (time.monotonic() - begun)))
