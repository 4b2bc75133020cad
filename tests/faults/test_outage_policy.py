"""The ledger is away: who may go on goes on from what was set aside, and nobody else does."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tollbook.errors import Refused, Unavailable

from domain.events import ReservationHeld, ReservationReleased, ReservationSettled
from domain.license_events import LicenseRevoked
from domain.usage_events import UsageParked
from domain.values import PICO, SECOND
from entrypoints.gateway.core import EMERGENCY, REMAINING
from entrypoints.gateway.running import Running
from tests.faults.invariants import assert_sound
from tests.faults.own_server import OwnServer
from tests.gateway.outages import (
    CLOSED,
    COST,
    ESTIMATE,
    Stage,
    asked,
    config,
    is_slice,
    parts,
    staged,
)
from tests.gateway.rig import Licensee, Rig, rig_on
from tests.integration.embedded_postgres_helpers import family, postmaster
from tests.support.databases import TestDatabase
from tests.support.triton import wait_until

MILLIONTH = PICO // 1_000_000


@pytest.fixture
def rig(embedded_database: TestDatabase) -> Iterator[Rig]:
    """Open a ledger that the gateway may be cut off from."""
    with rig_on(embedded_database.parts) as opened:
        yield opened
    assert_sound(embedded_database.super_url)


def refusal(stage: Stage, who: Licensee) -> Unavailable:
    """Ask for an inference that must not run, and return what the client is told."""
    with pytest.raises(Unavailable) as caught:
        stage.rig.call(stage.gateway.admit(asked(who)))
    assert stage.gateway.refused["unavailable"] > 0
    return caught.value


def drawn_until_spent(stage: Stage, who: Licensee) -> list[Running]:
    """Begin inferences until the slice is spent."""
    running: list[Running] = []
    while (begun := begun_or_why(stage, who)) != "spent":
        assert isinstance(begun, Running), begun
        running.append(begun)
    return running


def begun_or_why(stage: Stage, who: Licensee) -> Running | str:
    """Begin an inference, or return why nothing is drawn for it."""
    try:
        return stage.begin(who)
    except Unavailable as error:
        return str(error.facts["emergency"])


def test_an_open_licence_goes_on_until_its_slice_is_spent_and_a_closed_one_does_not(
    rig: Rig, tmp_path: Path
) -> None:
    who, closed = rig.licensee(), rig.licensee(template=CLOSED)
    with staged(rig, tmp_path, config(4 * ESTIMATE)) as stage:
        name = stage.prepared(who)
        stage.finish(stage.begin(closed))
        closed.until(1)
        assert rig.tollbook.balance(who.customer).held == 4 * ESTIMATE * MILLIONTH
        stage.cut_off()
        running = drawn_until_spent(stage, who)
        assert len(running) == 4
        told = refusal(stage, who)
        assert told.facts["required"] == {"amount": "0.000037000000", "currency": "USD"}
        assert told.facts["available"] == {"amount": "0.000000000000", "currency": "USD"}
        assert "nothing was run" in told.message
        assert refusal(stage, closed).facts["emergency"] == "none"
        headers = [stage.finish(each) for each in running[:3]]
        assert {each[EMERGENCY] for each in headers} == {name}
        assert {each[REMAINING] for each in headers} == {"[]"}
        # What three did not use of their estimates pays for a fourth no more than it has.
        assert 3 * (ESTIMATE - COST) < ESTIMATE
        assert refusal(stage, who).facts["available"]["amount"] == "0.000036000000"
        rig.now(partial(stage.gateway.failed, running[3], "boom"))
        assert stage.finish(stage.begin(who))[EMERGENCY] == name
        assert stage.gateway.emergency.admitted == 5
        stage.reconnect()
        charges = who.until(5)
        assert [each.final for each in charges] == [True, False, False, False, False]
        assert {each.charged for each in charges} == {COST * MILLIONTH}
        # The slice goes back, and another one stands in its place.
        wait_until(lambda: any(each.allowance.reservation != name for each in stage.slices()))
        assert EMERGENCY not in stage.finish(stage.begin(who))
    released = {
        each.reservation: each.released for each in facts(who) if type(each) is ReservationReleased
    }
    slices = [each.reservation for each in facts(who) if type(each) is ReservationHeld]
    # What the ledger held too late for the first one was given back as well.
    assert [each for each in slices if is_slice(each)] == list(filter(is_slice, released))
    assert len(slices) == 1 + len(released) + 1
    assert released[name] == 4 * (ESTIMATE - COST) * MILLIONTH
    assert rig.tollbook.balance(who.customer).held == 0
    assert not list(tmp_path.iterdir())


def facts(who: Licensee) -> list[object]:
    """Return what happened to a licensee's customer."""
    return [each.event for each in who.events()]


