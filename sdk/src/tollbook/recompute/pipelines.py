"""Checks of pipelines: what binds the reservations of their stages, and what those came to.

The stages' own events are checked like those of any reservation. What is checked here is that the
fact which binds them says of them what they say themselves.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tollbook.amounts import format_pico
from tollbook.recompute.account import Account
from tollbook.recompute.fact import Fact, Place, alike
from tollbook.recompute.holding import TTL_DEFAULT_SECONDS
from tollbook.recompute.prices import quantities
from tollbook.recompute.stages import Outcome, stage_id
from tollbook.times import SECOND, format_instant

STAGES_MAX = 32
_NOTHING = format_pico(0)
_PAID = ("charged", "from_balance", "receivable")


def publish(pipelines: dict[str, dict[str, Any]], fact: Fact) -> Place:
    """Check that a pipeline's version is the next one, and take it."""
    name, stages = fact.data["pipeline"], fact.data["stages"]
    number = pipelines.get(name, {"version": 0})["version"] + 1
    fact.check("version", number)
    names = [stage["name"] for stage in stages]
    if not 0 < len(names) <= STAGES_MAX or len(set(names)) < len(names):
        fact.differ("stages", f"1 to {STAGES_MAX}, each with its own name", names)
    pipelines[name] = {"stages": stages, "version": number}
    return f"pipeline-{name}", number


def pipeline_reserved(account: Account, fact: Fact) -> Place:
    """See that every stage was reserved at this moment, as asked, and for what is said here."""
    data, name = fact.data, fact.data["reserved"]
    if fact.command != name:
        fact.differ("command", name, fact.command)
    if name in account.runs.held:
        fact.differ("reserved", "an id that is new", name)
    expires_at = fact.at + data.get("ttl_seconds", TTL_DEFAULT_SECONDS) * SECOND
    fact.check("expires_at", format_instant(expires_at))
    held = _held_stages(account, fact)
    fact.check_parts("held", held)
    account.runs.held[name] = {
        "pipeline": data["pipeline"],
        "pipeline_version": data["version"],
        "stages": [stage for stage, _ in held],
        "version": 1,
    }
    return f"stages-{name}", 1


def _held_stages(account: Account, fact: Fact) -> list[tuple[str, int]]:
    """Return each stage of the pipeline with what its reservation holds."""
    data = fact.data
    known = account.catalog.pipelines.get(data["pipeline"])
    if known is None:
        if account.catalog.whole:
            fact.differ("pipeline", "a published pipeline", data["pipeline"])
        declared = [{"name": stage} for stage, _ in data["held"]]
    else:
        fact.check("version", known["version"])
        declared = known["stages"]
    asked = {each["stage"]: each for each in data["stages"]}
    names = [stage["name"] for stage in declared]
    if not asked.keys() <= set(names) or len(asked) < len(data["stages"]):
        fact.differ("stages", f"of {', '.join(names)}, each once", list(asked))
    return [(stage["name"], _held(account, fact, stage, asked)) for stage in declared]


def _held(
    account: Account, fact: Fact, stage: dict[str, Any], asked: dict[str, dict[str, Any]]
) -> int:
    """Check one stage's reservation against what was declared and asked; return its hold."""
    name = stage_id(fact.data["reserved"], stage["name"])
    found, hold = account.reservations.get(name), account.holds.get(name)
    if found is None or hold is None or found.opened_at != fact.at or found.version != 1:
        fact.differ("held", f"reservation {name}, opened at this moment", None)
        return 0
    said = asked.get(stage["name"], {})
    estimate = said.get("estimate", stage.get("estimate"))
    if estimate is not None and found.estimate != quantities(estimate):
        fact.differ("stages", f"what {name} holds for", estimate)
    if "model" in stage and found.model != stage["model"]:
        fact.differ("held", f"model {stage['model']} in {name}", found.model)
    if found.license != said.get("license") or (stage.get("licensed") and not found.license):
        fact.differ("stages", f"the licence of {name}", said.get("license"))
    return hold.amount


def pipeline_settled(account: Account, fact: Fact) -> Place:
    """See that the lines are what the stages' own events say, and that none is left open."""
    used = {each["stage"]: each for each in fact.data["stages"]}
    lines = []
    for stage, outcome in _outcomes(account, fact):
        said = used.pop(stage, None)
        if (said is None) == (outcome.name == "reservation_settled"):
            fact.differ("lines", f"{stage} settled if it was used", outcome.name)
        for field in ("usage", "request_hash", "response_hash") if said else ():
            if not alike(outcome.data.get(field), (said or {}).get(field)):
                fact.differ("stages", outcome.data.get(field), (said or {}).get(field))
        if said and not alike(outcome.data.get("occurred_at"), fact.data.get("occurred_at")):
            fact.differ("occurred_at", outcome.data.get("occurred_at"), fact.data["occurred_at"])
        lines.append(_line(stage, outcome))
    if used:
        fact.differ("stages", "stages that were settled here", list(used))
    fact.check("lines", lines)
    return f"stages-{fact.data['reserved']}", 2


def pipeline_released(account: Account, fact: Fact) -> Place:
    """See that every stage without an outcome was given back, and how much of it."""
    released = []
    for stage, outcome in _outcomes(account, fact):
        if outcome.name != "reservation_released":
            fact.differ("released", f"{stage} released", outcome.name)
        released.append([stage, outcome.data["released"]])
    fact.check("released", released)
    return f"stages-{fact.data['reserved']}", 2


def _outcomes(account: Account, fact: Fact) -> Iterator[tuple[str, Outcome]]:
    """Yield the stages that the commands of this one ended, in the order of the pipeline."""
    name = fact.data["reserved"]
    run = account.runs.ended.pop(name, None)
    if run is None:
        fact.differ("reserved", "one whose last stage ended here", name)
        return
    fact.check("pipeline", run["pipeline"])
    for stage in run["stages"]:
        outcome = account.runs.outcomes.get(stage_id(name, stage))
        if outcome is not None and outcome.command == stage_id(fact.command, stage):
            yield stage, outcome


def stages_states(accounts: Mapping[str, Account]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what binds open stages in the form of docs/formats/state.md, in order of id."""
    yield from sorted(
        (name, {"customer": customer, **run})
        for customer, account in accounts.items()
        for name, run in account.runs.held.items()
    )


def _line(stage: str, outcome: Outcome) -> dict[str, Any]:
    paid = {name: outcome.data.get(name, _NOTHING) for name in _PAID}
    return {**paid, "released": outcome.data["released"], "stage": stage}
