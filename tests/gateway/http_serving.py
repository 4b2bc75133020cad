"""A gateway's HTTP front before a real Triton, and the clients that are pointed at it."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tritonclient.http as public
from tollbook.tokens import TrustedKeys

from adapters.triton.http_client import HttpClient
from adapters.triton.server import TritonServer
from entrypoints.bootstrap import license_secrets
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.http_bodies import Patience
from entrypoints.gateway.http_front import HttpFront
from tests.gateway.rig import Licensee, Rig, configured
from tests.support.triton import shared_triton

BYTES_MAX = 100_000
"""The largest message of a strict front."""

_KINDS = {"BYTES": np.object_, "INT32": np.int32, "FP32": np.float32, "UINT8": np.uint8}


class Answer(NamedTuple):
    """What came back, every byte of it."""

    status: int
    headers: dict[str, str]
    """By their names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


class HttpServed:
    """A front that listens."""

    def __init__(self, rig: Rig, gateway: Gateway, front: HttpFront, port: int) -> None:
        """Know where it listens."""
        self.rig = rig
        self.gateway = gateway
        self.front = front
        self.port = port
        self.address = f"127.0.0.1:{port}"

    @contextmanager
    def client(self, **options: Any) -> Iterator[Any]:
        """Open the public client: only its address is another one."""
        with public.InferenceServerClient(self.address, **options) as client:
            yield client

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Ask on a connection of its own; a document is sent as JSON."""
        return ask(self.address, method, path, body, headers)

    def post(self, who: Licensee | None, path: str, body: Any, **headers: str) -> Answer:
        """Ask for an inference."""
        shown = {} if who is None else who.headers
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", f"/v2/models/{path}", body, {**shown, **given})

    @contextmanager
    def socket(self) -> Iterator[socket.socket]:
        """Open a connection for what no client would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as opened:
            yield opened

    def idle(self) -> None:
        """Wait until no inference is under way."""
        wait(lambda: not self.gateway.running)


def ask(
    address: str,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Ask a server on a connection of its own; a document is sent as JSON."""
    connection = http.client.HTTPConnection(address, timeout=30)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def triton(pytestconfig: pytest.Config) -> TritonServer:
    """Use the run's server."""
    return shared_triton(pytestconfig)


@pytest.fixture(scope="module")
def served(
    rig: Rig, triton: TritonServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpServed]:
    """Serve all models, once for a file."""
    with http_serving(rig, tmp_path_factory.mktemp("home"), before(triton)) as serving:
        yield serving


@pytest.fixture(scope="module")
def strict(
    rig: Rig, triton: TritonServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpServed]:
    """Serve all models with small messages and little patience, once for a file."""
    config = before(triton, message_bytes=BYTES_MAX)
    patience = Patience(idle=2.0, body=0.5, write=0.5)
    with http_serving(rig, tmp_path_factory.mktemp("home"), config, patience) as serving:
        yield serving


@pytest.fixture(scope="module")
def trusted(rig: Rig) -> TrustedKeys:
    """Return the keys that receipts are verified with."""
    store: Any = rig.tollbook.store
    return TrustedKeys(license_secrets(rig.database, store).public_keys())


@contextmanager
def http_serving(
    rig: Rig, home: Path, config: GatewayConfig, patience: Patience | None = None
) -> Iterator[HttpServed]:
    """Serve a configuration."""
    with rig.gateway(home, config) as gateway:

        async def begin() -> tuple[dict[str, HttpClient], HttpFront, int]:
            clients = {
                pool.name: HttpClient(pool.http, config.message_bytes) for pool in config.pool
            }
            front = HttpFront(gateway, clients, config, patience)
            return clients, front, await front.start("127.0.0.1", 0)

        clients, front, port = rig.call(begin())
        try:
            yield HttpServed(rig, gateway, front, port)
        finally:
            rig.call(front.stop(5))
            for client in clients.values():
                rig.call(client.close())


def before(triton: TritonServer, **more: Any) -> GatewayConfig:
    """Return the configuration of a gateway in front of a server."""
    return configured(triton.grpc_address, triton.http_address, **more)


def tensor(name: str, kind: str, values: Any, *, binary: bool = True) -> Any:
    """Make an input of the public client."""
    array: Any = np.array(values, dtype=_KINDS[kind])
    made = public.InferInput(name, array.shape, kind)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def texts(text: str, count: int | None = None, *, binary: bool = True) -> list[Any]:
    """Make the inputs of our models of texts."""
    inputs = [tensor("TEXT", "BYTES", [[text.encode() if binary else text]], binary=binary)]
    if count is not None:
        inputs.append(tensor("MAX_TOKENS", "INT32", [[count]], binary=binary))
    return inputs


def document(text: str = "a b c", count: int | None = None, **more: Any) -> dict[str, Any]:
    """Make the JSON of an `infer` of our models of texts."""
    given: list[dict[str, Any]] = [
        {"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    ]
    if count is not None:
        given.append({"name": "MAX_TOKENS", "shape": [1, 1], "datatype": "INT32", "data": [count]})
    return {"inputs": given, **more}


def raw_request(path: str, body: Any, who: Licensee | None = None, **headers: str) -> bytes:
    """Write a request down to its bytes; a document is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {
        "Host": "here",
        "Content-Length": str(len(data)),
        **({} if who is None else who.headers),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + data


def wait(is_true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that happens by itself."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.01)
