"""Facts: how they are read and written, and what is refused by its name."""

import json
from typing import Any

import pytest
from hypothesis import given
from pydantic import TypeAdapter, ValidationError

from domain.facts import FACTS, PROVENANCES, Fact, FactsBody, facts_from_wire, facts_to_wire
from tests.domain.licensed import CPU, FITTING
from tests.model.license_inputs import fact_bodies

ADAPTER: TypeAdapter[Any] = TypeAdapter(FactsBody)


def test_the_example_has_every_fact_but_the_environment() -> None:
    assert set(FACTS) - FITTING.keys() == {"environment"}
    assert list(FACTS) == sorted(FACTS)


def test_a_plain_value_is_declared() -> None:
    assert facts_from_wire({"region": "eu"}) == {"region": Fact("eu", "declared")}
    wrapped = facts_from_wire({"region": {"value": "eu", "from": "declared"}})
    assert facts_to_wire(wrapped) == {"region": "eu"}


@pytest.mark.parametrize("provenance", PROVENANCES[1:])
def test_what_is_known_better_is_written_with_its_provenance(provenance: str) -> None:
    body = {"region": {"from": provenance, "value": "eu"}}
    facts = facts_from_wire(body)
    assert facts == {"region": Fact("eu", provenance)}
    assert json.dumps(facts_to_wire(facts)) == json.dumps(body)


def test_components_may_have_the_names_of_a_wrapping() -> None:
    plain = {"hardware": {"value": CPU, "from": CPU}}
    facts = facts_from_wire(plain)
    assert facts["hardware"] == Fact({"from": CPU, "value": CPU}, "declared")
    wrapped = {"hardware": {"value": {"value": CPU}, "from": "signed"}}
    assert facts_from_wire(wrapped)["hardware"] == Fact({"value": CPU}, "signed")


def test_facts_stand_in_the_order_of_their_names_and_lists_as_given() -> None:
    facts = facts_from_wire({"region": "eu", "gpus": ["b", "a"], "hardware": {"z": CPU, "a": CPU}})
    written = json.dumps(facts_to_wire(facts))
    assert written == json.dumps(
        {"gpus": ["b", "a"], "hardware": {"a": CPU, "z": CPU}, "region": "eu"}
    )


@given(fact_bodies())
def test_facts_are_read_as_they_were_written(body: dict[str, Any]) -> None:
    facts = facts_from_wire(body)
    written = facts_to_wire(facts)
    assert facts_from_wire(written) == facts
    assert facts_to_wire(facts_from_wire(written)) == written
    assert ADAPTER.validate_json(ADAPTER.dump_json(facts)) == facts
    assert ADAPTER.validate_python(facts) == facts


IDS = [f"id-{number}" for number in range(101)]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (None, "facts must be an object"),
        ([], "facts must be an object"),
        ("region", "facts must be an object"),
        ({"planet": "earth"}, "no fact 'planet'"),
        ({"Region": "eu"}, "no fact 'Region'"),
        ({"region": None}, "the fact region must be a text"),
        ({"region": 7}, "the fact region must be a text"),
        ({"region": ""}, "the fact region must be a text"),
        ({"region": "r" * 257}, "the fact region must be a text"),
        ({"region": "a\x00b"}, "the fact region must be a text"),
        ({"region": "a\n"}, "the fact region must be a text"),
        ({"region": "\ud800"}, "the fact region must be a text"),
        ({"region": ["eu"]}, "the fact region must be a text"),
        ({"region": {}}, "the fact region must be a value, or an object of value and from"),
        ({"region": {"value": "eu"}}, "the fact region must be a value, or an object"),
        ({"region": {"value": "eu", "from": "x", "y": 1}}, "must be a value, or an object"),
        ({"region": {"value": "eu", "from": "rumour"}}, "region's from must be one of"),
        ({"region": {"value": "eu", "from": None}}, "region's from must be one of"),
        ({"region": {"value": {"value": "eu", "from": "signed"}, "from": "signed"}}, "be a text"),
        ({"channel": "API"}, "the fact channel must be one of api, on_premise"),
        ({"channel": True}, "the fact channel must be one of"),
        ({"environment": "test"}, "the fact environment must be one of"),
        ({"watermark": "none"}, "the fact watermark must be one of applied"),
        ({"model_version": "4.1"}, "the fact model_version must be a version"),
        ({"model_version": "04.1.0"}, "the fact model_version must be a version"),
        ({"model_version": "4.1.0\n"}, "the fact model_version must be a version"),
        ({"features": "batch"}, "the fact features must be a list of 0 to 100"),
        ({"features": [1]}, "the fact features must be a list in which each must be"),
        ({"features": IDS}, "the fact features must be a list of 0 to 100"),
        ({"gpus": IDS}, "the fact gpus must be a list of 0 to 100"),
        ({"gpus": ["a b"]}, "the fact gpus must be a list in which each must be"),
        ({"device": "a b"}, "the fact device must be 1 to 128"),
        ({"hardware": []}, "the fact hardware must be an object of at most 16"),
        ({"hardware": {"cpu": "clear text"}}, "the fact hardware must have a keyed hash"),
        ({"hardware": {"cpu": CPU.replace("1", "A")}}, "the fact hardware must have a keyed hash"),
        ({"hardware": {"a b": CPU}}, "the fact hardware must name components"),
        ({"hardware": {f"c{number}": CPU for number in range(17)}}, "at most 16 components"),
        ({"hardware": {"value": {"cpu": "x"}, "from": "signed"}}, "must have a keyed hash"),
        ({"hardware": {"value": {}, "from": CPU}}, "hardware's from must be one of"),
    ],
)
def test_what_is_no_fact_is_refused_by_its_name(body: Any, sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        facts_from_wire(body)
    assert sentence in str(refused.value)


def test_the_bounds_of_lists_and_texts_are_inside() -> None:
    body = {
        "gpus": IDS[:100],
        "features": [],
        "region": "r" * 256,
        "hardware": {f"c{number}": CPU for number in range(16)},
        "model_version": "0.10.999999999-rc.1+build",
        "country": "Côte d'Ivoire",
    }
    assert facts_to_wire(facts_from_wire(body)) == {
        **body,
        "hardware": dict.fromkeys(sorted(body["hardware"]), CPU),
    }


def test_pydantic_says_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match="there is no fact 'planet'"):
        ADAPTER.validate_json('{"planet": "earth"}')
