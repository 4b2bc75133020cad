"""Admission: who may have an inference run, decided and paid for before it goes to a server."""

from typing import Any, NamedTuple

from tollbook.client.ids import new_id
from tollbook.errors import Invalid, NotFound, TollbookError, Unavailable

from application.answers import Answer
from application.jobs import Item
from application.license_desk import LicenseDesk, NotAtHandError
from application.license_tokens import license_at
from application.ports import EventStore
from application.trying import tried
from domain import meters
from domain.admission import facts_asked
from domain.commands import parse
from domain.meters_format import Meter
from domain.units import quantities_to_wire
from entrypoints.gateway.config import GatewayConfig, Pool
from entrypoints.http.readers import Reader, Readers
from entrypoints.http.submitting import Submitter

LICENSES_MAX = 100_000
PREFIX = "inf"


class Asked(NamedTuple):
    """One inference as a client asks for it."""

    model: str
    license_key: str
    request: meters.Request
    request_hash: str
    """SHA-256 in hex of the bytes that came."""
    address: str | None = None
    """Where it came from, as far as the gateway sees."""
    facts: dict[str, Any] | None = None
    """What the client declares of itself, as it travels."""


class Admitted(NamedTuple):
    """An inference whose money is held."""

    id: str
    customer: str
    license: str
    meter: Meter
    pool: Pool
    priority: int
    decided_at: int
    """When the ledger decided, by its own clock; microseconds since 1970."""
    answer: dict[str, Any]
    """What the ledger answered, the policy's terms included."""


class Admission:
    """Admits inferences by one command each: licence, limits and money together."""

    def __init__(
        self, config: GatewayConfig, desk: LicenseDesk, submitter: Submitter, readers: Readers
    ) -> None:
        """Use the executor of this process, and readers for what is not at hand."""
        self._config = config
        self._desk = desk
        self._submitter = submitter
        self._readers = readers
        self._pools = {name: pool for pool in config.pool for name in (pool.name, *pool.also)}
        self._asks: dict[str, frozenset[str]] = {}
        """By licence, the facts without which it admits nothing."""
        self.actor = f"gateway:{config.name}"

    def meter(self, model: str) -> Meter:
        """Return the meter of a model; raises NotFound for one that is not offered here."""
        found = self._config.meter(model)
        if found is None:
            raise NotFound(
                f"there is no model {model[:100]} here", field="model", value=model[:100]
            )
        return found

    async def ledger_answers(self) -> None:
        """Return when the ledger answers; raises Unavailable when it does not."""
        await self._readers.read(lambda reader: reader.store.head())

    async def admit(self, asked: Asked) -> Admitted:
        """Decide and hold; raises the refusal, or whatever else stands in the way."""
        meter = self.meter(asked.model)
        held = meters.estimate(meter, asked.request)
        license = await self._license(asked.license_key)
        body = {
            "model": meter.priced_as,
            "estimate": quantities_to_wire(held),
            "ttl_seconds": self._config.hold_seconds,
            "license_key": asked.license_key,
            "license": license,
            "customer": self._desk.owner(license, None),
            "request_hash": asked.request_hash,
        }
        answer, added = await self._reserved(body, self._facts(license, asked))
        problem = answer.problem()
        if problem is not None and problem.facts.get("absent") is True:
            # What the licence asks for may have changed since this gateway looked.
            before = self._asks.pop(license, None)
            await self._learn(license)
            if self._asks.get(license) != before:
                answer, added = await self._reserved(body, self._facts(license, asked))
                problem = answer.problem()
        if problem is not None:
            raise problem
        assert answer.recorded is not None
        return Admitted(
            answer.id,
            str(body["customer"]),
            license,
            meter,
            await self._pool(answer, str(added["pool"])),
            int(added["priority"]),
            answer.recorded.recorded_at,
            {**answer.result(), **added},
        )

    async def allowed(self, model: str, license_key: str) -> Meter:
        """Return the meter of a model that a licence may use; nothing is recorded or counted."""
        meter = self.meter(model)
        license = await self._license(license_key)
        asked = Asked(model, license_key, meters.Request({}, {}), "")
        body = {
            "id": new_id(PREFIX),
            "license": license,
            "model": meter.priced_as,
            "license_key": license_key,
            "facts": self._facts(license, asked),
        }

        def look(reader: Reader) -> Answer:
            prepared = self._desk.prepare("validate_license", body, reader.store)
            command = parse("validate_license", prepared.body)
            return tried(reader.store, command, reader.ledger.now())

        problem = (await self._readers.read(look)).problem()
        if problem is not None:
            raise problem
        return meter

    async def known(self, license_key: str) -> None:
        """Raise the refusal of a key that opens no licence: its bodies need not be read."""
        await self._license(license_key)

    async def ready(self) -> bool:
        """Say whether the ledger answers."""
        try:
            await self._readers.read(lambda reader: reader.store.head())
        except TollbookError:
            return False
        return True

    async def _license(self, key: str) -> str:
        """Return the licence that a key opens, and learn what it asks for."""
        body = {"license_key": key}

        def prepare(store: EventStore | None) -> str:
            license = str(self._desk.prepare("reserve", body, store).body["license"])
            self._desk.owner(license, store)
            return license

        try:
            license = prepare(None)
        except NotAtHandError:
            license = await self._readers.read(lambda reader: prepare(reader.store))
        if license not in self._asks:
            await self._learn(license)
        return license

    async def _learn(self, license: str) -> None:
        def look(reader: Reader) -> frozenset[str]:
            return facts_asked(license_at(reader.store, license, reader.store.head().position))

        if len(self._asks) >= LICENSES_MAX:
            self._asks.clear()
        self._asks[license] = await self._readers.read(look)

    def _facts(self, license: str, asked: Asked) -> dict[str, Any]:
        """Return what a licence asks for and is known: what nobody asks for is not written down.

        What the operator says goes before what the client declares.
        """
        wanted = self._asks.get(license, frozenset()) | {"features"}
        known: dict[str, Any] = {}
        for name, value in (asked.facts or {}).items():
            if isinstance(value, dict) and "from" in value:
                raise Invalid.because(f"facts.{name[:64]}", None, "declared: a value alone")
            known[name] = value
        if asked.address is not None:
            known["address"] = {"value": asked.address, "from": "observed"}
        for name, fact in self._config.facts.items():
            value = list(fact.value) if isinstance(fact.value, tuple) else fact.value
            known[name] = {"value": value, "from": fact.provenance}
        return {name: value for name, value in known.items() if name in wanted}

    async def _reserved(
        self, body: dict[str, Any], facts: dict[str, Any]
    ) -> tuple[Answer, dict[str, Any]]:
        """Hold the money under a new id; return the answer, and the terms of the policy."""
        given = {**body, "id": new_id(PREFIX), **({"facts": facts} if facts else {})}
        prepared = self._desk.prepare("reserve", given, None)
        command = parse("reserve", prepared.body)
        (answer,) = await self._submitter.submit((Item(command, self.actor),))
        try:
            return answer, self._desk.complete(prepared, answer, None)
        except NotAtHandError:
            return answer, await self._readers.read(
                lambda reader: self._desk.complete(prepared, answer, reader.store)
            )

    async def _pool(self, answer: Answer, name: str) -> Pool:
        """Return the pool that the policy names; without it the hold is given back."""
        pool = self._pools.get(name)
        if pool is None:
            body = {"id": answer.id, "reservation": answer.id, "reason": f"no pool {name} here"}
            await self._submitter.submit((Item(parse("release", body), self.actor),))
            raise Unavailable(f"this gateway has no pool {name}", pool=name)
        return pool
