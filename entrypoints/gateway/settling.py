"""Settling: what became of inferences, told to the ledger in batches, behind the client's back.

Each outcome has the inference's id, so that telling it again changes nothing. What cannot be told
now is told later, by this process or from its intent log by the next.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from operator import itemgetter
from typing import Any, Protocol

from tollbook.errors import TollbookError, Unavailable, Unknown

from application.answers import Answer
from application.usage_intake import charge_of
from domain.command import Command
from domain.commands import ChargeUsage, parse
from entrypoints.http.submitting import Submitter
from streams import wire
from streams.runs import TYPES, Told

logger = logging.getLogger("tollbook.gateway")

BATCH = 256
LINGER_SECONDS = 0.02
"""So long outcomes are gathered: each commit holds up the inferences that are admitted."""
LINGERS = 5
"""So many times as long, where all of them are parts of slices: no hold waits for those."""

_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds between tries while the ledger does not answer."""

Outcome = dict[str, Any]
"""`{"event": CloudEvent}`, with `"park": reason` where it is not to be charged; or
`{"release": reason, "customer": whose}`, with `"slice"` where no hold of its own is given back, and
then with its `"model"` and when it `"began"` by the gateway's clock, if it had begun; and with
`"pipeline"` where those of a run through one are."""


def told_of(id: str, outcome: Outcome) -> list[Told]:
    """Return what the ledger is told of an outcome, all of it at once."""
    if "pipeline" in outcome or outcome.get("event", {}).get("type") in TYPES:
        return wire.told_by(wire.event_of(id, outcome, "gateway"))
    return [Told(command_of(id, outcome))]


def command_of(id: str, outcome: Outcome) -> Command:
    """Return the command that tells the ledger an outcome of a model."""
    if "release" in outcome:
        return parse("release", {"id": id, "reservation": id, "reason": outcome["release"][:500]})
    event = outcome["event"]
    body = {
        **event["data"],
        "id": event["id"],
        "source": event["source"],
        "reservation": event["subject"],
    }
    if "park" in outcome:
        return parse("park_usage", {**body, "reason": outcome["park"][:500]})
    return charge_of(body)


def ended_as(outcome: Outcome) -> str:
    """Return in which way an outcome ends an inference."""
    if "release" in outcome:
        return "released"
    return "parked" if "park" in outcome else "charged"


class Teller(Protocol):
    """Tells what became of inferences: the ledger itself, or Kafka."""

    @property
    def told(self) -> int:
        """How many outcomes were taken."""

    @property
    def stuck(self) -> int:
        """How many never will be: they stay in the intent log."""

    @property
    def backlog(self) -> int:
        """How many outcomes wait."""

    def waits_seconds(self) -> float:
        """Say for how long the oldest outcome waits, where inferences are admitted meanwhile.

        Beyond the time of its hold the money of what ran could be held again.
        """

    def tell(self, id: str, outcome: Outcome) -> None:
        """Queue an outcome that stands in the intent log already."""

    async def run(self) -> None:
        """Tell outcomes until cancelled."""

    async def drain(self, seconds: float) -> None:
        """Wait until everything is told, or the time is over."""


class Log(Protocol):
    """Where outcomes stand that the ledger has not been told."""

    def told(self, id: str) -> None:
        """Forget an inference whose end the ledger knows."""


Tellers = Callable[[Log], Teller]


