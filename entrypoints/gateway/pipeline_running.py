"""A run through a pipeline under way: what each of its stages has used so far."""

from collections.abc import Mapping, Sequence
from typing import Any

from tollbook.times import format_instant

from application.usage_intake import SPEC_VERSION
from domain import meters
from domain.command import Command
from domain.commands import parse
from domain.meters_format import Meter
from domain.stages import stage_id
from domain.tensors import Tensors
from domain.units import Quantities, quantities_from_wire, quantities_to_wire
from entrypoints.gateway.admission import Admitted, Asked
from entrypoints.gateway.pipelines import FittedStage
from entrypoints.gateway.running import Running
from streams.runs import RUN


def running_of(admitted: Admitted, asked: Asked) -> Running:
    """Return what was admitted as it begins: one model's inference, or a run through several."""
    return Running(admitted, asked) if admitted.stages is None else RunningStages(admitted, asked)


class RunningStages(Running):
    """One admitted run; an answer of the ensemble tells of all its stages at once."""

    __slots__ = ("_counted", "_pipeline", "_stages")

    def __init__(self, admitted: Admitted, asked: Asked) -> None:
        """Begin at the moment of the decision, with nothing counted for any stage."""
        super().__init__(admitted, asked)
        assert admitted.stages is not None
        self._pipeline = admitted.stages.pipeline
        self._stages: Sequence[FittedStage] = admitted.stages.stages
        self._counted = dict.fromkeys([stage.name for stage in self._stages], meters.NOTHING)

    def message(self, outputs: Tensors, parameters: Mapping[str, Any]) -> None:
        """Count one message of the answer for every stage, or remember why that cannot be."""
        try:
            counted = {
                each.name: meters.added(
                    each.part, self._counted[each.name], outputs, parameters, self.id
                )
                for each in self._stages
            }
        except meters.UnmeteredError as error:
            self.unmetered = str(error)
            return
        self._counted = counted
        self.produced = next(iter(counted.values()))._replace(counts={})

    @property
    def sold_as(self) -> str:
        """The name of the pipeline: its stages are charged each under its own model's."""
        return self._pipeline

    def known(self) -> dict[str, Any]:
        """Return what is known of each stage before the answer, for whoever may have to tell it."""
        return {"pipeline": self._pipeline, "stages": self._told(self._before)}

    def extending(self, seconds: int) -> list[Command]:
        """Return what extends the hold of every stage once more."""
        self.extensions += 1
        names = [stage_id(self.id, each.name) for each in self._stages]
        bodies = [{"reservation": name, "ttl_seconds": seconds} for name in names]
        return [
            parse("extend", {"id": f"{body['reservation']}.{self.extensions}", **body})
            for body in bodies
        ]

    def release(self, reason: str) -> dict[str, Any]:
        """Return the outcome of a run that costs nothing."""
        return {**super().release(reason), "pipeline": self._pipeline}

    def charge(self, source: str, device_time: int | None = None) -> dict[str, Any]:
        """Return the event that charges all stages; raises UnmeteredError."""
        if self.unmetered is not None:
            raise meters.UnmeteredError(self.unmetered)

        def used(stage: FittedStage) -> Quantities:
            return meters.usage(stage.part, self.request, self._counted[stage.name], device_time)

        return self._run_event(self._told(used), source)

    @property
    def pending(self) -> tuple[str, ...]:
        """The units that are counted later, each after its stage and a dot."""
        waiting = (each.name for each in self._stages if each.part.waits_for_traces)
        return tuple(f"{name}.gpu_seconds" for name in waiting)

    def timed(
        self, event: dict[str, Any], device_time: int | None, shares: Mapping[str, int]
    ) -> dict[str, Any]:
        """Return the event with the share of each stage's step; raises UnmeteredError."""
        if device_time is None:
            raise meters.UnmeteredError("the server's traces do not tell its device time")
        return timed_run(event, self.admitted.meter, shares)

    def charge_of_known(self, source: str) -> dict[str, Any]:
        """Return the event with as much as was counted of each stage."""

        def used(stage: FittedStage) -> Quantities:
            return {**self._before(stage), **self._counted[stage.name].counts}

        return self._run_event(self._told(used), source)

    def shown(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return the usage as its client is told it: each unit after its stage and a dot."""
        return {
            f"{each['stage']}.{unit}": quantity
            for each in event["data"]["stages"]
            for unit, quantity in each["usage"].items()
        }

    def _before(self, stage: FittedStage) -> Quantities:
        nothing: Quantities = dict.fromkeys(stage.part.usage, 0)
        return {**nothing, **meters.known_before(stage.part, self.request)}

    def _told(self, used: Any) -> list[dict[str, Any]]:
        """Return the stages with their usage as it travels."""
        return [
            {
                "stage": each.name,
                "model": each.model,
                "usage": quantities_to_wire(dict(sorted(used(each).items()))),
            }
            for each in self._stages
        ]

    def _run_event(self, stages: list[dict[str, Any]], source: str) -> dict[str, Any]:
        data = {
            "customer": self.admitted.customer,
            "pipeline": self._pipeline,
            "stages": stages,
            "occurred_at": format_instant(self.now()),
            "request_hash": self.request_hash,
            "response_hash": self.response_hash,
        }
        return run_event(source, self.id, data)


def run_event(source: str, id: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the CloudEvent of a whole run, which is charged, or kept, with all its stages."""
    return {
        "specversion": SPEC_VERSION,
        "type": RUN,
        "source": source,
        "id": id,
        "subject": id,
        "time": data["occurred_at"],
        "datacontenttype": "application/json",
        "data": data,
    }


def timed_run(event: dict[str, Any], meter: Meter, shares: Mapping[str, int]) -> dict[str, Any]:
    """Return the event of a run with device time: a step without a share computed nothing."""
    stages = []
    for each in event["data"]["stages"]:
        part, usage = meter.of_stage(each["stage"]), quantities_from_wire(each["usage"])
        if part.waits_for_traces:
            usage = meters.with_device_time(part, usage, shares.get(part.step or "", 0))
        stages.append({**each, "usage": quantities_to_wire(usage)})
    return {**event, "data": {**event["data"], "stages": stages}}


def lost_run(source: str, intent: dict[str, Any]) -> dict[str, Any]:
    """Return the event of a run whose answer is lost, by what was written down before it ran."""
    data = {name: intent[name] for name in ("customer", "pipeline", "stages", "request_hash")}
    return run_event(
        source, intent["intent"], {**data, "occurred_at": format_instant(intent["at"])}
    )
