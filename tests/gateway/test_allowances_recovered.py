"""A gateway is killed with inferences from allowances under way: what it drew is not given back."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.redis.server import RedisServer
from domain.usage_events import UsageParked
from entrypoints.gateway.recovery import recover
from tests.architecture.source_files import ROOT
from tests.gateway.allowances import (
    COST,
    MILLIONTH,
    Seen,
    asked,
    assert_nothing_held,
    facts,
    paid,
    parts_of,
    quick,
    released_of,
    slices_of,
    unlimited,
    use,
)
from tests.gateway.dying_allowances import BEFORE, EACH, STATES
from tests.gateway.rig import Licensee, Rig
from tests.support.redis import redis as redis  # noqa: PLC0414 - a fixture, by its name


def died(
    rig: Rig, redis: str | None, home: Path, who: Licensee, states: Sequence[str] = STATES
) -> dict[str, dict[str, str]]:
    """Have a gateway die, and return the slices of its inferences by state and id."""
    order = {
        "urls": [rig.database.owner_url, rig.database.app_url],
        "master_key": (rig.database.master_key or b"").hex(),
        "home": str(home),
        "key": who.key,
        "redis": redis,
        "states": states,
    }
    command = [sys.executable, "-m", "tests.gateway.dying_allowances", json.dumps(order)]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    found: dict[str, dict[str, str]] = json.loads(ended.stdout)
    return found


def parked_of(who: Licensee) -> dict[str, UsageParked]:
    """Return what is parked, by usage record."""
    return {each.record: each for each in facts(who) if isinstance(each, UsageParked)}


@pytest.mark.parametrize("handed_out", ["by redis", "in process"])
def test_what_a_killed_gateway_drew_is_charged_once_or_parked_on_a_slice_that_stays(
    rig: Rig, redis: RedisServer, tmp_path: Path, handed_out: str
) -> None:
    who, url = unlimited(rig), redis.url if handed_out == "by redis" else None
    seen, is_over = Seen(), False
    with rig.gateway(tmp_path / "b", quick("gateway-b"), redis=url) as other:
        work = use([other], asked(who), seen, lambda: is_over, at_once=2, pause=0.01)
        using = asyncio.run_coroutine_threadsafe(work, rig.loop)
        states = died(rig, url, tmp_path / "a", who)
        is_over = True
        using.result(60)
    untold = {each for state in STATES for each in states[state].values()}
    assert untold.isdisjoint(released_of(who)), "nobody knows what became of what was drawn"
    with rig.gateway(tmp_path / "a", quick("gateway-a")) as gateway:
        told = rig.call(recover(tmp_path / "a", gateway))
    assert told.told >= EACH, "told again, which changes nothing"
    assert (told.parked, told.stuck) == (EACH, 0)
    charges = paid(who)
    for id, slice_id in states["answered"].items():
        assert charges[id] == COST * MILLIONTH
        assert slice_id in {each.reservation for each in parts_of(who)}
    assert parked_of(who).keys() == states["begun"].keys()
    for id, parked in parked_of(who).items():
        assert parked.body["reservation"] == states["begun"][id]
        rig.tollbook.run("release_usage", {"id": f"look-{id}", "parked": parked.parked}).result()
    assert not states["admitted"].keys() & paid(who).keys()
    assert len(seen.drawn) > BEFORE
    assert_nothing_held(who)


def test_what_a_killed_gateway_had_set_aside_for_itself_goes_back_once_all_else_is_told(
    rig: Rig, tmp_path: Path
) -> None:
    who = unlimited(rig)
    states = died(rig, None, tmp_path, who, ("answered", "admitted"))
    slices = set(slices_of(who))
    untold = {each for state in states.values() for each in state.values()}
    assert untold <= slices - released_of(who)
    with rig.gateway(tmp_path, quick("gateway-a")) as gateway:
        told = rig.call(recover(tmp_path, gateway))
        assert (told.told >= EACH, told.parked, told.stuck) == (True, 0, 0)
        assert slices <= released_of(who), "not by their expiry"
        assert rig.tollbook.balance(who.customer).held == 0
    charges = paid(who)
    assert {charges[id] for id in states["answered"]} == {COST * MILLIONTH}
    assert not states["admitted"].keys() & charges.keys()
    assert list(tmp_path.iterdir()) == []


def test_it_stays_where_anything_of_the_customer_was_parked_since(rig: Rig, tmp_path: Path) -> None:
    who = unlimited(rig)
    states = died(rig, None, tmp_path, who, ("answered", "begun"))
    with rig.gateway(tmp_path, quick("gateway-a")) as gateway:
        told = rig.call(recover(tmp_path, gateway))
        assert (told.parked, told.stuck) == (EACH, 0)
        assert set(states["begun"].values()).isdisjoint(released_of(who))
    for each in parked_of(who).values():
        body = {"id": f"look-{each.parked}", "parked": each.parked}
        rig.tollbook.run("release_usage", body).result()
    assert_nothing_held(who)
    assert list(tmp_path.iterdir()) == []