class Settler:
    """Tells outcomes, in the order in which they came, many in one transaction.

    There, those of one slice stand side by side, so that the ledger keeps them as few events.
    """

    def __init__(self, submitter: Submitter, log: Log, actor: str, many: int = BATCH) -> None:
        """Begin when `run` does; outcomes that come before wait.

        So many at once, or a batch of them, do not wait for more to come.
        """
        self._submitter = submitter
        self._log = log
        self._actor = actor
        self._many = min(many, BATCH)
        self._waiting: deque[tuple[str, list[Told]]] = deque()
        self._under_way = 0
        self._is_awaited = False
        """Whether somebody waits for an outcome: its own hold, or who drains."""
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.told = 0
        """How many outcomes the ledger knows."""
        self.stuck = 0
        """How many it would not take: they stay in the intent log."""

    @property
    def backlog(self) -> int:
        """How many outcomes wait for the ledger."""
        return len(self._waiting) + self._under_way

    def waits_seconds(self) -> float:
        """Say nothing: while the ledger takes nothing it admits nothing either.

        What was set aside before is held for longer than it serves.
        """
        return 0.0

    def tell(self, id: str, outcome: Outcome) -> None:
        """Queue an outcome that stands in the intent log already."""
        if "release" in outcome and "slice" in outcome:
            self.told += 1  # the ledger never knew of it, and holds nothing for it alone
            self._log.told(id)
            return
        try:
            told = told_of(id, outcome)
        except TollbookError as error:
            self._keep(id, error)
            return
        self._waiting.append((id, told))
        self._is_awaited = self._is_awaited or _slice_of(told) is None
        self._idle.clear()
        self._more.set()

    async def run(self) -> None:
        """Tell outcomes until cancelled."""
        while True:
            await self._more.wait()
            await self._gather()
            await self._tell_some()
            if not self._waiting:
                self._more.clear()
                self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Wait until everything is told, or the time is over; `run` has to go on meanwhile."""
        self._is_awaited = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    async def _gather(self) -> None:
        """Let more outcomes come, the longer the less anybody waits for those that came."""
        for _ in range(LINGERS):
            if len(self._waiting) >= self._many:
                return
            await asyncio.sleep(LINGER_SECONDS)
            if self._is_awaited:
                return

    async def _tell_some(self) -> None:
        some = self._next()
        self._under_way = len(some)
        tries = 0
        while some:
            items = [each.item(self._actor) for _, told in some for each in told]
            try:
                answers = await self._submitter.submit(items)
            except (Unavailable, Unknown) as error:
                answers = [Answer(item.command.id, None, error=error.kept()) for item in items]
            given = iter(answers)
            some = [
                each for each in some if not self._is_told(each[0], [next(given) for _ in each[1]])
            ]
            self._under_way = len(some)
            if some:
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1

    def _next(self) -> list[tuple[str, list[Told]]]:
        """Take what is told in one transaction: a run through a pipeline counts as its stages."""
        some: list[tuple[str, list[Told]]] = []
        weight = 0
        while self._waiting and weight < BATCH:
            some.append(self._waiting.popleft())
            weight += sum(each.command.WEIGHT for each in some[-1][1])
        self._is_awaited = self._is_awaited and bool(self._waiting)
        return _side_by_side(some)

    def _is_told(self, id: str, answers: list[Answer]) -> bool:
        """Take the answers to one outcome; False where the ledger has to be told again."""
        errors = [each.error for each in answers if each.recorded is None and each.error]
        if any(isinstance(each, Unavailable | Unknown) for each in errors):
            return False
        if errors:
            self._keep(id, errors[0])
            return True
        # A release that is refused found the hold over: that is as good.
        self.told += 1
        self._log.told(id)
        return True

    def _keep(self, id: str, error: TollbookError) -> None:
        self.stuck += 1
        logger.error("the ledger does not take the outcome of %s: %s", id, error)


def _slice_of(told: list[Told]) -> str | None:
    """Return the slice that an outcome is charged to in part; None where it has its own hold."""
    command = told[0].command
    if isinstance(command, ChargeUsage) and command.final is False:
        return command.reservation
    return None


def _side_by_side(some: list[tuple[str, list[Told]]]) -> list[tuple[str, list[Told]]]:
    """Return outcomes so that those of one slice follow each other, in the order they came."""
    places: dict[str, int] = {}
    order = [places.setdefault(_slice_of(told) or id, len(places)) for id, told in some]
    if len(places) in {1, len(some)}:
        return some
    return [each for _, each in sorted(zip(order, some, strict=True), key=itemgetter(0))]
