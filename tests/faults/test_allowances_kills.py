"""kill -9 of gateways, Redis and PostgreSQL under load from allowances.

What Triton's model says it did is compared with the ledger: all of it is charged once or parked.
"""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import pytest

from adapters.embedded_postgres.errors import ServerUnavailable
from adapters.redis.server import RedisServer
from adapters.triton.server import TritonServer
from domain.events import ReservationSettled
from domain.usage_events import UsageParked
from tests.faults.gateway_process import GatewayProcess, document
from tests.faults.invariants import assert_sound
from tests.faults.own_server import OwnServer
from tests.faults.rounds import rounds
from tests.faults.test_gateway_without_its_ledger import asked
from tests.gateway.allowances import assert_nothing_held, facts, parts_of, released_of, unlimited
from tests.gateway.model_accounts import accounts, used
from tests.gateway.rig import TEXT, Licensee, rig_on
from tests.support.databases import MASTER_KEY
from tests.support.redis import a_redis
from tests.support.sizes import in_full_or
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.support.triton import wait_until

MASSES = in_full_or(4, 6)
GATEWAYS = ("gateway-a", "gateway-b")
VICTIMS = {
    "by redis": (*GATEWAYS, "redis", "postgres"),
    "in process": (*GATEWAYS, "postgres"),
}
"""By what hands out places: what is killed."""
THREADS = 4
MORE_SECONDS = 120
METER = {"name": "textgen", **TEXT, "seconds": 2}


class Stage:
    """Two gateways on one ledger, and on one Redis or none, in front of one Triton."""

    def __init__(
        self, folder: Path, server: OwnServer, redis: RedisServer | None, triton: TritonServer
    ) -> None:
        """Start both."""
        self.server = server
        self.redis = redis
        self.gateways: dict[str, GatewayProcess] = {}
        pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
        for name in GATEWAYS:
            config = document(
                name=name,
                hold_seconds=10,
                trace_seconds=1,
                allowances={"seconds": 5, "in_process": redis is None},
                pool=[pool],
                model=[METER],
            )
            home = folder / name
            home.mkdir()
            made = GatewayProcess(home, server.parts.owner_url, MASTER_KEY, config)
            if redis is not None:
                made.options("--redis", redis.url)
            self.gateways[name] = made
            made.start()

    def kill(self, victim: str) -> None:
        """Kill something at once, and bring it back."""
        if victim == "redis":
            assert self.redis is not None
            self.redis.kill()
            self.redis.start()
        elif victim == "postgres":
            self.server.kill_everything()
            wait_until(self._revived)
        else:
            self.gateways[victim].kill()
            self.gateways[victim].start()

    def _revived(self) -> bool:
        """Revive PostgreSQL; a session that began in its last moment may be in the way at first."""
        try:
            self.server.revive()
        except ServerUnavailable:
            return False
        return True

    def draws(self) -> float:
        """Return how many inferences the gateways admitted from allowances since their starts."""
        told = [each.monitored("/metrics")[1] for each in self.gateways.values()]
        lines = [line for text in told for line in text.splitlines()]
        name = 'tollbook_gateway_allowance_draws_total{how="drawn"}'
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


class Load:
    """Clients that ask both gateways all the time, whatever happens to them."""

    def __init__(self, gateways: dict[str, GatewayProcess], who: Licensee) -> None:
        """Begin to ask."""
        self.served: list[str] = []
        self.told: Counter[str] = Counter()
        """What else clients were told lately."""
        self._who = who
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(each,))
            for each in gateways.values()
            for _ in range(THREADS)
        ]
        for each in self._threads:
            each.start()

    def _ask(self, gateway: GatewayProcess) -> None:
        while not self._is_over.is_set():
            try:
                address = gateway.found["http"].removeprefix("http://")
                answer = asked(address, self._who, "textgen")
            except (OSError, http.client.HTTPException) as error:
                self.told[type(error).__name__] += 1
                time.sleep(0.05)
                continue
            self.told[f"{answer.status} {answer.body[:120]!r}"] += answer.status != 200
            if answer.status == 200:
                self.served.append(answer.headers["tollbook-request-id"])

    def more(self, count: int) -> None:
        """Wait until so many more were served."""
        wanted, end = len(self.served) + count, time.monotonic() + MORE_SECONDS
        self.told.clear()
        while len(self.served) < wanted:
            assert time.monotonic() < end, f"it does not go on: {self.told}"
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask no more."""
        self._is_over.set()
        for each in self._threads:
            each.join()


@contextmanager
def staged(
    folder: Path, server: OwnServer, triton: TritonServer, who: Licensee, handed_out: str
) -> Iterator[tuple[Stage, Load]]:
    """Run everything; at the end clients have stopped, and gateways have told the ledger all."""
    with ExitStack() as stack:
        is_by_redis = "redis" in VICTIMS[handed_out]
        redis = stack.enter_context(a_redis(folder / "redis")) if is_by_redis else None
        stage = Stage(folder, server, redis, triton)
        for each in stage.gateways.values():
            stack.callback(each.kill)
        load = Load(stage.gateways, who)
        try:
            yield stage, load
        finally:
            load.stop()
        for name, each in stage.gateways.items():
            recovered(each, each.home.parent / name)


def recovered(gateway: GatewayProcess, home: Path) -> None:
    """Wait until what was before the last start is told, and stop; then nothing is left to tell."""
    wait_until(lambda: len(list(home.iterdir())) == 1)
    gateway.stop()
    assert list(home.iterdir()) == []


def given_back(who: Licensee) -> set[str]:
    """Return the slices that were charged in part and then released."""
    return released_of(who) & {each.reservation for each in parts_of(who)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("handed_out", VICTIMS)
def test_what_ran_is_charged_once_or_parked_whatever_is_killed(
    own_server: OwnServer, triton: TritonServer, tmp_path: Path, seed: int, handed_out: str
) -> None:
    chance = Random(f"{seed}-allowances")
    victims = VICTIMS[handed_out]
    assert triton.model_log is not None
    before = accounts(triton.model_log)
    with rig_on(own_server.parts) as rig:
        who = unlimited(rig)
        with staged(tmp_path, own_server, triton, who, handed_out) as (stage, load):
            load.more(100)
            wait_until(lambda: stage.draws() > 0)
            for number in rounds(MASSES):
                victim = victims[number] if number < len(victims) else chance.choice(victims)
                stage.kill(victim)
                load.more(chance.randint(20, 60))
                time.sleep(chance.uniform(0.0, 1.0))
            # One after another may have been killed before any slice came to its own end.
            wait_until(lambda: bool(given_back(who)))
        lines = accounts(triton.model_log)
        ran = {id: lines[id] for id in lines.keys() - before.keys()}
        settled = [
            (each.command, each.event)
            for each in who.events()
            if isinstance(each.event, ReservationSettled)
        ]
        charges = dict(settled)
        parked = {each.record for each in facts(who) if isinstance(each, UsageParked)}
        assert len(settled) == len(charges), "something is charged twice"
        assert charges.keys().isdisjoint(parked)
        assert charges.keys() | parked >= ran.keys(), "something ran for nothing"
        assert charges.keys() <= ran.keys(), "something is charged that never ran"
        assert set(load.served) <= charges.keys()
        assert {id: dict(each.usage) for id, each in charges.items()} == {
            id: used(ran[id]) for id in charges
        }
        assert_nothing_held(who)
    assert_sound(own_server.super_url)
