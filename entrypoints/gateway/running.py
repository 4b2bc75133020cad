"""An inference under way: what it has produced so far, and how long its hold stands."""

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from tollbook.times import format_instant

from application.usage_intake import SPEC_VERSION, TYPE
from domain import meters
from domain.command import Command
from domain.commands import parse
from domain.tensors import Tensors
from domain.units import Quantities, quantities_to_wire
from domain.values import SECOND
from entrypoints.gateway.admission import Admitted, Asked

REASON_MAX = 500
"""So many characters of a reason are kept."""


class Running:
    """One admitted inference; only the event loop's thread touches it."""

    __slots__ = (
        "_began",
        "_hash",
        "admitted",
        "ended",
        "expires_at",
        "extend_at",
        "extensions",
        "produced",
        "request",
        "request_hash",
        "unmetered",
    )

    def __init__(self, admitted: Admitted, asked: Asked) -> None:
        """Begin at the moment of the decision, by the ledger's clock."""
        self.admitted = admitted
        self.request = asked.request
        self.request_hash = asked.request_hash
        self.produced = meters.NOTHING
        self.unmetered: str | None = None
        """Why a message of the answer cannot be metered, once one was not."""
        self.expires_at = admitted.expires_at
        lasts = admitted.expires_at - admitted.decided_at
        self.extend_at = admitted.decided_at + lasts * 2 // 3
        """When its hold is to be extended: when two thirds of its time are over."""
        self.extensions = 0
        self.ended = False
        self._hash = hashlib.sha256()
        self._began = time.monotonic_ns()

    @property
    def id(self) -> str:
        """The id of the inference, its reservation and its usage record."""
        return self.admitted.id

    def now(self) -> int:
        """Return the ledger's time, as far as a clock that only runs forward can tell."""
        return self.admitted.decided_at + (time.monotonic_ns() - self._began) // 1000

    def outlives_slice(self, late: float) -> bool:
        """Say whether what pays for it may be gone when it ends, so many seconds late.

        Its own hold is extended while it runs; a slice is not.
        """
        ends = self.now() + int((self.admitted.meter.seconds + late) * SECOND)
        return self.admitted.slice is not None and ends > self.expires_at

    def message(self, outputs: Tensors, parameters: Mapping[str, Any]) -> None:
        """Count one message of the answer; whatever it does not tell is remembered."""
        try:
            self.produced = meters.added(
                self.admitted.meter, self.produced, outputs, parameters, self.id
            )
        except meters.UnmeteredError as error:
            self.unmetered = str(error)

    @property
    def has_produced(self) -> bool:
        """Whether a message with outputs has come, even if it cannot be metered."""
        return bool(self.produced.messages) or self.unmetered is not None

    def left(self, data: bytes) -> None:
        """Hash bytes of the answer on their way to the client."""
        self._hash.update(data)

    @property
    def response_hash(self) -> str:
        """The SHA-256, in hex, of what has left so far."""
        return self._hash.hexdigest()

    @property
    def sold_as(self) -> str:
        """The name under which it is charged."""
        return self.admitted.meter.priced_as

    def intent(self) -> dict[str, Any]:
        """Return what is written down before it goes to its server."""
        admitted = self.admitted
        paid_by = {} if admitted.slice is None else {"slice": admitted.slice}
        return {
            "at": self.now(),
            "customer": admitted.customer,
            "license": admitted.license,
            "meter": admitted.meter.name,
            "pool": admitted.pool.name,
            "request_hash": self.request_hash,
            **self.known(),
            **paid_by,
        }

    def known(self) -> dict[str, Any]:
        """Return what is known of its usage before its answer, for whoever may have to tell it."""
        meter = self.admitted.meter
        known = quantities_to_wire(meters.known_before(meter, self.request))
        return {"known": known, "model": meter.priced_as}

    def extended(self, seconds: int) -> None:
        """Take note that its hold stands for so long from now."""
        now = self.now()
        self.expires_at = now + seconds * SECOND
        self.extend_at = now + seconds * SECOND * 2 // 3

    def extending(self, seconds: int) -> list[Command]:
        """Return what extends its hold once more."""
        self.extensions += 1
        body = {"reservation": self.id, "ttl_seconds": seconds}
        return [parse("extend", {"id": f"{self.id}.{self.extensions}", **body})]

    def usage(self, device_time: int | None = None) -> Quantities:
        """Return what is charged; raises UnmeteredError where that cannot be told."""
        if self.unmetered is not None:
            raise meters.UnmeteredError(self.unmetered)
        return meters.usage(self.admitted.meter, self.request, self.produced, device_time)

    def release(self, reason: str) -> dict[str, Any]:
        """Return the outcome of an inference that costs nothing."""
        known: dict[str, Any] = {"release": cleaned(reason), "customer": self.admitted.customer}
        if self.admitted.slice is not None:
            lasted = (time.monotonic_ns() - self._began) // 1000
            began = time.time_ns() // 1000 - lasted
            known |= {"slice": self.admitted.slice, "model": self.sold_as, "began": began}
        return known

    def charge(self, source: str, device_time: int | None = None) -> dict[str, Any]:
        """Return the event that charges it; raises UnmeteredError where its usage is not told."""
        return self._event(self.usage(device_time), source)

    @property
    def pending(self) -> tuple[str, ...]:
        """The units that are counted later, where its usage waits for traces."""
        return ("gpu_seconds",)

    def timed(
        self,
        event: dict[str, Any],
        device_time: int | None,
        shares: Mapping[str, int],  # noqa: ARG002 - of an ensemble's steps, where these are stages
    ) -> dict[str, Any]:
        """Return its event with its device time; raises UnmeteredError where that is not told."""
        usage = quantities_to_wire(self.usage(device_time))
        return {**event, "data": {**event["data"], "usage": usage}}

    def charge_of_known(self, source: str) -> dict[str, Any]:
        """Return the event with what is known, for an answer that does not tell all.

        That is what the request told, and as much as was counted of the answer.
        """
        meter = self.admitted.meter
        known: Quantities = dict.fromkeys(meter.usage, 0)
        told = meters.known_before(meter, self.request)
        return self._event({**known, **told, **self.produced.counts}, source)

    def shown(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return the usage in its event as its client is told it."""
        usage: dict[str, Any] = event["data"]["usage"]
        return usage

    def _event(self, usage: Quantities, source: str) -> dict[str, Any]:
        """Return the CloudEvent of the usage record."""
        data = {
            "customer": self.admitted.customer,
            "model": self.admitted.meter.priced_as,
            "usage": quantities_to_wire(usage),
            "occurred_at": format_instant(self.now()),
            "request_hash": self.request_hash,
            "response_hash": self.response_hash,
        }
        return usage_event(source, self.id, data, self.admitted.slice)


def cleaned(reason: str) -> str:
    """Return a reason that any ledger takes: a server's words may hold what no text may."""
    return "".join(each if each.isprintable() else "\ufffd" for each in reason[:REASON_MAX])


def usage_event(
    source: str, id: str, data: dict[str, Any], paid_by: str | None = None
) -> dict[str, Any]:
    """Return the CloudEvent of the usage record of an inference, in part of a slice if one pays."""
    if paid_by is not None:
        data = {**data, "final": False}
    return {
        "specversion": SPEC_VERSION,
        "type": TYPE,
        "source": source,
        "id": id,
        "subject": id if paid_by is None else paid_by,
        "time": data["occurred_at"],
        "datacontenttype": "application/json",
        "data": data,
    }