def test_a_revocation_that_the_gateway_cannot_hear_of_holds_within_the_published_bound(
    rig: Rig, tmp_path: Path
) -> None:
    seconds = 6  # enough to be cut off, and to draw, before the last yes is too long ago
    who = rig.licensee()
    with staged(rig, tmp_path, config(1_000 * ESTIMATE, seconds)) as stage:
        stage.prepared(who)
        stage.finish(stage.begin(who))  # the last yes
        who.until(2)
        stage.cut_off()
        rig.tollbook.run(
            "revoke_license", {"id": "revoked", "license": who.license, "reason": "test"}
        ).result()
        while not isinstance(begun := begun_or_why(stage, who), str):
            stage.finish(begun)
            time.sleep(0.05)
        assert begun == "not_lately"
        assert stage.gateway.emergency.admitted > 0
        stage.reconnect()
        wait_until(lambda: refused_by_ledger(stage, who) == "license_revoked")
        who.until(2 + stage.gateway.emergency.admitted)
        # A no closes the licence at once, whatever was said before.
        stage.cut_off()
        assert "emergency" in refusal_once_away(stage, who).facts
    at = {type(each.event): each.recorded_at for each in who.events()}
    for each in who.charges():
        if not each.final:
            assert each.occurred_at is not None
            assert each.occurred_at <= at[LicenseRevoked] + seconds * SECOND


def refused_by_ledger(stage: Stage, who: Licensee) -> str | None:
    """Return what the ledger says no with; None where it is not back for the gateway yet."""
    try:
        stage.begin(who)
    except Refused as error:
        return error.code
    except Unavailable:
        return None
    raise AssertionError("it was admitted")


def refusal_once_away(stage: Stage, who: Licensee) -> Unavailable:
    """Return what a client is told once the gateway knows that the ledger is away."""
    while True:
        told = refusal(stage, who)
        if stage.gateway.emergency.away and "emergency" in told.facts:
            return told


