"""CloudEvents of usage: read field by field, and refused by naming what is malformed."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.errors import Invalid

from application.usage_intake import _made, usage_command
from domain.commands import ChargeUsage, parse, wire_body
from tests.support.ledger import MODEL

WHEN = "2024-02-29T23:59:59.999999Z"
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "type": "tollbook.usage.v1",
    "source": "//gateway/7",
    "id": "01-é \U0001f9fe",
    "subject": "r-1",
    "time": "2024-03-01T01:00:00+01:00",
    "datacontenttype": "application/json",
    "dataschema": "https://example.com/usage.json",
    "partitionkey": "cust-1",
    "sampledrate": 7,
    "sampled": True,
    "traceparent": None,
    "data": {
        "customer": "cust-1",
        "model": MODEL,
        "usage": {"input_tokens": 3, "gpu_seconds": "1.5"},
        "occurred_at": WHEN,
        "license": "lic-1",
        "request_hash": "0a" * 32,
        "response_hash": "f9" * 32,
    },
}


def changed(data: dict[str, Any] | None = None, **attributes: Any) -> dict[str, Any]:
    """Return the event with other attributes, or other fields of its data."""
    return {**EVENT, **attributes, "data": {**EVENT["data"], **(data or {})}}


def test_an_event_is_read_field_by_field() -> None:
    command = usage_command(EVENT)
    assert (command.id, command.source) == ("01-é \U0001f9fe", "//gateway/7")
    assert wire_body(command) == {
        **EVENT["data"],
        "reservation": "r-1",
        "source": "//gateway/7",
    }


def test_a_subject_that_is_the_customer_means_direct_usage() -> None:
    assert usage_command(changed(subject="cust-1")).reservation is None


@pytest.mark.parametrize("name", ["time", "datacontenttype", "dataschema", "partitionkey"])
def test_what_is_optional_may_be_absent_or_null(name: str) -> None:
    without = {key: value for key, value in EVENT.items() if key != name}
    assert usage_command(without) == usage_command({**EVENT, name: None}) == usage_command(EVENT)


MALFORMED: list[tuple[dict[str, Any], str]] = [
    *(({name: None}, name) for name in ("specversion", "type", "source", "id", "subject")),
    *(({name: ""}, name) for name in ("source", "id", "subject", "time", "dataschema")),
    *(({name: 7}, name) for name in ("specversion", "type", "source", "id", "subject", "time")),
    ({"specversion": "0.3"}, "specversion"),
    ({"type": "tollbook.usage.v2"}, "type"),
    ({"id": "a\x00b"}, "id"),
    ({"source": "x" * 513}, "source"),
    ({"subject": "not an id"}, "subject"),
    ({"time": "2024-03-01"}, "time"),
    ({"datacontenttype": "text/plain"}, "datacontenttype"),
    ({"data_base64": "e30="}, "data_base64"),
    ({"Partition": "x"}, "Partition"),
    ({"": "x"}, ""),
    ({"rate": 0.5}, "rate"),
    ({"tags": ["x"]}, "tags"),
]


@pytest.mark.parametrize(("attributes", "field"), MALFORMED)
def test_a_malformed_attribute_is_named(attributes: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        usage_command(changed(**attributes))
    assert refused.value.facts["field"] == field
    assert refused.value.facts["rule"]


MALFORMED_DATA: list[tuple[dict[str, Any], str]] = [
    *(({name: None}, f"data.{name}") for name in ("customer", "model", "usage", "occurred_at")),
    ({"customer": "a b"}, "data.customer"),
    ({"model": ""}, "data.model"),
    ({"usage": {"input_tokens": 1.5}}, "data.usage"),
    ({"usage": {"input_tokens": True}}, "data.usage"),
    ({"usage": {"input_tokens": "3"}}, "data.usage"),
    ({"usage": {"gpu_seconds": 1}}, "data.usage"),
    ({"usage": {"input_tokens": -1}}, "data.usage"),
    ({"usage": []}, "data.usage"),
    ({"occurred_at": "yesterday"}, "data.occurred_at"),
    ({"occurred_at": 1_709_251_199}, "data.occurred_at"),
    ({"license": "a b"}, "data.license"),
    ({"request_hash": "0A" * 32}, "data.request_hash"),
    ({"response_hash": "0a" * 31}, "data.response_hash"),
    ({"surprise": 1}, "data.surprise"),
    ({"id": "another"}, "data.id"),
    ({"source": "//another"}, "data.source"),
    ({"reservation": "r-2"}, "data.reservation"),
]


@pytest.mark.parametrize(("data", "field"), MALFORMED_DATA)
def test_a_malformed_field_of_the_data_is_named(data: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        usage_command(changed(data))
    assert refused.value.facts["field"] == field


def test_a_part_is_of_a_reservation() -> None:
    customer = EVENT["data"]["customer"]
    with pytest.raises(Invalid, match="absent without a reservation") as refused:
        usage_command({**changed({"final": False}), "subject": customer})
    assert refused.value.facts["field"] == "data.final"
    assert usage_command({**changed({"final": True}), "subject": customer}).final is None
    assert usage_command({**changed({"final": False}), "subject": "r-1"}).final is False


@pytest.mark.parametrize("name", ["specversion", "type", "source", "id", "subject", "data"])
def test_what_is_required_must_be_present(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        usage_command({key: value for key, value in EVENT.items() if key != name})
    assert refused.value.facts["field"] == name


@pytest.mark.parametrize("event", [None, 1, "x", [], [EVENT], True])
def test_what_is_no_object_is_refused(event: Any) -> None:
    with pytest.raises(Invalid):
        usage_command(event)


@pytest.mark.parametrize("data", [None, 1, "x", [], True])
def test_data_that_is_no_object_is_refused(data: Any) -> None:
    with pytest.raises(Invalid) as refused:
        usage_command({**EVENT, "data": data})
    assert refused.value.facts["field"] == "data"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([*EVENT, *EVENT["data"], "other"]), JSON)
def test_no_json_value_anywhere_raises_anything_but_invalid(name: str, value: Any) -> None:
    event = changed({name: value}) if name in EVENT["data"] else {**EVENT, name: value}
    with suppress(Invalid):
        assert isinstance(usage_command(event), ChargeUsage)


@given(st.sampled_from(["occurred_at", "final", *EVENT["data"]]), JSON)
def test_a_record_is_read_alike_from_values_and_from_their_text(name: str, value: Any) -> None:
    """Code may give an instant as a number; the wire may not, however the command is made."""
    body = {**EVENT["data"], "id": "i-1", "source": "//gateway/7", "reservation": "r-1"}
    body |= {"occurred_at": WHEN, name: value}
    made = _made(body)
    with suppress(Invalid):
        read = parse(ChargeUsage.KIND, body)
        assert made is None or made == read
        return
    assert made is None
