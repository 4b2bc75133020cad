"""A gateway that is told to stop while the ledger has not answered: nothing stays held for long."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
from tollbook.errors import Unavailable

from adapters.redis.server import RedisServer
from adapters.triton.server import TritonServer
from application.answers import Answer
from application.jobs import Item
from domain.commands import Reserve
from entrypoints.gateway.allowance_opening import PREFIX as ALLOWANCE
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.running import Running
from entrypoints.http.submitting import Submitter
from tests.faults.gateway_process import GatewayProcess, document
from tests.gateway.allowances import quick, released_of, slices_of, unlimited, used
from tests.gateway.http_serving import HttpServed, http_serving, raw_request
from tests.gateway.http_serving import document as question
from tests.gateway.outages import ESTIMATE, asked, config, is_slice, staged
from tests.gateway.rig import METERS, Licensee, Rig, configured
from tests.support.databases import MASTER_KEY
from tests.support.redis import redis as redis  # noqa: PLC0414 - a fixture, by its name
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.support.triton import wait_until

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
STOPS = "the gateway stops"


class Ledger:
    """A ledger that takes nothing until it is let go."""

    def __init__(self, url: str) -> None:
        """Hold the head that each batch needs."""
        self._connection = psycopg.connect(url)
        self._connection.execute("SELECT * FROM ledger_head FOR UPDATE")
        self._url = url

    def is_waited_for(self) -> bool:
        """Say whether a batch waits."""
        with psycopg.connect(self._url) as other:
            row = other.execute(WAITING).fetchone()
        return row is not None and row[0] > 0

    def go_on(self) -> None:
        """Let everybody in."""
        self._connection.close()

    def go_on_in(self, seconds: float) -> None:
        """Let everybody in a little later."""
        threading.Timer(seconds, self.go_on).start()


@contextmanager
def busy(rig: Rig) -> Iterator[Ledger]:
    """Have the ledger take nothing."""
    ledger = Ledger(rig.database.owner_url)
    try:
        yield ledger
    finally:
        ledger.go_on()


def ask(client: socket.socket, who: Licensee) -> None:
    client.sendall(raw_request("/v2/models/textgen/infer", question(), who))


def learned(served: HttpServed, who: Licensee) -> None:
    """Have the gateway know a licence, so that nothing but the reservation is asked for."""
    served.rig.call(served.gateway.admission.opened(who.key))


def assert_given_back(who: Licensee) -> None:
    assert who.names() == ["reservation_held", "reservation_released"]
    assert who.rig.tollbook.balance(who.customer).held == 0


def test_what_is_held_for_a_client_that_left_goes_back_though_the_gateway_stops(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    with busy(rig) as ledger:
        with http_serving(rig, tmp_path, configured()) as served:
            learned(served, who)
            with served.socket() as client:
                ask(client, who)
                wait_until(ledger.is_waited_for)
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""  # the gateway has noticed
            ledger.go_on_in(2)
        assert_given_back(who)


@pytest.mark.timeout(120)
def test_a_process_that_is_told_to_stop_gives_back_what_the_ledger_holds_only_then(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
    config = document(pool=[pool], model=METERS)
    gateway = GatewayProcess(tmp_path, rig.database.owner_url, MASTER_KEY, config)
    gateway.start()
    try:
        host, _, port = gateway.found["http"].removeprefix("http://").rpartition(":")
        with busy(rig) as ledger:
            with socket.create_connection((host, int(port)), timeout=30) as client:
                ask(client, who)
                wait_until(ledger.is_waited_for)
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
            ledger.go_on_in(2)
            gateway.stop()
    finally:
        gateway.kill()
    assert_given_back(who)


def test_who_waits_for_the_ledger_counts_among_those_that_run_at_once(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()

    async def several(gateway: Gateway) -> list[asyncio.Task[Running]]:
        return [asyncio.create_task(gateway.admit(asked(who))) for _ in range(5)]

    async def all_of(tasks: list[asyncio.Task[Running]]) -> list[Running | BaseException]:
        return await asyncio.gather(*tasks, return_exceptions=True)

    with rig.gateway(tmp_path, configured(at_once=2)) as gateway, busy(rig) as ledger:
        rig.call(gateway.admission.opened(who.key))
        tasks = rig.call(several(gateway))
        wait_until(lambda: sum(task.done() for task in tasks) == 3)
        wait_until(ledger.is_waited_for)
        ledger.go_on()
        ends = rig.call(all_of(tasks))
        assert sorted(type(each).__name__ for each in ends) == ["Running"] * 2 + ["Unavailable"] * 3
        assert {each.code for each in ends if isinstance(each, Unavailable)} == {"overloaded"}
        for each in ends:
            if isinstance(each, Running):
                rig.now(partial(gateway.give_up, each, "it was only a try"))


def test_who_is_not_admitted_in_time_is_told_so_and_nothing_stays_held(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    with (
        busy(rig) as ledger,
        http_serving(rig, tmp_path, configured()) as served,
        served.socket() as client,
    ):
        learned(served, who)
        ask(client, who)
        wait_until(ledger.is_waited_for)
        ledger.go_on_in(4)  # long after everything is cancelled that does not end by itself
        rig.call(served.front.stop(0.1))
        head, _, body = client.recv(65_536).partition(b"\r\n\r\n")
        assert b" 503 " in head.splitlines()[0]
        assert STOPS in json.loads(body)["detail"]
    assert_given_back(who)


def test_who_waits_for_its_turn_when_the_gateway_stops_never_begins(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()

    async def begun(gateway: Gateway, running: Running) -> None:
        gateway.begin(running)

    with rig.gateway(tmp_path) as gateway:
        running = rig.call(gateway.admit(asked(who)))
        rig.call(gateway.leave())
        with pytest.raises(Unavailable, match=STOPS):
            rig.call(begun(gateway, running))
        with pytest.raises(Unavailable, match=STOPS):
            rig.call(gateway.admit(asked(who)))
    assert_given_back(who)


def test_what_runs_when_the_gateway_stops_is_charged_and_not_given_back(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    with staged(rig, tmp_path, configured()) as stage:
        running = stage.begin(who)
        rig.call(stage.gateway.leave())
        stage.finish(running)
    assert who.names() == ["reservation_held", "reservation_settled"]


def test_an_answer_that_comes_when_a_slice_has_paid_gives_its_hold_back_though_the_gateway_stops(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    with ExitStack() as later, staged(rig, tmp_path, config(4 * ESTIMATE, seconds=600)) as stage:
        stage.prepared(who)
        ledger = later.enter_context(busy(rig))
        running = rig.call(stage.gateway.admit(asked(who)))
        assert is_slice(str(running.admitted.slice))
        assert ledger.is_waited_for()
        ledger.go_on_in(6)  # by then nobody waits any more to give a slice back
    assert rig.tollbook.balance(who.customer).held == 0
    assert who.names().count("reservation_held") >= 3  # the slice, and two inferences


def test_an_allowance_that_is_just_being_set_aside_goes_back_when_the_gateway_stops(
    rig: Rig, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, held = unlimited(rig), threading.Event()
    submit = Submitter.submit

    async def slowly(
        self: Submitter, items: Sequence[Item], *, atomic: bool = False
    ) -> list[Answer]:
        answers = await submit(self, items, atomic=atomic)
        command = items[0].command
        if isinstance(command, Reserve) and command.id.startswith(ALLOWANCE):
            held.set()
            await asyncio.sleep(1)  # the ledger has it, and its answer is on its way
        return answers

    monkeypatch.setattr(Submitter, "submit", slowly)
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        used(who, [gateway], 200, enough=lambda _: held.is_set())
        assert held.is_set()
    assert slices_of(who)
    assert slices_of(who).keys() <= released_of(who)
