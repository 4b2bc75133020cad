"""What was stored once is read for ever: to the same fact, the same bytes, the same leaf hash."""

import json
from dataclasses import fields
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook import canonical
from tollbook.errors import Tampered, Unavailable

from adapters.event_store import mapper
from adapters.event_store.mapper import decode, encode, leaf_hash
from domain.event import EVENT_TYPES
from domain.events import CommandRefused, ReservationReleased
from domain.upcasting import STEPS, upcast
from tests.compat import golden_events
from tests.compat.golden_events import FOLDER, Golden

STORED = [
    pytest.param(golden, id=f"{path.stem}-{number}")
    for path in sorted(FOLDER.glob("*.json"))
    for number, golden in enumerate(golden_events.read(path))
]


def test_every_event_has_a_golden_file() -> None:
    paths = [path for key in EVENT_TYPES for path in golden_events.paths_of(*key)]
    missing = [path.name for path in paths if not path.exists()]
    assert missing == [], "write an example and run: python -m tests.compat.golden_events"


@pytest.mark.parametrize("key", EVENT_TYPES)
def test_every_field_stands_in_a_golden_file(key: tuple[str, int]) -> None:
    stored = [
        golden for path in golden_events.paths_of(*key) for golden in golden_events.read(path)
    ]
    present = {field for golden in stored for field in json.loads(golden.data)}
    assert present == {field.name for field in fields(EVENT_TYPES[key])}  # type: ignore[arg-type]


def test_every_golden_file_is_of_an_event_that_is_still_read() -> None:
    keys = {golden_events.key_of(path) for path in FOLDER.glob("*.json")}
    assert keys - EVENT_TYPES.keys() - STEPS.keys() == set()


@pytest.mark.parametrize("golden", STORED)
def test_it_is_read_and_its_leaf_is_the_same(golden: Golden) -> None:
    recorded = golden.recorded()
    assert list(recorded[:13]) == golden.envelope
    assert leaf_hash(recorded, golden.data.encode()).hex() == golden.leaf


@pytest.mark.parametrize("golden", STORED)
def test_its_bytes_are_written_again_the_same(golden: Golden) -> None:
    recorded = golden.recorded()
    if recorded.version == recorded.event.VERSION:
        assert encode(recorded.event) == golden.data.encode()
    assert canonical.is_canonical(golden.data.encode())


@pytest.mark.parametrize("golden", STORED)
def test_it_stays_in_its_stream(golden: Golden) -> None:
    assert golden.recorded().event.stream() == golden.envelope[3]


@pytest.mark.parametrize("golden", STORED)
def test_a_payload_with_a_field_too_many_or_too_few_is_tampered(golden: Golden) -> None:
    name, version = golden.envelope[1:3]
    payload = json.loads(golden.data)
    with pytest.raises(Tampered):
        decode(name, version, json.dumps({**payload, "zzz": 1}))
    required = [
        field.name
        for field in fields(EVENT_TYPES[name, version])  # type: ignore[arg-type]
        if field.default is not None
    ]
    for field in required:
        rest = {key: value for key, value in payload.items() if key != field}
        with pytest.raises(Tampered):
            decode(name, version, json.dumps(rest))


@pytest.mark.parametrize("value", [1, 1.5, "1e3", "0.0000000000001", None, True, ["1"], "NaN"])
def test_an_amount_that_is_no_decimal_string_is_tampered(value: Any) -> None:
    payload = golden_events.EXAMPLES["reservation_released", 1]
    with pytest.raises(Tampered):
        decode("reservation_released", 1, json.dumps({**payload, "released": value}))


@pytest.mark.parametrize("data", ["", "{", "[]", "null", '"text"'])
def test_a_payload_that_is_no_object_is_tampered(data: str) -> None:
    with pytest.raises(Tampered):
        decode("reservation_released", 1, data)


@pytest.mark.parametrize("key", EVENT_TYPES)
def test_fields_stand_in_the_order_of_their_names(key: tuple[str, int]) -> None:
    """So that the payload is canonical as it is written, without sorting."""
    names = [field.name for field in fields(EVENT_TYPES[key])]  # type: ignore[arg-type]
    assert names == sorted(names)


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=50)


@given(reason=WORDS, amount=st.integers(-(10**38) + 1, 10**38 - 1))
def test_whatever_a_payload_holds_its_bytes_are_canonical(reason: str, amount: int) -> None:
    event = ReservationReleased(customer="c", reason=reason, released=amount, reservation="r")
    assert canonical.is_canonical(encode(event))
    assert decode("reservation_released", 1, encode(event)) == event


@given(st.dictionaries(WORDS, WORDS))
def test_free_facts_are_canonical_when_their_keys_are_in_order(facts: dict[str, str]) -> None:
    ordered = json.loads(canonical.dumps(facts))
    event = CommandRefused(
        body={}, code="c", customer="c", detail="d", facts=ordered, kind="k", scope="s"
    )
    assert canonical.is_canonical(encode(event))
    assert decode("command_refused", 1, encode(event)) == event


TWO_STEPS = {
    ("reservation_released", -1): lambda old: {**old, "customer": "cust-1"},
    ("reservation_released", 0): lambda old: {
        **{key: value for key, value in old.items() if key != "amount"},
        "released": old["amount"],
    },
}


def test_an_old_payload_is_raised_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapper, "upcast", partial(upcast, steps=TWO_STEPS))
    expected = ReservationReleased(customer="cust-1", released=10**12, reservation="r")
    oldest = '{"amount":"1.000000000000","reservation":"r"}'
    assert decode("reservation_released", -1, oldest) == expected
    older = '{"amount":"1.000000000000","customer":"cust-1","reservation":"r"}'
    assert decode("reservation_released", 0, older) == expected


def test_upcasting_leaves_what_it_was_given_as_it_was() -> None:
    payload = {"amount": "1"}
    assert upcast("reservation_released", 0, payload, TWO_STEPS) == (1, {"released": "1"})
    assert payload == {"amount": "1"}
    assert upcast("reservation_released", 1, payload, TWO_STEPS) is None
    assert upcast("another", 0, payload, TWO_STEPS) is None


def test_every_step_ends_at_an_event_that_is_known() -> None:
    for name, version in STEPS:
        while (name, version) in STEPS:
            version += 1  # noqa: PLW2901 - walking the steps of one event
        assert (name, version) in EVENT_TYPES


@pytest.mark.parametrize(("name", "version"), [("reservation_released", 99), ("unheard_of", 1)])
def test_an_event_that_newer_code_wrote_is_not_read(name: str, version: int) -> None:
    with pytest.raises(Unavailable, match="newer than this program"):
        decode(name, version, "{}")