def test_what_is_not_known_of_an_inference_is_parked_on_its_slice_and_can_be_released(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    with staged(rig, tmp_path, config()) as stage:
        name = stage.prepared(who)
        stage.cut_off()
        running = [stage.begin(who) for _ in range(2)]
        for each in running:
            rig.now(partial(stage.gateway.lost, each, "the connection broke"))
        stage.reconnect()
        wait_until(lambda: who.names().count("usage_parked") == 2)
    parked = [each for each in facts(who) if isinstance(each, UsageParked)]
    assert {event.body["reservation"] for event in parked} == {name}
    assert name not in released_of(who), "nobody could release its records then"
    for number, event in enumerate(parked):
        body = {"id": f"look-{who.customer}-{number}", "parked": event.parked}
        rig.tollbook.run("release_usage", body).result()
    assert len(parts(who, name)) == 2


def test_what_the_ledger_parks_by_itself_keeps_its_slice_as_well(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, now = rig.licensee(), Running.now
    with staged(rig, tmp_path, config()) as stage:
        name = stage.prepared(who)
        stage.cut_off()
        running = stage.begin(who)
        with monkeypatch.context() as patch:
            patch.setattr(Running, "now", lambda self: now(self) + 60 * SECOND)
            stage.finish(running)
        stage.reconnect()
        wait_until(lambda: "usage_parked" in who.names())
    assert name not in released_of(who)


def test_only_a_question_that_the_ledger_said_yes_to_is_answered_from_a_slice(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    plain = asked(who)
    batch, other = (plain._replace(facts={"features": [each]}) for each in ("batch", "other"))
    with staged(rig, tmp_path, config()) as stage:
        stage.prepared(who)
        rig.now(partial(stage.gateway.give_up, rig.call(stage.gateway.admit(batch)), "enough"))
        stage.cut_off()
        for question in (plain, batch):
            running = rig.call(stage.gateway.admit(question))
            assert running.admitted.slice is not None
            rig.now(partial(stage.gateway.give_up, running, "enough"))
        with pytest.raises(Unavailable) as caught:
            rig.call(stage.gateway.admit(other))
        assert caught.value.facts["emergency"] == "not_lately"
        assert stage.slices()[0].allowance.left == 4 * ESTIMATE * MILLIONTH
        stage.reconnect()
    assert len(who.charges()) == 1


def test_a_slice_that_nobody_needs_any_more_goes_back(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    with staged(rig, tmp_path, config(seconds=1)) as stage:
        name = stage.prepared(who)
        for standing in stage.gateway.emergency.slices.standings.values():
            assert standing.last is not None
            standing.last[1].at -= 12 * 10**9
        wait_until(lambda: name in released_of(who))
        wait_until(lambda: stage.gateway.emergency.slices.count == 0)
        assert rig.tollbook.balance(who.customer).held == 0


def released_of(who: Licensee) -> list[str]:
    """Return the reservations that were given back."""
    return [each.reservation for each in facts(who) if isinstance(each, ReservationReleased)]


def test_who_cannot_pay_for_a_slice_has_none_and_is_asked_again_only_later(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee("0.0001")
    with staged(rig, tmp_path, config(1000)) as stage:
        stage.finish(stage.begin(who))
        wait_until(lambda: "command_refused" in who.names())
        stage.finish(stage.begin(who))
        time.sleep(2.5)
        assert who.names().count("command_refused") == 1
        assert stage.slices() == []
        stage.gateway.emergency.slices.standings[who.license, "textgen"].retry_at = 0
        wait_until(lambda: who.names().count("command_refused") == 2)


@contextmanager
def stopped(server: OwnServer) -> Iterator[None]:
    """Stop PostgreSQL without a word: connections stay open, and nobody answers."""
    everybody = family(postmaster(server.folder))
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)


def test_a_ledger_that_says_nothing_is_not_waited_for_and_what_it_held_late_goes_back(
    own_server: OwnServer, tmp_path: Path
) -> None:
    with rig_on(own_server.parts) as rig:
        who, closed = rig.licensee(), rig.licensee(template=CLOSED)
        with rig.gateway(tmp_path, config(10 * ESTIMATE)) as gateway:
            stage = Stage(rig, gateway)
            name = stage.prepared(who)
            stage.finish(stage.begin(closed))
            with stopped(own_server):
                running = [stage.begin(who) for _ in range(10)]
                assert {each.admitted.slice for each in running} == {name}
                assert refusal(stage, closed).facts["emergency"] == "none"
                for each in running:
                    stage.finish(each)
            wait_until(lambda: not gateway.emergency.away)
            wait_until(lambda: len(parts(who, name)) == 10)
            wait_until(lambda: rig.tollbook.balance(closed.customer).held == 0)
            wait_until(lambda: name in released_of(who))
        assert rig.tollbook.balance(who.customer).held == 0
        charges = [each for each in facts(who) if isinstance(each, ReservationSettled)]
        assert len(charges) == 11
    assert_sound(own_server.super_url)
