"""Checking, before a gateway serves: that each meter fits its model on every pool's server.

A meter that names an output which its model does not have would park every inference.
"""

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any, Protocol

import grpc
from tollbook.errors import Invalid, TollbookError, Unavailable

from adapters.triton import statistics
from adapters.triton.grpc_client import ServerError, ServerLost
from adapters.triton.http_client import HttpClient
from domain import meters
from domain.meters_format import Meter, Source, StageMeter
from domain.tensors import WHOLE
from entrypoints.gateway.config import GatewayConfig, Pool

_TEXT, _YES_OR_NO = frozenset({"BYTES"}), frozenset({"BOOL"})
_ALIVE_BYTES, _ALIVE_SECONDS = 65_536, 5.0


class Looking(statistics.Looking, Protocol):
    """Asks one server about its models."""

    async def metadata(self, model: str) -> Any:
        """Return a model's inputs and outputs; raises ServerError or ServerLost."""


async def check_models(config: GatewayConfig, clients: Mapping[str, Looking]) -> None:
    """Compare every meter with what every pool says of its model; raises Invalid or Unavailable."""
    for pool in config.pool:
        for meter in config.model:
            await _check(pool, clients[pool.name], meter)


async def check_http(config: GatewayConfig) -> None:
    """Ask every pool at its HTTP address, which the meters do not need; raises Unavailable."""
    for pool in config.pool:
        where = f"the pool {pool.name} (http {pool.http})"
        async with HttpClient(pool.http, _ALIVE_BYTES) as client:
            try:
                answer = await client.ask("GET", "/v2/health/live", seconds=_ALIVE_SECONDS)
            except TollbookError as error:
                raise Unavailable(f"{where} does not answer: {error}", pool=pool.name) from None
        if answer.status != HTTPStatus.OK:
            said = f"{where} answers as no Triton would, with status {answer.status}"
            raise Unavailable(said, pool=pool.name)


async def _check(pool: Pool, client: Looking, meter: Meter) -> None:
    try:
        metadata = await client.metadata(meter.name)
        staged = any(part.step is not None for part in meter.stage.values())
        needed = staged or meters.waits_for_traces(meter)
        steps = await statistics.steps_at(client, meter.name) if needed else {}
        streaming = [
            each
            for each in _timed(meter, steps)
            if (await statistics.config_at(client, each)).model_transaction_policy.decoupled
        ]
    except ServerLost as error:
        where = f"the pool {pool.name} ({pool.grpc})"
        raise Unavailable(f"{where} does not answer: {error}", pool=pool.name) from None
    except ServerError as error:
        raise _not_served(pool, meter, error) from None
    check_meter(meter, metadata, pool.name)
    if streaming:
        rule = (
            f"of another source: {streaming[0]} answers in several messages, which no trace tells"
        )
        raise Invalid.because(f"{meter.name}.usage.gpu_seconds", "traces", rule)
    for name, part in meter.stage.items():
        if part.step is not None and steps.get(part.step) != 1:
            rule = f"asked once by the ensemble on the pool {pool.name}: {', '.join(steps)}"
            raise Invalid.because(f"{meter.name}.stage.{name}.step", part.step, rule)


def _timed(meter: Meter, steps: Collection[str]) -> list[str]:
    """Return the models whose device time a meter takes from traces, given an ensemble's steps."""
    if any(source.traces for source in meter.usage.values()):
        return [meter.name, *steps]
    parts = (part for part in meter.stage.values() if part.step in steps)
    return [str(part.step) for part in parts if any(each.traces for each in part.usage.values())]


def _not_served(pool: Pool, meter: Meter, error: ServerError) -> Invalid | Unavailable:
    where = f"the server of the pool {pool.name} ({pool.grpc})"
    if error.code is grpc.StatusCode.NOT_FOUND:
        return Invalid(
            f"{where} has no model {meter.name}: put it into that server's repository, or take it "
            f"out of this file; the server says: {error.details}",
            field="model.name",
            value=meter.name,
            rule=f"a model of the pool {pool.name}",
        )
    words = f"{where} does not serve the model {meter.name} yet; it says: {error.details}"
    return Unavailable(words, pool=pool.name, model=meter.name)


def check_meter(meter: Meter, metadata: Any, pool: str) -> None:
    """Compare one meter with one server's metadata; raises Invalid naming model and tensor."""
    tensors = {
        "input": {each.name: each for each in metadata.inputs},
        "output": {each.name: each for each in metadata.outputs},
    }
    parts: dict[str, Meter | StageMeter] = {meter.name: meter}
    parts |= {f"{meter.name}.stage.{name}": each for name, each in meter.stage.items()}
    for where, each in parts.items():
        for part, sources in (("usage", each.usage), ("estimate", each.estimate)):
            for unit, source in sources.items():
                _check_source(f"{where}.{part}.{unit}", source, tensors, pool)
    for output, name in meter.ask.items():
        where = f"{meter.name}.ask.{output}"
        _check_tensor(where, tensors, "output", output, None, None, pool)
        _check_tensor(where, tensors, "input", name, _YES_OR_NO, None, pool)
        if list(tensors["input"][name].shape) != [1]:
            rule = f"an input of shape [1]: on the pool {pool} it is another one"
            raise Invalid.because(where, name, rule)
    if meter.request_id_output is not None:
        where = f"{meter.name}.request_id_output"
        _check_tensor(where, tensors, "output", meter.request_id_output, _TEXT, None, pool)


def _check_source(
    where: str, source: Source, tensors: Mapping[str, Mapping[str, Any]], pool: str
) -> None:
    for kind, name, types in (
        ("output", source.output, WHOLE),
        ("output", source.output_shape, None),
        ("input", source.input, WHOLE),
        ("input", source.input_bytes, _TEXT),
        ("input", source.input_shape, None),
    ):
        if name is not None:
            _check_tensor(where, tensors, kind, name, types, source.axis, pool)


def _check_tensor(
    where: str,
    tensors: Mapping[str, Mapping[str, Any]],
    kind: str,
    name: str,
    types: frozenset[str] | None,
    axis: int | None,
    pool: str,
) -> None:
    found = tensors[kind].get(name)
    if found is None:
        having = ", ".join(sorted(tensors[kind])) or "none"
        rule = f"an {kind} of the model on the pool {pool}: it has {having}"
    elif types is not None and found.datatype not in types:
        rule = f"an {kind} of type {', '.join(sorted(types))}: the pool {pool} has {found.datatype}"
    elif axis is not None and not -len(found.shape) <= axis < len(found.shape):
        rule = f"an {kind} with an axis {axis}: on the pool {pool} it has {len(found.shape)} axes"
    else:
        return
    raise Invalid.because(where, name, rule)
