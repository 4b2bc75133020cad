"""Holds of inferences that run long: extended while they run, and what comes of a refused one."""

import json
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from adapters.triton.grpc_client import SERVICE
from adapters.triton.server import TritonServer
from domain.events import ReservationExtended, ReservationHeld
from domain.values import SECOND
from entrypoints.gateway import extending
from entrypoints.gateway.config import GatewayConfig
from tests.gateway.both_fronts import Both, serving_both
from tests.gateway.grpc_serving import CALL_SECONDS, before, metadata, wait
from tests.gateway.grpc_streaming import asking
from tests.gateway.http_serving import ask
from tests.gateway.rig import Licensee, Rig, configured
from tests.gateway.test_core import answer, begun, told
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

DELAY_MS = 100
HELD, EXTENDED, SETTLED = "reservation_held", "reservation_extended", "reservation_settled"


def words_over_http(both: Both, who: Licensee, count: int) -> int:
    """Return how many words came of a slow stream."""
    path = "/v2/models/textgen_stream/generate_stream"
    asked = {"TEXT": "a b", "MAX_TOKENS": count, "DELAY_MS": DELAY_MS}
    lines = ask(both.http, "POST", path, asked, who.headers).body.splitlines()
    found = [json.loads(line.removeprefix(b"data: ")) for line in lines if line[:6] == b"data: "]
    return sum("OUT" in each for each in found)


def words_over_grpc(both: Both, who: Licensee, count: int) -> int:
    """Return how many words came of a slow stream."""
    with grpc.insecure_channel(both.grpc) as channel:
        call = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        asked = iter([asking("a b", count, DELAY_MS)])
        pieces = call(asked, metadata=metadata(who.headers), timeout=CALL_SECONDS)
        found = [pb.ModelStreamInferResponse.FromString(piece) for piece in pieces]
    return sum(bool(each.infer_response.outputs) for each in found)


WAYS: dict[str, Callable[[Both, Licensee, int], int]] = {
    "HTTP": words_over_http,
    "gRPC": words_over_grpc,
}


class Standing(NamedTuple):
    """How a hold came to stand for longer, or at first."""

    at: int
    until: int


def standings(who: Licensee) -> list[Standing]:
    kinds = ReservationHeld | ReservationExtended
    found = [(each.recorded_at, each.event) for each in who.events()]
    return [Standing(at, event.expires_at) for at, event in found if isinstance(event, kinds)]


def holding(config: GatewayConfig, seconds: int) -> GatewayConfig:
    """Have holds stand for less than a file may say, so that a test need not run for long."""
    object.__setattr__(config, "hold_seconds", seconds)
    return config


def do(who: Licensee, kind: str, **more: str) -> None:
    body = {"id": f"{kind}-{who.license}", "license": who.license, **more}
    who.rig.tollbook.run(kind, body).result()


def refusals(caplog: pytest.LogCaptureFixture, id: str) -> int:
    said = [each.getMessage() for each in caplog.records]
    return sum(f"the hold of {id} is not extended" in each for each in said)


def held(who: Licensee) -> str:
    """Return the id of the one inference that is held, as soon as one is."""
    wait(lambda: HELD in who.names())
    (found,) = [each.event for each in who.events() if isinstance(each.event, ReservationHeld)]
    return found.reservation


def test_the_hold_of_a_stream_is_extended_again_and_again_while_it_runs(
    rig: Rig, triton: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extending, "PAUSE_SECONDS", 0.1)  # a second is much of so short a hold
    seconds, count = 6, 135
    asking_at_once = {rig.licensee(): way for way in WAYS.values()}
    with (
        serving_both(rig, tmp_path, holding(before(triton), seconds)) as both,
        ThreadPoolExecutor() as pool,
    ):
        streams = [pool.submit(way, both, who, count) for who, way in asking_at_once.items()]
        assert [each.result() for each in streams] == [count] * len(streams)
        for who in asking_at_once:
            (charge,) = who.until(1)
            assert charge.usage == {"input_tokens": 2, "output_tokens": count}
            assert charge.licensed is None, "its hold had run out"
    for who in asking_at_once:
        assert_extended_in_time(standings(who), seconds)
        extensions = len(standings(who)) - 1
        assert extensions >= 3
        assert who.names() == [HELD, *[EXTENDED] * extensions, SETTLED]
        assert rig.tollbook.balance(who.customer).held == 0


def assert_extended_in_time(found: list[Standing], seconds: int) -> None:
    """Check that each extension came before the end, but not before two thirds of the time."""
    for first, second in pairwise(found):
        assert second.at < first.until < second.until
        assert second.at - first.at > (seconds * 2 / 3 - 0.1) * SECOND


def test_a_stream_whose_hold_is_not_extended_runs_on_and_is_charged_late(
    rig: Rig, triton: TritonServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seconds, count = 3, 55
    asking_at_once = {rig.licensee(): way for way in WAYS.values()}
    with (
        serving_both(rig, tmp_path, holding(before(triton), seconds)) as both,
        ThreadPoolExecutor() as pool,
    ):
        streams: list[Future[int]] = []
        for who, way in asking_at_once.items():
            streams.append(pool.submit(way, both, who, count))
            held(who)
            do(who, "suspend_license", reason="test")
        assert [each.result() for each in streams] == [count] * len(streams)
        for who in asking_at_once:
            (charge,) = who.until(1)
            assert charge.usage == {"input_tokens": 2, "output_tokens": count}
            assert charge.licensed == who.license, "its hold stood all the time"
            assert charge.from_balance == charge.charged == (2 * 1 + count * 2) * 1_000_000
            assert refusals(caplog, charge.reservation) >= 2, "it was not tried again"
    for who in asking_at_once:
        assert EXTENDED not in who.names()
        assert rig.tollbook.balance(who.customer).held == 0


def test_a_refused_extension_is_tried_again_before_the_hold_runs_out(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    who = rig.licensee()
    with (
        caplog.at_level(logging.WARNING, "tollbook.gateway"),
        rig.gateway(tmp_path, configured(hold_seconds=10)) as gateway,
    ):
        running = begun(rig, gateway, who, model="textgen_stream")
        do(who, "suspend_license", reason="test")
        wait(lambda: refusals(caplog, running.id) > 0)
        do(who, "reinstate_license")
        wait(lambda: EXTENDED in who.names())
        told(rig, running, answer(3, 1))
        rig.now(lambda: gateway.finish(running))
        (charge,) = who.until(1)
    first, second = standings(who)
    assert second.at < first.until < second.until
    assert charge.licensed is None
