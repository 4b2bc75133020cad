"""Checking at the start: a meter that does not fit its model is told before anything is served."""

import asyncio
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tollbook.errors import Invalid, Unavailable

from adapters.triton.grpc_client import TritonGrpc
from adapters.triton.server import TritonServer
from entrypoints.gateway.checking import check_http, check_models
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.pricing import check_prices
from tests.gateway.rig import METERS, Rig, configured
from tests.support.triton import a_triton
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

MESSAGE_BYTES = 1_048_576
SOME = {"gpu_seconds": {"constant": "1"}}


def checked(rig: Rig, config: GatewayConfig) -> None:
    """Check a configuration as a gateway that starts does."""

    async def work() -> None:
        clients = {pool.name: TritonGrpc(pool.grpc, MESSAGE_BYTES) for pool in config.pool}
        try:
            await check_models(config, clients)
        finally:
            for client in clients.values():
                await client.close()

    rig.call(work())


def textgen(**changes: Any) -> list[dict[str, Any]]:
    """Return the meter of the model of texts with something else in it."""
    meter = copy.deepcopy(next(each for each in METERS if each["name"] == "textgen"))
    for place, source in changes.items():
        part, _, unit = place.partition("__")
        if unit:
            meter[part][unit] = source
        else:
            meter[part] = source
    return [meter]


def image(**source: Any) -> list[dict[str, Any]]:
    return [{"name": "image", "usage": {"images": {"input_shape": "IMAGE", **source}}}]


def test_the_meters_of_our_own_models_fit(rig: Rig, triton: TritonServer) -> None:
    checked(rig, configured(triton.grpc_address, triton.http_address))


@pytest.mark.parametrize(
    ("meters", "says"),
    [
        (
            textgen(usage__output_tokens={"output": "TOKENS"}),
            r"is 'TOKENS': must be an output of the model .* has INPUT_TOKENS, OUT, OUTPUT_TOKENS,",
        ),
        (
            textgen(usage__output_tokens={"output": "OUT"}),
            r"textgen\.usage\.output_tokens is 'OUT': must be an output of type INT16.*has BYTES",
        ),
        (
            textgen(estimate__output_tokens={"input": "TOKENS_MAX", "default": 1}),
            r"textgen\.estimate\.output_tokens is 'TOKENS_MAX': must be an input of the model",
        ),
        (
            textgen(estimate__output_tokens={"input": "TEXT"}),
            r"textgen\.estimate\.output_tokens is 'TEXT': must be an input of type INT16",
        ),
        (
            textgen(estimate__input_tokens={"input_bytes": "MAX_TOKENS"}),
            r"textgen\.estimate\.input_tokens is 'MAX_TOKENS': must be an input of type BYTES",
        ),
        (
            textgen(usage__output_tokens={"output_shape": "NONE"}),
            r"textgen\.usage\.output_tokens is 'NONE': must be an output of the model",
        ),
        (
            textgen(request_id_output="OUTPUT_TOKENS"),
            r"textgen\.request_id_output is 'OUTPUT_TOKENS': must be an output of type BYTES",
        ),
        (
            image(axis=4),
            r"image\.usage\.images is 'IMAGE': must be an input with an axis 4.*it has 4 axes",
        ),
        (
            [
                {
                    "name": "textgen_stream",
                    "usage": {"gpu_seconds": {"traces": True}},
                    "estimate": SOME,
                }
            ],
            r"textgen_stream\.usage\.gpu_seconds is 'traces': must be of another source: textgen_",
        ),
        ([{"name": "nope", "usage": {"requests": {"constant": 1}}}], r"has no model nope: put it"),
    ],
)
def test_a_meter_that_does_not_fit_is_told_with_model_tensor_and_rule(
    rig: Rig, triton: TritonServer, meters: list[dict[str, Any]], says: str
) -> None:
    with pytest.raises(Invalid) as raised:
        checked(rig, configured(triton.grpc_address, triton.http_address, meters=meters))
    assert re.search(says, raised.value.message), raised.value.message
    assert {"field", "value", "rule"} <= raised.value.facts.keys()


def test_a_pool_that_does_not_answer_is_named(rig: Rig) -> None:
    with pytest.raises(Unavailable, match=r"the pool shared \(127\.0\.0\.1:1\) does not answer"):
        checked(rig, configured())


@pytest.fixture
def small(tmp_path: Path) -> Iterator[TritonServer]:
    """Run a server with two models only."""
    with a_triton(tmp_path, models=("identity", "slow")) as server:
        yield server


def test_each_pool_is_checked_for_each_model(
    rig: Rig, triton: TritonServer, small: TritonServer
) -> None:
    config = configured(triton.grpc_address, triton.http_address)
    other = configured(small.grpc_address, small.http_address).pool[0]
    both = GatewayConfig(
        pool=(*config.pool, type(other)(name="small", grpc=other.grpc, http=other.http)),
        model=config.model,
    )
    with pytest.raises(Invalid, match=r"the pool small .* has no model textgen"):
        checked(rig, both)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [("127.0.0.1:1", "does not answer"), ("a gRPC port", "does not answer")],
)
def test_an_http_address_without_a_server_is_named(
    triton: TritonServer, wrong: str, says: str
) -> None:
    """Inferences over gRPC would go well, and nobody would know until the first over HTTP."""
    asyncio.run(check_http(configured(triton.grpc_address, triton.http_address)))
    http = triton.grpc_address if wrong == "a gRPC port" else wrong
    with pytest.raises(Unavailable, match=rf"the pool shared \(http {http}\) {says}"):
        asyncio.run(check_http(configured(triton.grpc_address, http)))


def test_a_model_that_no_price_book_has_is_named_with_those_that_are_there(rig: Rig) -> None:
    check_prices(rig.database, configured().model)
    with pytest.raises(Invalid) as raised:
        check_prices(rig.database, configured(meters=textgen(price_model="gpt5")).model)
    assert raised.value.facts["field"] == "textgen.price_model"
    assert "must be a model of a published price book" in raised.value.message
    assert ", textgen, " in raised.value.message


@pytest.mark.parametrize("address", ["127.0.0.1", "http://127.0.0.1:8000", ":8000", "a b:1"])
def test_an_address_of_another_form_is_told_the_right_one(address: str) -> None:
    with pytest.raises(Invalid, match=r"pool\.0\.http: .* must be HOST:PORT"):
        configured(http=address)
