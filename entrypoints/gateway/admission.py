"""Admission: who may have an inference run, decided and paid for before it goes to a server."""

import json
from typing import Any, NamedTuple

from tollbook.client.ids import new_id
from tollbook.errors import Invalid, NotFound, TollbookError, Unavailable

from application.answers import Answer
from application.jobs import Item
from application.license_answers import decision_result
from application.license_desk import LicenseDesk, NotAtHandError, Prepared
from application.license_tokens import license_at
from application.trying import tried
from domain import meters
from domain.admission import facts_asked
from domain.commands import parse
from domain.meters_format import Meter
from domain.units import Quantities, quantities_to_wire
from entrypoints.gateway.config import GatewayConfig, Pool
from entrypoints.gateway.pipelines import Fitted, Pipelines
from entrypoints.http.readers import Reader, Readers
from entrypoints.http.submitting import Submitter

LICENSES_MAX = 100_000
PREFIX = "inf"

_RESERVED = Prepared("reserve", {})
_ALWAYS = frozenset({"features"})
"""What is told to every licence, whether or not it asks for it."""
_in_order = json.JSONEncoder(sort_keys=True).encode


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
    expires_at: int
    """When the hold ends, unless it is extended."""
    remaining: list[dict[str, Any]]
    """What the licence's limits leave."""
    template: str = ""
    """The template of the policy that admitted it."""
    slice: str | None = None
    """The reservation for several inferences that pays for it, if none of its own does."""
    is_emergency: bool = False
    """Whether the ledger was away: then that is an emergency slice."""
    stages: Fitted | None = None
    """The stages that are held, where it is a run through a pipeline."""


class Opened(NamedTuple):
    """What a licence key opens, which never changes."""

    license: str
    customer: str
    key_hash: str


