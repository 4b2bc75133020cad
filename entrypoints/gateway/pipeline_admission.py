"""Admission to a pipeline: the money and the licence of every stage by one command, or of none."""

from contextlib import suppress
from typing import Any

from tollbook.client.ids import new_id
from tollbook.errors import Invalid, NotFound, TollbookError, Unavailable

from application.answers import Answer
from application.jobs import Item
from application.license_answers import decision_result
from domain import meters
from domain.commands import parse
from domain.meters_format import Meter
from domain.stages import stage_id
from domain.units import quantities_to_wire
from entrypoints.gateway.admission import PREFIX, Admission, Admitted, Asked, Opened
from entrypoints.gateway.config import GatewayConfig, Pool
from entrypoints.gateway.pipelines import Fitted, FittedStage
from entrypoints.http.readers import Reader


class PipelineAdmission:
    """Admits runs through pipelines; there is no other way in for them than the ledger."""

    def __init__(self, config: GatewayConfig, admission: Admission) -> None:
        """Ask for licences, facts and pools where models are admitted as well."""
        self._config = config
        self._admission = admission
        self._pipelines = admission.pipelines

    async def admit(self, asked: Asked) -> Admitted:
        """Decide and hold all stages; raises the refusal, which names its stage."""
        meter = self._admission.meter(asked.model)
        self._estimates(self._pipelines.of(meter), asked)
        opened = await self._admission.opened(asked.license_key)
        answer = await self._reserved(opened, meter, asked)
        problem = answer.problem()
        if problem is not None and await self._is_news(opened, meter, problem):
            answer = await self._reserved(opened, meter, asked)
            problem = answer.problem()
        if problem is not None:
            raise problem
        try:
            return await self._admitted(answer, opened, meter)
        except TollbookError as error:
            with suppress(TollbookError):  # what is not given back now ends when its time is over
                await self._give_back(answer.id, meter, str(error))
            raise

    async def _is_news(self, opened: Opened, meter: Meter, problem: TollbookError) -> bool:
        """Say whether a no is one to what this gateway did not know yet, and does now."""
        if await self._admission.asks_anew(opened, problem):
            return True
        concerns = problem.facts.get("field") in ("stages", "pipeline")
        if not (concerns and isinstance(problem, Invalid | NotFound)):
            return False
        return await self._pipelines.learn_anew(meter)

    def _estimates(self, fitted: Fitted, asked: Asked) -> dict[str, dict[str, Any]]:
        """Return what is to be held for each stage whose meter says so; raises Invalid."""
        return {
            stage.name: quantities_to_wire(meters.estimate(stage.part, asked.request))
            for stage in fitted.stages
            if stage.is_estimated
        }

    async def _reserved(self, opened: Opened, meter: Meter, asked: Asked) -> Answer:
        fitted = self._pipelines.of(meter)
        estimates = self._estimates(fitted, asked)
        stages = [
            {
                "stage": stage.name,
                "request_hash": asked.request_hash,
                **({"estimate": estimates[stage.name]} if stage.is_estimated else {}),
                **self._license(stage, opened, asked),
            }
            for stage in fitted.stages
        ]
        body = {
            "id": new_id(PREFIX),
            "customer": opened.customer,
            "pipeline": fitted.pipeline,
            "stages": stages,
            "ttl_seconds": self._config.hold_seconds,
        }
        return await self._told("reserve_pipeline", body)

    def _license(self, stage: FittedStage, opened: Opened, asked: Asked) -> dict[str, Any]:
        """Return what a stage shows of its caller: the licence, where it asks for one."""
        if not stage.is_licensed:
            return {}
        facts = self._admission.facts(opened.license, asked)
        shown = {"license": opened.license, "license_key": opened.key_hash}
        return {**shown, "facts": facts} if facts else shown

    async def _told(self, kind: str, body: dict[str, Any]) -> Answer:
        item = Item(parse(kind, body), self._admission.actor)
        (answer,) = await self._admission.submitter.submit((item,))
        return answer

    async def _admitted(self, answer: Answer, opened: Opened, meter: Meter) -> Admitted:
        recorded = answer.recorded
        assert recorded is not None
        reserved: Any = recorded.event
        fitted = await self._as_reserved(meter, reserved.version)
        holds = await self._holds(answer, opened, fitted)
        terms = await self._admission.terms(holds[0])
        return Admitted(
            answer.id,
            opened.customer,
            opened.license,
            meter,
            self._pool(str(terms["pool"])),
            int(terms["priority"]),
            recorded.recorded_at,
            reserved.expires_at,
            _remaining(holds),
            stages=fitted,
        )

    async def _as_reserved(self, meter: Meter, version: int) -> Fitted:
        """Return the version that was reserved, which may be newer than what is known here."""
        if self._pipelines.of(meter).version != version:
            await self._pipelines.learn_anew(meter)
        fitted = self._pipelines.of(meter)
        if fitted.version != version:
            raise Unavailable(f"the pipeline {meter.pipeline} is published anew: try later")
        return fitted

    async def _holds(self, answer: Answer, opened: Opened, fitted: Fitted) -> list[Answer]:
        """Return what the ledger decided for each stage that is licensed."""
        names = [stage_id(answer.id, stage.name) for stage in fitted.stages if stage.is_licensed]
        keys = [("reserve", opened.customer, name) for name in names]

        def look(reader: Reader) -> list[Answer]:
            places = reader.store.taken(keys)
            found = reader.store.at(places.values())
            return [Answer(key[2], found[places[key]], answer.currency) for key in keys]

        return await self._admission.readers.read(look)

    def _pool(self, name: str) -> Pool:
        pool = self._admission.pools.get(name)
        if pool is None:
            raise Unavailable(f"no pool {name} here", pool=name)
        return pool

    async def _give_back(self, run: str, meter: Meter, reason: str) -> None:
        body = {"id": run, "reserved": run, "pipeline": meter.pipeline, "reason": reason[:500]}
        await self._told("release_pipeline", body)


def _remaining(holds: list[Answer]) -> list[dict[str, Any]]:
    """Return what the licence's limits leave when all stages are counted: the last word on each."""
    left: dict[str, dict[str, Any]] = {}
    for hold in holds:
        assert hold.recorded is not None
        event: Any = hold.recorded.event
        left.update(
            {str(each["limit"]): each for each in decision_result(event.decision)["remaining"]}
        )
    return list(left.values())
