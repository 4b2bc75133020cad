"""Triton's own counters, read over gRPC: what each model was asked, and how long it computed."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from tritonclient.grpc import service_pb2 as pb

from adapters.triton.grpc_client import TritonGrpc
from domain.server_counters import Counters, Key


class Counts(NamedTuple):
    """The counters of one server, and the ensembles among its models."""

    counters: dict[Key, Counters]
    stages: dict[str, dict[str, int]]


class StatisticsReader:
    """Reads one server's counters; ensembles are looked up when they were first asked."""

    def __init__(self, client: TritonGrpc) -> None:
        """Know nothing about the server's models yet."""
        self._client = client
        self._stages: dict[str, dict[str, int]] = {}

    async def read(self) -> Counts:
        """Ask the server; raises ServerError or ServerLost."""
        request = pb.ModelStatisticsRequest().SerializeToString()
        answer = await self._client.look("ModelStatistics", request)
        models = pb.ModelStatisticsResponse.FromString(answer).model_stats
        counters = {(each.name, each.version): counters_of(each) for each in models}
        counters = {key: found for key, found in counters.items() if any(found)}
        for name in sorted({name for name, _ in counters}):
            if name not in self._stages:
                self._stages[name] = await steps_at(self._client, name)
        stages = {name: self._stages[name] for name, _ in counters if self._stages[name]}
        return Counts(counters, stages)


class Looking(Protocol):
    """Asks one server what runs no inference."""

    async def look(self, method: str, request: bytes) -> bytes:
        """Return the answer; raises ServerError or ServerLost."""


async def steps_at(client: Looking, model: str) -> dict[str, int]:
    """Return how often an ensemble asks each of its models; nothing for other models."""
    return steps_of((await config_at(client, model)).ensemble_scheduling.step)


async def config_at(client: Looking, model: str) -> Any:
    """Return a model's configuration; raises ServerError or ServerLost."""
    request = pb.ModelConfigRequest(name=model).SerializeToString()
    answer = await client.look("ModelConfig", request)
    return pb.ModelConfigResponse.FromString(answer).config


def counters_of(model: Any) -> Counters:
    """Return what a server says of one version of a model.

    The times beside the requests count a batch once for each request of it; those by size of batch
    count it once.
    """
    told = model.inference_stats
    device = sum(
        batch.compute_input.ns + batch.compute_infer.ns + batch.compute_output.ns
        for batch in model.batch_stats
    )
    return Counters(
        success=told.success.count,
        failed=told.fail.count,
        cache_hits=told.cache_hit.count,
        device_ns=device,
        batches=sum(batch.compute_infer.count for batch in model.batch_stats),
    )


def steps_of(steps: Iterable[Any]) -> dict[str, int]:
    """Count an ensemble's steps by model."""
    found: dict[str, int] = {}
    for step in steps:
        found[step.model_name] = found.get(step.model_name, 0) + 1
    return found
