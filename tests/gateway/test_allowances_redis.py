"""What Redis says is never believed, and a gateway does without it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.event_store.news import ledger_name
from adapters.event_store.store import PostgresEventStore
from adapters.redis.allowances import RedisAllowances
from adapters.redis.server import RedisServer
from application.allowing import Slice
from entrypoints.gateway.allowance_demand import Demand
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.pausing import Pause
from entrypoints.gateway.trace_batches import Totals
from tests.gateway.allowances import (
    allowing,
    asked,
    assert_nothing_held,
    paid,
    parts_of,
    quick,
    unlimited,
    used,
)
from tests.gateway.rig import Licensee, Rig
from tests.gateway.test_monitoring import monitored
from tests.support.redis import a_redis
from tests.support.redis import redis as redis  # noqa: PLC0414 - a fixture, by its name
from tests.support.sizes import all_or
from tests.support.triton import wait_until

PLACES = 50


def set_aside(who: Licensee, model: str = "textgen") -> tuple[str, int]:
    """Set a slice aside by hand; return its reservation, and where it is recorded."""
    body = {
        "id": f"allowance-{who.license}-{model}",
        "customer": who.customer,
        "model": model,
        "estimate": {"input_tokens": 5, "output_tokens": 16},
        "inferences": PLACES,
        "license": who.license,
    }
    answer = who.rig.tollbook.run("reserve", body)
    answer.result()
    assert answer.recorded is not None
    return answer.id, answer.recorded.position


def of_another(rig: Rig, _who: Licensee) -> tuple[str, str]:
    """Tell of a slice that somebody else pays for."""
    name, position = set_aside(unlimited(rig))
    return name, json.dumps({"position": position})


def of_another_question(_rig: Rig, who: Licensee) -> tuple[str, str]:
    """Tell of a slice that was set aside without showing this key."""
    name, position = set_aside(who)
    return name, json.dumps({"position": position})


def of_nothing(rig: Rig, _who: Licensee) -> tuple[str, str]:
    """Tell of an event that is something else."""
    return "made-up", json.dumps({"position": rig.tollbook.store.head().position})


LIES: dict[str, Callable[[Rig, Licensee], tuple[str, str]]] = {
    "another's": of_another,
    "another question's": of_another_question,
    "another event": of_nothing,
    "the future": lambda *_: ("made-up", json.dumps({"position": 2**62})),
    "no position": lambda *_: ("made-up", json.dumps({"position": "1"})),
    "no object": lambda *_: ("made-up", "[]"),
    "no JSON": lambda *_: ("made-up", "{"),
}


async def published(gateway: Gateway, redis: str, ledger: str, who: Licensee, lie: Slice) -> None:
    """Have Redis hand out a slice for what a licensee asks."""
    question = gateway.admission.question(asked(who))
    assert question is not None
    meter = gateway.admission.meter("textgen")
    digest = Demand(question, meter, ["input_tokens", "output_tokens"], 1, Pause(1, 1)).digest
    liar = RedisAllowances(redis, ledger, "liar", timeout_seconds=5)
    await liar.publish(digest, lie, allowing(gateway).following.latest())
    await liar.close()


@pytest.mark.parametrize("lie", all_or(3, LIES))
def test_an_inference_runs_on_nothing_that_the_ledger_does_not_hold_for_it(
    rig: Rig, redis: RedisServer, tmp_path: Path, lie: str
) -> None:
    who = unlimited(rig)
    store = rig.tollbook.store
    assert isinstance(store, PostgresEventStore)
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        used(who, [gateway], 1)
        name, text = LIES[lie](rig, who)
        wait_until(allowing(gateway).following.is_heard)
        until = rig.tollbook.now() + 10**9
        told = Slice(name, PLACES, until, text)
        rig.call(published(gateway, redis.url, ledger_name(store.run), who, told))
        # The ledger admits for as long as lies are told, and on a quick machine thousands a second.
        seen = used(who, [gateway], 10**6, enough=lambda it: len(it.drawn) > 50)
        assert name not in {each.slice for each in seen.drawn}
        assert seen.drawn, "one of its own was set aside meanwhile"
        assert allowing(gateway).draws["malformed"] >= 1
    assert name not in {each.reservation for each in parts_of(who)}


def test_without_redis_the_ledger_decides_and_says_so(rig: Rig, tmp_path: Path) -> None:
    who = unlimited(rig)
    with a_redis(tmp_path / "redis") as server:
        url = server.url
    with rig.gateway(tmp_path / "a", quick(), redis=url) as gateway:
        seen = used(who, [gateway], 60)
        assert not seen.drawn
        assert not seen.refused
        wait_until(lambda: len(paid(who)) == len(seen.ids))
        wait_until(lambda: told_by(rig, gateway)["allowances"] == "redis away")


def test_an_idle_gateway_knows_of_a_redis_that_went_and_came(rig: Rig, tmp_path: Path) -> None:
    with (
        a_redis(tmp_path / "redis") as server,
        rig.gateway(tmp_path / "a", quick(), redis=server.url) as gateway,
    ):
        wait_until(lambda: told_by(rig, gateway)["allowances"] == "on")
        server.kill()
        wait_until(lambda: told_by(rig, gateway)["allowances"] == "redis away")
        server.start()
        wait_until(lambda: told_by(rig, gateway)["allowances"] == "on")


def test_a_redis_that_comes_back_is_used_again(rig: Rig, tmp_path: Path) -> None:
    who = unlimited(rig)
    short = quick(allowances={"seconds": 5})  # what is forgotten is held until it expires
    with a_redis(tmp_path / "redis") as server:
        with rig.gateway(tmp_path / "a", short, redis=server.url) as gateway:
            assert used(who, [gateway], 10**6, enough=lambda it: len(it.drawn) > 50).drawn
            server.kill()
            wait_until(lambda: away(gateway, who))
            server.start()
            seen = used(who, [gateway], 100_000, enough=lambda it: len(it.drawn) > 50)
            assert seen.drawn
            wait_until(lambda: told_by(rig, gateway)["allowances"] == "on")
        assert_nothing_held(who)


def away(gateway: Gateway, who: Licensee) -> bool:
    """Use a licence a little, and say whether Redis was missed."""
    used(who, [gateway], 5)
    return allowing(gateway).link.is_away


def told_by(rig: Rig, gateway: Gateway) -> dict[str, Any]:
    """Return what readiness tells; the gateway is ready whatever Redis does."""
    with monitored(rig, gateway, None, Totals()) as client:
        answer = client.get("/readyz")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_operators_see_what_came_from_allowances_and_nobody_by_name(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        seen = used(who, [gateway], 10**6, enough=lambda it: len(it.drawn) > 50)
        drawn, prefix = len(seen.drawn), "tollbook_gateway_allowance"
        told: list[str] = []

        def is_redis_there() -> bool:
            with monitored(rig, gateway, None, Totals()) as client:
                told.append(client.get("/metrics").text)
            return float(values_of(told[-1])[f"{prefix}_redis_away"]) == 0

        wait_until(is_redis_there)
    values = values_of(told[-1])
    assert float(values[f'{prefix}_draws_total{{how="drawn"}}']) == drawn
    assert float(values[f'{prefix}_slices_total{{how="opened"}}']) >= 1
    assert float(values[f"{prefix}_slices_open"]) >= 1
    assert float(values[f"{prefix}_ledger_silence_seconds"]) >= 0
    assert who.customer not in told[-1]


def values_of(text: str) -> dict[str, str]:
    """Return what metrics say, by their names and labels."""
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_without_a_redis_of_its_own_a_gateway_has_no_allowances(rig: Rig, tmp_path: Path) -> None:
    with rig.gateway(tmp_path, quick(allowances={"seconds": 10})) as gateway:
        assert gateway.emergency.allowing is None
        assert told_by(rig, gateway)["allowances"] == "off"
        with monitored(rig, gateway, None, Totals()) as client:
            assert "allowance" not in client.get("/metrics").text
