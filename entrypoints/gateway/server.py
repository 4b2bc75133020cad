"""The gateway as a process: its fronts and its core, from the first check to an orderly stop."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any, NamedTuple

import uvloop
from tollbook.errors import TollbookError

from adapters.event_store.store import PostgresEventStore
from adapters.grpc.server import LINGER_SECONDS
from adapters.triton.grpc_client import TritonGrpc
from adapters.triton.http_client import HttpClient
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database
from entrypoints.gateway.allowance_closing import CLOSE_SECONDS as ALLOWANCES_SECONDS
from entrypoints.gateway.assembling import DRAIN_SECONDS, Kafka, gateway_on
from entrypoints.gateway.checking import check_models
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.crew import reserved, stop_with_pipe
from entrypoints.gateway.descriptors import fitted
from entrypoints.gateway.grpc_front import GrpcFront
from entrypoints.gateway.http_front import HttpFront
from entrypoints.gateway.leaving import CANCELLED_SECONDS
from entrypoints.gateway.leaving import LEAVE_SECONDS as ANSWERS_SECONDS
from entrypoints.gateway.monitoring import READY_SECONDS, Monitor
from entrypoints.gateway.pipelines import check as check_pipelines
from entrypoints.gateway.ports import has_several_addresses
from entrypoints.gateway.recovery import recovering
from entrypoints.gateway.sampling import LAST_SECONDS, sampling
from entrypoints.gateway.slices import CLOSE_SECONDS as SLICES_SECONDS
from entrypoints.gateway.trace_collector import TraceCollector
from entrypoints.http.submitting import COMMAND_SECONDS

STOP_SECONDS = 30.0
"""How long inferences under way have to end when the gateway is told to stop."""

_DISCONNECT_SECONDS = 10.0

LEAVE_SECONDS = sum(
    (
        STOP_SECONDS,
        3 * LINGER_SECONDS,
        ANSWERS_SECONDS,
        2 * CANCELLED_SECONDS,
        2 * READY_SECONDS,
        DRAIN_SECONDS,
        2 * SLICES_SECONDS,
        COMMAND_SECONDS,  # an allowance is being set aside
        ALLOWANCES_SECONDS,
        LAST_SECONDS,
        _DISCONNECT_SECONDS,
    )
)
"""How long a stop in order may take: its steps come one after the other, in this order.

A ledger that hangs may hold it up for longer: then it is killed, which loses nothing."""


class Ports(NamedTuple):
    """Where a gateway listens; a port of 0 takes a free one."""

    host: str
    grpc: int
    http: int
    monitor: int
    is_shared: bool = False
    """Whether others of a crew listen on the first two as well."""


def check(config: GatewayConfig) -> int:
    """Compare the meters with the servers' models; return how many models fit."""

    async def checking() -> None:
        async with AsyncExitStack() as stack:
            await check_models(config, await _grpc_clients(config, stack))

    asyncio.run(checking())
    return len(config.model)


def check_published(database: Database, config: GatewayConfig) -> None:
    """Compare the meters of pipelines with what is published; raises Invalid."""
    with closing(PostgresEventStore(database.app_url)) as store:
        check_pipelines(config.model, store)


def serve(
    database: Database,
    tollbook: Tollbook,
    config: GatewayConfig,
    home: Path,
    ports: Ports,
    ready: Callable[[dict[str, Any]], None],
    kafka: Kafka | None = None,
    redis: str | None = None,
) -> None:
    """Serve until told to stop by SIGTERM or SIGINT; `ready` is told where it listens."""
    config = fitted(config)

    async def serving() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        if ports.is_shared:
            stop_with_pipe(stop.set)
        async with fronts_on(database, tollbook, config, home, ports, kafka, redis) as found:
            ready(found)
            await stop.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving())


@asynccontextmanager
async def fronts_on(
    database: Database,
    tollbook: Tollbook,
    config: GatewayConfig,
    home: Path,
    ports: Ports,
    kafka: Kafka | None = None,
    redis: str | None = None,
) -> AsyncIterator[dict[str, Any]]:
    """Serve on the running loop; yields the addresses, and stops in order after the block."""
    async with AsyncExitStack() as stack:
        grpc_clients = await _grpc_clients(config, stack)
        http_clients = {
            pool.name: await stack.enter_async_context(HttpClient(pool.http, config.message_bytes))
            for pool in config.pool
        }
        await check_models(config, grpc_clients)
        await stack.enter_async_context(sampling(database, config, home))
        traces = await stack.enter_async_context(TraceCollector(config))
        gateway = await stack.enter_async_context(
            gateway_on(database, tollbook, config, home, traces, kafka, redis)
        )
        await stack.enter_async_context(recovering(home, gateway))
        grpc, http = (
            GrpcFront(gateway, grpc_clients, config),
            HttpFront(gateway, http_clients, config),
        )
        monitor = Monitor(gateway, _missing(gateway, grpc_clients), traces.totals)
        stack.push_async_callback(monitor.stop)
        found = {"monitor": f"http://{await _listening(monitor.start, ports.host, ports.monitor)}"}
        stack.push_async_callback(_stop_both, gateway, grpc, http)
        shared = ports.is_shared
        found["grpc"] = await _listening(grpc.start, ports.host, ports.grpc, shared)
        found["http"] = f"http://{await _listening(http.start, ports.host, ports.http, shared)}"
        yield found


async def _listening(
    start: Callable[..., Awaitable[int]], host: str, port: int, is_shared: bool = False
) -> str:
    """Listen at one port of all addresses of a host, and return where; 0 takes a free one."""
    with ExitStack() as stack:
        if port == 0 and has_several_addresses(host):
            port, is_shared = stack.enter_context(reserved(host, 0)), True
        port = await start(host, port, is_shared=is_shared)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _stop_both(gateway: Gateway, grpc: GrpcFront, http: HttpFront) -> None:
    gateway.set_nothing_aside()
    await asyncio.gather(grpc.stop(STOP_SECONDS), http.stop(STOP_SECONDS))


async def _grpc_clients(config: GatewayConfig, stack: AsyncExitStack) -> dict[str, TritonGrpc]:
    clients = {pool.name: TritonGrpc(pool.grpc, config.message_bytes) for pool in config.pool}
    for client in clients.values():
        stack.push_async_callback(client.close)
    return clients


def _missing(gateway: Gateway, clients: dict[str, TritonGrpc]) -> Callable[[], Any]:
    """Return what says why inferences cannot be served, or None."""

    async def missing() -> str | None:
        try:
            await gateway.admission.ledger_answers()
        except TollbookError as error:
            return f"the ledger: {error}"
        for name, client in clients.items():
            if not await client.is_ready():
                return f"the server of the pool {name}"
        return None

    return missing
