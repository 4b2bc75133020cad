"""Both fronts on one gateway, as the process that users start has them, on the tests' own loop."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from adapters.triton.grpc_client import TritonGrpc
from adapters.triton.http_client import HttpClient
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.grpc_front import GrpcFront
from entrypoints.gateway.http_front import HttpFront
from entrypoints.gateway.tracing import Traces
from tests.gateway.rig import Rig


class Both(NamedTuple):
    """Where a gateway listens."""

    gateway: Gateway
    grpc: str
    http: str


@contextmanager
def serving_both(
    rig: Rig, home: Path, config: GatewayConfig, traces: Traces | None = None
) -> Iterator[Both]:
    """Serve a configuration by both protocols."""
    with rig.gateway(home, config, traces) as gateway:
        grpc_clients = rig.now(
            lambda: {pool.name: TritonGrpc(pool.grpc, config.message_bytes) for pool in config.pool}
        )
        http_clients = {
            pool.name: HttpClient(pool.http, config.message_bytes) for pool in config.pool
        }
        over_grpc = GrpcFront(gateway, grpc_clients, config)
        over_http = HttpFront(gateway, http_clients, config)
        try:
            ports = [rig.call(front.start("127.0.0.1", 0)) for front in (over_grpc, over_http)]
            yield Both(gateway, *(f"127.0.0.1:{port}" for port in ports))
        finally:
            rig.call(over_grpc.stop(5))
            rig.call(over_http.stop(5))
            for each in grpc_clients.values():
                rig.call(each.close())
            for client in http_clients.values():
                rig.call(client.close())
