"""Licence decisions against an oracle that knows the document and JSON, and nothing else."""

from collections import Counter

from hypothesis import HealthCheck, Phase, event, given, seed, settings
from hypothesis import strategies as st

from domain.admission import Around, Request, denial
from domain.allocation import NEVER
from domain.denials import DENIALS
from domain.facts import facts_from_wire
from domain.license import Device, License, LicenseKey
from domain.outcomes import Refusal
from domain.policy import policy_from_wire
from domain.registry import Model, ModelVersion
from tests.model import oracle_licenses
from tests.model.license_inputs import (
    GOOD_FACTS,
    PROVENANCES,
    Body,
    fact_bodies,
    policy_bodies,
    situations,
)
from tests.support.sizes import in_full_or


def _ends(instant: int | None) -> int:
    return NEVER if instant is None else instant


def license_from(body: Body) -> License:
    """Return the licence that the oracle's JSON describes."""
    template, template_version, revision = body["policy_version"].split(":")
    return License(
        id=body["id"],
        customer="acme",
        deployment=body["deployment"],
        template=template,
        template_version=int(template_version),
        revision=int(revision),
        policy=policy_from_wire(body["policy"]),
        reference=None,
        issued_at=0,
        starts_at=body["starts_at"],
        expires_at=_ends(body["expires_at"]),
        maintenance_until=body["maintenance_until"],
        status=body["status"],
        since=body["since"],
        reason=body["reason"],
        keys=tuple(LicenseKey(each, "abcd", _ends(end)) for each, end in body["keys"].items()),
        devices=tuple(Device(name, parts, None) for name, parts in body["devices"].items()),
        provenance={},
        version=1,
    )


def _model(name: str, registry: Body | None) -> Model | None:
    if registry is None:
        return None
    versions = {
        each: ModelVersion(
            each, known["released_at"], None, 1 if known["yanked"] else None, None, ()
        )
        for each, known in registry.items()
    }
    return Model(name, versions, 1 + len(versions))


def decided(license: Body, request: Body) -> tuple[str, Body] | None:
    """Return what the program answers, in the oracle's form."""
    refusal = refused(license, request)
    return None if refusal is None else (refusal.code, refusal.facts)


def refused(license: Body, request: Body) -> Refusal | None:
    """Ask the program."""
    facts = facts_from_wire(request["facts"])
    asked = Request(request["model"], facts, request["key"], request["now"], request["channel"])
    around = Around(_model(request["model"], request["registry"]), frozenset(request["export"]))
    return denial(license_from(license), asked, around)


@settings(max_examples=in_full_or(300, 1000), suppress_health_check=[HealthCheck.too_slow])
@given(situations())
def test_the_program_and_the_oracle_decide_the_same(situation: tuple[Body, Body]) -> None:
    expected = oracle_licenses.denial(*situation)
    event("admitted" if expected is None else expected[0])
    assert decided(*situation) == expected


@settings(max_examples=in_full_or(150, 500), suppress_health_check=[HealthCheck.too_slow])
@given(situations(), policy_bodies(), fact_bodies())
def test_they_agree_about_any_policy_and_any_facts(
    situation: tuple[Body, Body], policy: Body, facts: Body
) -> None:
    license, request = situation
    license, request = {**license, "policy": policy}, {**request, "facts": facts}
    assert decided(license, request) == oracle_licenses.denial(license, request)


def test_what_is_fed_reaches_every_check_and_admissions_too() -> None:
    """What a seed draws depends on what else was imported, so one seed may miss something."""
    seen: Counter[str] = Counter()
    wanted = {"admitted", *list(DENIALS)[:18]}

    @settings(
        max_examples=250,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(situations())
    def count(situation: tuple[Body, Body]) -> None:
        refusal = refused(*situation)
        seen["admitted" if refusal is None else refusal.code] += 1

    for number in range(100):
        seed(number)(count)()
        if seen.keys() >= wanted and seen["admitted"] > 250:
            break
    assert seen.keys() == wanted, seen
    assert seen["admitted"] > 250
    assert seen["admitted"] * 10 > seen.total(), seen


@given(situations(), st.sampled_from(sorted(GOOD_FACTS)), st.sampled_from(PROVENANCES))
def test_knowing_a_fact_better_never_takes_an_admission_away(
    situation: tuple[Body, Body], name: str, better: str
) -> None:
    license, request = situation
    fact = facts_from_wire(request["facts"]).get(name)
    if fact is None or PROVENANCES.index(better) < PROVENANCES.index(fact.provenance):
        return
    if refused(license, request) is None:
        value = list(fact.value) if isinstance(fact.value, tuple) else fact.value
        known = {**request["facts"], name: {"value": value, "from": better}}
        assert refused(license, {**request, "facts": known}) is None
