"""Whatever happens to Redis, in whatever order: no slice ever gives more places than it has.

A machine draws, closes, tallies, empties, kills and restores; beside each step stands what the
allowances of one memory say, which went through the same. What was drawn is counted by the test.
"""

import asyncio
import copy
import shutil
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from adapters.memory_allowances import LocalAllowances, LocalPlaces
from adapters.redis.allowances import RedisAllowances
from adapters.redis.errors import RedisUnavailable
from adapters.redis.server import RedisServer
from application.allowing import Allowances, Drawn, NoDraw
from tests.support.allowances import END, PATIENCE, a_slice
from tests.support.redis import a_redis, client_of
from tests.support.sizes import in_full_or

T = TypeVar("T")
GATEWAYS = ("one", "two", "three")
KEYS = st.sampled_from(["a", "b"])
NAMES = st.sampled_from(GATEWAYS)
BACK = st.integers(-6, -1)
"""A slice, counted from the newest."""
NOW = st.sampled_from([1, END - 1, END])


class Histories(RuleBasedStateMachine):
    """Three gateways, a Redis to which everything happens, and one memory."""

    server: RedisServer
    examples = 0

    def __init__(self) -> None:
        """Begin with nothing published."""
        super().__init__()
        type(self).examples += 1
        self.runner = asyncio.Runner()
        self.gateways = {name: self.opened(name) for name in GATEWAYS}
        self.memory = LocalPlaces()
        self.lost: set[str] = set()
        """Slices of an earlier run of the server, in the memory and in Redis."""
        self.saved: LocalPlaces | None = None
        self.old = self.server.folder / "old.rdb"
        self.places: dict[str, int] = {}
        self.drawn: Counter[str] = Counter()
        self.drew: defaultdict[str, set[str]] = defaultdict(set)
        self.told: defaultdict[str, set[str]] = defaultdict(set)
        self.closed: set[str] = set()

    def teardown(self) -> None:
        """Leave an empty server behind."""
        for each in self.gateways.values():
            self.runner.run(each.close())
        self.runner.close()
        with client_of(self.server) as client:
            client.flushall()
        self.server.snapshot.unlink(missing_ok=True)

    def opened(self, name: str) -> RedisAllowances:
        """Open a gateway."""
        ledger = f"ledger-{self.examples}"
        return RedisAllowances(self.server.url, ledger, name, timeout_seconds=PATIENCE)

    def both(self, name: str, act: Callable[[Allowances], Awaitable[T]]) -> tuple[T, T]:
        """Let a gateway do something, through Redis and in the memory."""

        async def done(allowances: Allowances) -> T:
            return await act(allowances)

        real = self.runner.run(done(self.gateways[name]))
        return real, self.runner.run(done(LocalAllowances(self.memory, name)))

    def named(self, back: int) -> str:
        """Return a slice that was published, or one that never is."""
        return f"slice-{max(0, len(self.places) + back)}"

    @rule(name=NAMES, key=KEYS, inferences=st.integers(1, 6))
    def publish(self, name: str, key: str, inferences: int) -> None:
        """Publish a new slice."""
        new = a_slice(f"slice-{len(self.places)}", inferences, terms=key)
        self.places[new.reservation] = inferences
        before = self.memory.current.get(key)
        self.both(name, lambda each: each.publish(key, new, 0))
        self.closed.update({before} if before else ())

    @rule(name=NAMES, key=KEYS, count=st.integers(1, 4), now=NOW)
    def draw(self, name: str, key: str, count: int, now: int) -> None:
        """Draw places."""
        current = self.memory.current.get(key, "")
        real, expected = self.both(name, lambda each: each.draw(key, count, now))
        assert real == (NoDraw("abandoned") if current in self.lost else expected)
        if isinstance(real, Drawn):
            assert real.reservation not in self.closed
            self.drawn[real.reservation] += real.count
            self.drew[real.reservation].add(name)
            assert self.drawn[real.reservation] <= self.places[real.reservation]

    @rule(name=NAMES, back=BACK)
    def close(self, name: str, back: int) -> None:
        """Close a slice, known or not."""
        reservation = self.named(back)
        if reservation in self.places:
            self.both(name, lambda each: each.close_slice(reservation))
            self.closed.add(reservation)

    @rule(name=NAMES, back=BACK)
    def tally(self, name: str, back: int) -> None:
        """Say that everything is told."""
        reservation = self.named(back)
        real, expected = self.both(name, lambda each: each.tally(reservation))
        assert real == (expected and reservation not in self.lost)
        if real:
            self.told[reservation].add(name)

    @rule(name=NAMES, back=BACK)
    def ask(self, name: str, back: int) -> None:
        """Ask whether everybody has told."""
        reservation = self.named(back)
        real, expected = self.both(name, lambda each: each.is_tallied(reservation))
        assert real == (expected and reservation not in self.lost)
        if real:
            assert reservation in self.closed
            assert self.drew[reservation] <= self.told[reservation]

    @rule(name=NAMES, back=BACK)
    def read(self, name: str, back: int) -> None:
        """Read the terms of a slice."""
        real, expected = self.both(name, lambda each: each.terms(self.named(back)))
        assert real == expected

    @rule(name=NAMES, back=BACK)
    def forget(self, name: str, back: int) -> None:
        """Forget a slice."""
        self.both(name, lambda each: each.forget(self.named(back)))

    @rule(name=NAMES)
    def restart_a_gateway(self, name: str) -> None:
        """End a gateway without a word, and start it again."""
        self.runner.run(self.gateways[name].close())
        self.gateways[name] = self.opened(name)

    @rule()
    def flush(self) -> None:
        """Empty Redis."""
        with client_of(self.server) as client:
            client.flushall()
            client.script_flush()
        self.memory, self.lost = LocalPlaces(), set()

    @rule()
    def save(self) -> None:
        """Take a snapshot."""
        with client_of(self.server) as client:
            client.save()
        shutil.copy(self.server.snapshot, self.old)
        self.saved = copy.deepcopy(self.memory)

    @rule()
    def restart_empty(self) -> None:
        """Kill Redis, which then knows nothing."""
        self.server.kill()
        self.server.snapshot.unlink(missing_ok=True)
        self.memory, self.lost = LocalPlaces(), set()
        self.started()

    @rule(orderly=st.booleans())
    def restart_from_a_snapshot(self, orderly: bool) -> None:
        """Start Redis again with what it knew last, or at some time before."""
        if orderly:
            self.server.stop()
        elif self.saved is None:
            return
        else:
            self.server.kill()
            shutil.copy(self.old, self.server.snapshot)
            self.memory = copy.deepcopy(self.saved)
        self.lost = set(self.memory.slices)
        self.started()

    def started(self) -> None:
        """Start Redis and wait until each gateway has reached it."""
        self.server.start()
        for each in self.gateways.values():
            for _ in range(20):
                try:
                    self.runner.run(each.terms("unknown"))
                    break
                except RedisUnavailable:
                    continue


def test_no_slice_gives_more_places_than_it_has_whatever_happens(tmp_path: Path) -> None:
    with a_redis(tmp_path / "redis", keeps="snapshots") as server:
        Histories.server = server
        run_state_machine_as_test(
            Histories,
            settings=settings(
                max_examples=in_full_or(8, 20),
                stateful_step_count=40,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
