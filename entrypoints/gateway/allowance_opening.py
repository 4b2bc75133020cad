"""Opening: setting a slice aside for inferences to come, behind their backs.

It is an ordinary reservation, for several inferences: licence, limits, caps, blocks and the floor
guard it. Only then are its places handed out.
"""

import asyncio
import json
import logging
import time
from typing import Any

from tollbook.client.ids import new_id
from tollbook.errors import Refused, TollbookError

from adapters.redis.errors import RedisUnavailable
from application.allowing import Slice
from application.jobs import Item
from application.license_tokens import license_at
from domain.command import Command
from domain.commands import parse
from domain.holds import TTL_MAX_SECONDS
from domain.slicing import is_served
from domain.units import quantities_to_wire
from entrypoints.gateway.admission import Admission
from entrypoints.gateway.allowance_demand import Demand
from entrypoints.gateway.allowance_link import Link
from entrypoints.gateway.allowance_slices import EARLY, Held, Holding, Terms, terms_at, written
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.following import Following
from entrypoints.http.readers import Reader

logger = logging.getLogger("tollbook.gateway")

PREFIX = "allowance"


class Opener:
    """Sets slices aside, one at a time for each question."""

    def __init__(
        self,
        config: GatewayConfig,
        admission: Admission,
        following: Following,
        link: Link,
        holding: Holding,
    ) -> None:
        """Keep what is set aside among what this gateway holds."""
        self._config = config
        self._actor = admission.actor
        self._pools = admission.pools
        self._submitter = admission.submitter
        self._readers = admission.readers
        self._following = following
        self._link = link
        self._holding = holding
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_leaving = False
        """Whether the gateway stops: then nothing is set aside any more."""

    def want(self, demand: Demand) -> None:
        """Set a slice aside in the background, if one is due and everything answers."""
        now = time.monotonic()
        if (
            self.is_leaving
            or not self._following.is_heard()
            or not demand.is_due(now, self._following.latest())
        ):
            return
        if self._link.is_paused() or self._link.forgot.is_on(now):
            return
        demand.is_opening = True
        task = asyncio.create_task(self._open(demand))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait until nothing is being set aside any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def longest(self, model: str) -> int:
        """Return for how many seconds an inference of a model may run here."""
        return max(each.seconds for each in self._config.model if each.priced_as == model)

    def draw_seconds(self, model: str) -> int:
        """Return for how long a slice is drawn from, so that its hold is not too long."""
        longest = self.longest(model) + self._config.hold_seconds
        return min(self._config.allowances.seconds, TTL_MAX_SECONDS - longest)

    def question(self, demand: Demand) -> dict[str, Any]:
        """Return the fields of a reservation that are the question."""
        opened, facts = demand.question.opened, json.loads(demand.question.facts)
        body = {
            "customer": opened.customer,
            "model": demand.meter.priced_as,
            "license": opened.license,
            "license_key": opened.key_hash,
        }
        return {**body, "facts": facts} if facts else body

    def held(self, terms: Terms, *, mine: bool) -> Held:
        """Return a slice as this gateway draws from it."""
        model = terms.held.model
        longest = self.longest(model) + self._config.hold_seconds
        return Held(terms, self.draw_seconds(model), longest, mine=mine)

    async def _open(self, demand: Demand) -> None:
        try:
            await self._reserve(demand)
        except TollbookError as error:
            logger.warning("nothing is set aside: %s", error)
            demand.refused.begin(time.monotonic())
        except Exception:
            logger.exception("setting aside failed")
            demand.refused.begin(time.monotonic())
        finally:
            demand.is_opening = False

    async def _reserve(self, demand: Demand) -> None:
        """Hold the money, and hand out its places; raises where the ledger does not answer."""
        license, model = demand.question.opened.license, demand.meter.priced_as
        if self.draw_seconds(model) < 1 or not await self._readers.read(_served, license, model):
            demand.refused.begin(time.monotonic())
            return
        if self.is_leaving:
            return
        most = self._config.allowances.inferences
        count = demand.places(most, time.monotonic())
        command = self._command(demand, count)
        (answer,) = await self._submitter.submit((Item(command, self._actor),))
        problem = answer.problem()
        if isinstance(problem, Refused):
            self._holding.ends["refused"] += 1
            demand.was_refused(count, time.monotonic())
            return
        if problem is not None:
            raise problem
        assert answer.recorded is not None
        try:
            terms = await self._readers.read(terms_at, answer.recorded.position, answer.id)
            assert terms is not None
        except BaseException:
            await self._release(answer.id)
            raise
        held = self.held(terms, mine=True)
        is_short = held.until - self._following.latest() < EARLY
        if is_short or terms.pool not in self._pools:
            await self._release(answer.id)
            demand.refused.begin(time.monotonic())
            return
        demand.was_granted(most)
        await self._publish(demand, held)

    def _command(self, demand: Demand, count: int) -> Command:
        model = demand.meter.priced_as
        ttl = self.draw_seconds(model) + self.longest(model) + self._config.hold_seconds
        body = {
            "id": new_id(PREFIX),
            **self.question(demand),
            "estimate": quantities_to_wire(demand.envelope()),
            "inferences": count,
            "ttl_seconds": ttl,
        }
        return parse("reserve", body)

    async def _publish(self, demand: Demand, held: Held) -> None:
        """Have the places handed out; where the answer is lost, somebody may draw them."""
        try:
            self._holding.set_aside(held)
        except TollbookError:
            await self._release(held.reservation)
            raise
        text = written(held.terms.position)
        new = Slice(held.reservation, held.places, held.until, text)
        now = self._following.latest()
        try:
            await self._link.ask(lambda allowances: allowances.publish(demand.digest, new, now))
        except RedisUnavailable:
            held.leave()
            return
        before, demand.current = demand.current, held
        demand.ask_at = 0.0
        if before is not None:
            before.leave()

    async def _release(self, reservation: str) -> None:
        """Give back what nobody can have drawn from."""
        body = {"id": reservation, "reservation": reservation, "reason": "of no use"}
        await self._submitter.submit((Item(parse("release", body), self._actor),))


def _served(reader: Reader, license: str, model: str) -> bool:
    return is_served(license_at(reader.store, license, reader.store.head().position), model)
