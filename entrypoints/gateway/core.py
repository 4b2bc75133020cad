"""The gateway's core: the life of an inference from its admission to its settlement.

Both protocols go through it, so that what is held, metered, written down and charged is the same.
Once an inference went to a server it ends here exactly once: charged, released, or parked.
"""

import asyncio
import json
import logging
from collections import Counter
from typing import Any

from tollbook import receipt
from tollbook.errors import TollbookError, Unavailable, Unknown
from tollbook.tokens import SigningKey

from adapters.intent_log import IntentLog
from adapters.places import Places
from domain import meter_asks, meters
from entrypoints.gateway.admission import Admitted, Asked
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.emergency import Emergency
from entrypoints.gateway.leaving import Leaving
from entrypoints.gateway.pipeline_admission import PipelineAdmission
from entrypoints.gateway.pipeline_running import running_of
from entrypoints.gateway.running import Running, cleaned
from entrypoints.gateway.settling import Outcome, Teller, Tellers, ended_as
from entrypoints.gateway.tracing import Traces
from entrypoints.http.submitting import Submitter

logger = logging.getLogger("tollbook.gateway")

REQUEST_ID, USAGE = "tollbook-request-id", "tollbook-usage"
REMAINING, RECEIPT = "tollbook-remaining", "tollbook-receipt"
EMERGENCY = "tollbook-emergency"

LATE_SHARE = 3 / 4
"""Of `hold_seconds`, what a slice stands for after the longest inference: somebody may take its
last message slowly, and its outcome waits to be told. The rest is for waiting for its turn."""

_LEAVES = "the gateway stops: nothing was run, try another or later"

Headers = dict[str, str]
_encoded = json.JSONEncoder(separators=(",", ":")).encode