class Question(NamedTuple):
    """What the ledger decides about: the same question may have had its yes before."""

    opened: Opened
    facts: str
    """What the licence asks for and is known, as JSON."""


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
        self.pools = {name: pool for pool in config.pool for name in (pool.name, *pool.also)}
        self._meters = {meter.name: meter for meter in config.model}
        self._opened: dict[str, Opened] = {}
        """By the key's text, which is in memory anyway while a request is."""
        self._asks: dict[str, frozenset[str]] = {}
        """By licence, the facts without which it admits nothing."""
        self.actor = f"gateway:{config.name}"
        self.readers, self.submitter = readers, submitter
        self.pipelines = Pipelines(config, readers)

    def meter(self, model: str) -> Meter:
        """Return the meter of a model; raises NotFound for one that is not offered here."""
        found = self._meters.get(model)
        if found is None:
            # The server's own words, by which clients know it.
            words = f"Request for unknown model: '{model[:100]}' is not found"
            raise NotFound(words, field="model", value=model[:100])
        return found

    def question(self, asked: Asked) -> Question | None:
        """Return what the ledger is asked, or None where it has to be asked for that first."""
        opened = self._opened.get(asked.license_key)
        if opened is None or opened.license not in self._asks:
            return None
        facts = self.facts(opened.license, asked)
        return Question(opened, _in_order(facts) if facts else "{}")

    async def ledger_answers(self) -> None:
        """Return when the ledger answers; raises Unavailable when it does not."""
        await self._readers.read(lambda reader: reader.store.head())

    async def admit(self, asked: Asked) -> Admitted:
        """Decide and hold; raises the refusal, or whatever else stands in the way."""
        meter = self.meter(asked.model)
        held = meters.estimate(meter, asked.request)
        opened = await self.opened(asked.license_key)
        answer = await self._reserved(opened, meter, held, asked)
        problem = answer.problem()
        if problem is not None and await self.asks_anew(opened, problem):
            answer = await self._reserved(opened, meter, held, asked)
            problem = answer.problem()
        if problem is not None:
            raise problem
        return await self._admitted(answer, opened, meter)

    async def _admitted(self, answer: Answer, opened: Opened, meter: Meter) -> Admitted:
        """Return the inference that was admitted, with what the policy says of it."""
        terms = await self.terms(answer)
        recorded = answer.recorded
        assert recorded is not None
        held: Any = recorded.event
        return Admitted(
            answer.id,
            opened.customer,
            opened.license,
            meter,
            await self._pool(answer, str(terms["pool"])),
            int(terms["priority"]),
            recorded.recorded_at,
            held.expires_at,
            decision_result(held.decision)["remaining"],
            str(held.decision["policy"]).rsplit(":", 2)[0],
        )

    async def allowed(self, model: str, license_key: str) -> Meter:
        """Return the meter of a model that a licence may use; nothing is recorded or counted."""
        meter = self.meter(model)
        opened = await self.opened(license_key)
        asked = Asked(model, license_key, meters.Request({}, {}), "")
        body = {
            "id": new_id(PREFIX),
            "license": opened.license,
            "license_key": opened.key_hash,
            "facts": self.facts(opened.license, asked),
        }
        models = self.pipelines.licensed_models(meter)
        commands = [parse("validate_license", {**body, "model": each}) for each in models]

        def look(reader: Reader) -> list[Answer]:
            return [tried(reader.store, each, reader.ledger.now()) for each in commands]

        for answer in await self._readers.read(look):
            if (problem := answer.problem()) is not None:
                raise problem
        return meter

    async def known(self, license_key: str) -> None:
        """Raise the refusal of a key that opens no licence: its bodies need not be read."""
        await self.opened(license_key)

    async def ready(self) -> bool:
        """Say whether the ledger answers."""
        try:
            await self.ledger_answers()
        except TollbookError:
            return False
        return True

    async def opened(self, key: str) -> Opened:
        """Return what a key opens, and learn what that licence asks for; raises the refusal."""
        opened = self._opened.get(key)
        if opened is None:
            opened = await self._readers.read(self._look_up, key)
            if len(self._opened) >= LICENSES_MAX:
                self._opened.clear()
            self._opened[key] = opened
        if opened.license not in self._asks:
            await self._learn(opened.license)
        return opened

    def _look_up(self, reader: Reader, key: str) -> Opened:
        body = self._desk.prepare("reserve", {"license_key": key}, reader.store).body
        license = str(body["license"])
        owner = self._desk.owner(license, reader.store)
        return Opened(license, str(owner), str(body["license_key"]))

    async def _learn(self, license: str) -> None:
        def look(reader: Reader) -> frozenset[str]:
            return facts_asked(license_at(reader.store, license, reader.store.head().position))

        if len(self._asks) >= LICENSES_MAX:
            self._asks.clear()
        self._asks[license] = await self._readers.read(look)

    async def asks_anew(self, opened: Opened, problem: TollbookError) -> bool:
        """Say whether a licence that misses a fact asks for more than when this gateway looked."""
        if problem.facts.get("absent") is not True:
            return False
        before = self._asks.pop(opened.license, None)
        await self._learn(opened.license)
        return self._asks.get(opened.license) != before

    def facts(self, license: str, asked: Asked) -> dict[str, Any]:
        """Return what a licence asks for and is known: what nobody asks for is not written down.

        What the operator says goes before what the client declares.
        """
        wanted = self._asks.get(license, _ALWAYS)
        known: dict[str, Any] = {}
        for name, value in (asked.facts or {}).items():
            if isinstance(value, dict) and "from" in value:
                raise Invalid.because(f"facts.{name[:64]}", None, "declared: a value alone")
            if name in wanted or name in _ALWAYS:
                known[name] = value
        if asked.address is not None and "address" in wanted:
            known["address"] = {"value": asked.address, "from": "observed"}
        for name, fact in self._config.facts.items():
            if name in wanted or name in _ALWAYS:
                value = list(fact.value) if isinstance(fact.value, tuple) else fact.value
                known[name] = {"value": value, "from": fact.provenance}
        return known

    async def _reserved(
        self, opened: Opened, meter: Meter, held: Quantities, asked: Asked
    ) -> Answer:
        """Hold the money under a new id, which a licence decides in the same command."""
        body = {
            "id": new_id(PREFIX),
            "customer": opened.customer,
            "model": meter.priced_as,
            "estimate": quantities_to_wire(held),
            "ttl_seconds": self._config.hold_seconds,
            "license": opened.license,
            "license_key": opened.key_hash,
            "request_hash": asked.request_hash,
        }
        facts = self.facts(opened.license, asked)
        if facts:
            body["facts"] = facts
        (answer,) = await self._submitter.submit((Item(parse("reserve", body), self.actor),))
        return answer

    async def terms(self, answer: Answer) -> dict[str, Any]:
        """Return the terms of the policy that admitted a request."""
        try:
            return self._desk.complete(_RESERVED, answer, None)
        except NotAtHandError:
            return await self._readers.read(
                lambda reader: self._desk.complete(_RESERVED, answer, reader.store)
            )

    async def _pool(self, answer: Answer, name: str) -> Pool:
        """Return the pool that the policy names; without it the hold is given back."""
        pool = self.pools.get(name)
        if pool is None:
            body = {"id": answer.id, "reservation": answer.id, "reason": f"no pool {name} here"}
            await self._submitter.submit((Item(parse("release", body), self.actor),))
            raise Unavailable(f"this gateway has no pool {name}", pool=name)
        return pool