class Gateway:
    """Admits, follows and ends inferences; every method runs in the event loop's thread."""

    def __init__(
        self,
        config: GatewayConfig,
        emergency: Emergency,
        submitter: Submitter,
        settler: Teller,
        log: IntentLog,
        traces: Traces,
        key: SigningKey,
        teller_for: Tellers,
    ) -> None:
        """Put the parts together; `teller_for` makes others like the settler, for other logs."""
        self.config = config
        self.admission = emergency.admission
        self.emergency = emergency
        self._pipelines = PipelineAdmission(config, emergency.admission)
        self.running: dict[str, Running] = {}
        self._submitter = submitter
        self._settler = settler
        self.teller_for = teller_for
        self._log = log
        self._traces = traces
        self._key = key
        self._source = config.source
        self._leaving = Leaving()
        self.places = Places(config.connections)
        """Those of clients' connections, over both protocols."""
        self.refused: Counter[str] = Counter()
        """By code, how many inferences were refused."""
        self.ended: Counter[str] = Counter()
        """How many were charged, released and parked."""

    async def admit(self, asked: Asked) -> Running:
        """Hold the money for an inference; raises the refusal, before any server has work."""
        try:
            with self._leaving:
                running = running_of(await self._admitted(asked), asked)
            self.running[running.id] = running
            if self._leaving.has_begun:
                self.give_up(running, "the gateway stopped before it began")
                raise Unavailable(_LEAVES)
        except TollbookError as error:
            self.refused[error.code] += 1
            raise
        return running

    async def _admitted(self, asked: Asked) -> Admitted:
        if self._leaving.has_begun:
            raise Unavailable(_LEAVES)
        # Who is admitted is on its way to a server, this one among them.
        if len(self.running) + self._leaving.waiting > self.config.at_once:
            raise Unavailable("too many inferences are under way: try later", code="overloaded")
        late = self._settler.waits_seconds() > self.config.hold_seconds / 2
        if late or self._settler.backlog >= self.config.unsettled:
            raise Unavailable("too many settlements wait: try later", code="overloaded")
        meter = self.admission.meter(asked.model)
        meter_asks.check(meter, asked.request.inputs)
        admission = self._pipelines if meter.pipeline is not None else self.emergency
        try:
            return await admission.admit(asked)
        except Unknown as error:
            # A hold that stands after all gives its money back when its time is over.
            told = "the ledger did not answer in time: nothing was run, try later"
            raise Unavailable(told) from error

    @property
    def settler(self) -> Teller:
        """What tells the ledger."""
        return self._settler

    @property
    def submitter(self) -> Submitter:
        """What carries commands to the ledger."""
        return self._submitter

    def set_nothing_aside(self) -> None:
        """Prepare for no inference any more that nobody has asked for: the gateway will stop."""
        self.emergency.leave()

    async def leave(self) -> None:
        """Have nothing begin any more, and give back what is held for who has not begun.

        Who waits for the ledger's answer is waited for, as long as that may take; what runs, runs.
        """
        self.set_nothing_aside()
        self._leaving.begin()
        for running in tuple(self.running.values()):
            if not self._log.is_open(running.id):
                self.give_up(running, "the gateway stopped before it began")
        await self._leaving.end(lambda: self.emergency.late)

    def begin(self, running: Running) -> None:
        """Write down that an inference goes to its server now; raises Unavailable, and releases."""
        if running.ended:  # nothing is held for it any more
            raise Unavailable(_LEAVES)
        if running.outlives_slice(self.config.hold_seconds * LATE_SHARE):
            self.give_up(running, "the gateway could not begin it in time")
            raise Unavailable("it waited too long for its turn: nothing was run, try later")
        try:
            self._log.begin(running.id, running.intent())
        except Unavailable:
            self.give_up(running, "the gateway could not write down what it was about to do")
            raise
        self._traces.expect(running.id, running.admitted.pool.name)

    def give_up(self, running: Running, reason: str) -> None:
        """Release the hold of an inference that never went to its server."""
        if not self._over(running):
            return
        outcome = running.release(reason)
        if self._log.is_open(running.id):
            self._end(running, outcome)
        else:
            self.ended["released"] += 1
            self.emergency.ended(running, outcome)
            self._settler.tell(running.id, outcome)

    def finish(self, running: Running) -> Headers:
        """End an inference whose answer is whole, or was cut by its client; return what to say.

        The outcome is written down before this returns: only then may the last byte leave.
        """
        if not self._over(running):
            return {}
        waits = meters.waits_for_traces(running.admitted.meter) and not running.produced.cached
        try:
            event = running.charge(self._source, 0 if waits else None)
        except Exception as error:  # noqa: BLE001 - whatever it is, its work was done
            self._park(running, f"the answer cannot be metered: {error}")
            return {REQUEST_ID: running.id}
        if waits:
            self._end(running, {"event": event, "traces": True}, tell=False)
            self._traces.when_known(running.id, lambda time: self._traced(running, event, time))
        else:
            self._end(running, {"event": event})
        return self._headers(running, running.shown(event), waits=waits)

    def failed(self, running: Running, reason: str) -> None:
        """Release the hold of an inference that its server refused or failed.

        A stream that had produced something before is charged for that.
        """
        if running.has_produced:
            self.finish(running)
        elif self._over(running):
            self._end(running, running.release(f"the server failed it: {reason}"))

    def cut(self, running: Running) -> None:
        """End a stream that its client left and that was stopped: it pays for what came of it."""
        if running.has_produced:
            self.finish(running)
        elif self._over(running):
            self._end(running, running.release("its client left before anything was produced"))

    def lost(self, running: Running, reason: str) -> None:
        """Park an inference whose outcome is not known; what a stream has produced is charged."""
        if running.has_produced:
            self.finish(running)
        elif self._over(running):
            self._traces.outcome(running.id, lambda found: self._resolved(running, reason, found))

    def broken_off(self, running: Running, error: BaseException) -> None:
        """End an inference that was left by an error which nobody foresaw, or by our stop."""
        is_stop = isinstance(error, asyncio.CancelledError)
        told = f"{type(error).__name__}: {error}"
        if self._log.is_open(running.id):
            why = "the gateway was stopped" if is_stop else f"the gateway failed with it: {told}"
            self.lost(running, why)
        elif is_stop:
            self.give_up(running, "the gateway stopped before it began")
        else:
            self.give_up(running, f"the gateway could not send it: {told}")

    def _traced(self, running: Running, event: dict[str, Any], time: int | None) -> None:
        """Complete a record by its device time, or park it without."""
        try:
            timed = running.timed(event, time, self._traces.shares(running.id))
        except meters.UnmeteredError as error:
            self._end(running, {"event": event, "park": cleaned(str(error))})
            return
        self._end(running, {"event": timed})

    def _resolved(self, running: Running, reason: str, ran: bool | None) -> None:
        """End an inference by what the traces tell of it: it never ran, it did, or nobody knows."""
        if ran is False:
            self._end(running, running.release(f"the server never ran it: {reason}"))
        else:
            told = "the server ran it" if ran else "nobody knows whether the server ran it"
            self._park_now(running, f"{told}, and its answer was lost: {reason}")

    def _park(self, running: Running, reason: str) -> None:
        logger.error("%s is parked: %s", running.id, reason)
        self._park_now(running, reason)

    def _park_now(self, running: Running, reason: str) -> None:
        event = running.charge_of_known(self._source)
        self._end(running, {"event": event, "park": cleaned(reason)})

    def _over(self, running: Running) -> bool:
        """Take an inference off the list; False where it was ended before."""
        if running.ended:
            return False
        running.ended = True
        self.running.pop(running.id, None)
        return True

    def _end(self, running: Running, outcome: Outcome, *, tell: bool = True) -> None:
        try:
            self._log.end(running.id, outcome)
        except Unavailable as error:
            # The ledger is told all the same; if this process dies before, its traces are asked.
            logger.warning("the outcome of %s is not written down: %s", running.id, error)
        if tell:
            self.ended[ended_as(outcome)] += 1
            self.emergency.ended(running, outcome)
            self._settler.tell(running.id, outcome)
            self._traces.forget(running.id)

    def _headers(self, running: Running, usage: dict[str, Any], *, waits: bool) -> Headers:
        """Return what an answer says about itself beside itself."""
        pending = running.pending if waits else ()
        told = {unit: quantity for unit, quantity in usage.items() if unit not in pending}
        admitted = running.admitted
        made = receipt.Receipt(
            request=running.id,
            customer=admitted.customer,
            license=admitted.license,
            model=running.sold_as,
            usage=told,
            pending=pending,
            request_hash=running.request_hash,
            response_hash=running.response_hash,
            gateway=self.config.name,
            issued_at=running.now(),
        )
        return {
            **self.first_headers(running),
            USAGE: _encoded(told),
            RECEIPT: receipt.sign(made, self._key),
        }

    def first_headers(self, running: Running) -> Headers:
        """Return what is known before the answer: the inference's id, and what limits leave."""
        admitted = running.admitted
        left = admitted.remaining
        known = {REQUEST_ID: running.id, REMAINING: _encoded(left) if left else "[]"}
        is_emergency = admitted.is_emergency and admitted.slice is not None
        return {**known, EMERGENCY: str(admitted.slice)} if is_emergency else known
