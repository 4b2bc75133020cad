"""Quick texts that somebody changed: they are read as the general way reads them, or not at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.errors import Invalid, Tampered
from tollbook.times import MAX_INSTANT, format_instant, parse_instant

from adapters.event_store import mapper
from adapters.event_store.brief import decode_briefly, decode_likewise
from adapters.event_store.held import held, reservation_held
from adapters.event_store.mapper import decode, encode
from application.usage_intake import SPEC_VERSION, TYPE, charge_of, usage_command
from domain.buckets import Buckets
from domain.commands import ChargeUsage, parse
from domain.event import Event
from domain.events import ReservationHeld
from domain.reservation import evolve
from tests.integration.test_quick_texts import EXAMPLE, all_held, written

NAME, VERSION = ReservationHeld.NAME, ReservationHeld.VERSION
_SIGNS = st.sampled_from(list('{}[]",:.\\ \n\t0179-+eEZT_aznulé\x7f\x01\ud7ff'))


def cut_and_mended(draw: st.DrawFn, text: str) -> str:
    """Change a few places of a text; each may be cut out, written over or added to."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        until = min(len(text), at + draw(st.sampled_from([0, 1, 1, 1, 2, 12])))
        text = text[:at] + draw(st.just("") | _SIGNS | st.just(text[at:until] * 2)) + text[until:]
    return text


@st.composite
def changed(draw: st.DrawFn) -> str:
    """Change the text of a hold."""
    text = draw(st.just(EXAMPLE) | all_held.map(lambda event: encode(event).decode()))
    return cut_and_mended(draw, text)


@st.composite
def changed_payloads(draw: st.DrawFn) -> tuple[str, int, str]:
    """Change the text of anything that is written quickly; with its name and version."""
    event = draw(written)
    return event.NAME, event.VERSION, cut_and_mended(draw, encode(event).decode())


def general(text: str) -> Event | None:
    """Return what the general way makes of a hold; None where it refuses the text."""
    try:
        return decode(NAME, VERSION, text)
    except Tampered:
        return None


@given(changed())
def test_a_changed_hold_is_read_as_the_general_way_reads_it_or_not_at_all(text: str) -> None:
    expected, found = general(text), held(text)
    assert found is None or found == expected
    opened = reservation_held(text, 5)
    assert opened is None or (expected is not None and opened == evolve(None, expected, 5, "any"))
    for read in (decode_briefly, decode_likewise):
        if expected is None:
            with pytest.raises(Tampered):
                read(NAME, VERSION, text)
        else:
            assert read(NAME, VERSION, text) == expected


@given(changed_payloads())
def test_what_a_changed_payload_says_is_written_as_the_general_encoder_writes_it(
    payload: tuple[str, int, str],
) -> None:
    # An audit writes what it has read anew, and compares: whatever somebody put into a row.
    try:
        event = decode(*payload)
    except Tampered:
        return
    assert encode(event) == mapper._encoded(event)


@pytest.mark.parametrize("depth", [101, 300, 100_000])
def test_a_decision_that_is_too_deep_is_told_as_of_any_other_payload(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    text = EXAMPLE.replace('{"policy":"enterprise/1"}', f'{{"policy":{nested}}}')
    assert held(text) is None
    if depth > 200:
        with pytest.raises(Tampered):
            decode_likewise(NAME, VERSION, text)
    else:
        assert decode_likewise(NAME, VERSION, text) == decode(NAME, VERSION, text)


@given(st.integers(0, MAX_INSTANT // 10**6), st.sampled_from(["", ".5", ".000000", ".123456789"]))
def test_a_time_of_every_precision_is_the_same_instant_with_z_and_with_an_offset(
    second: int, fraction: str
) -> None:
    whole = format_instant(second * 10**6)[:19]
    assert parse_instant(f"{whole}{fraction}Z") == parse_instant(f"{whole}{fraction}+00:00")


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00Z\n",
        "2026-01-01T00:00:0\u0660Z",
        "+026-01-01T00:00:00Z",
        "Z",
    ],
)
def test_what_is_no_time_to_the_second_is_none_either_way(text: str) -> None:
    with pytest.raises(Invalid):
        parse_instant(text)


USUAL: dict[str, Any] = {
    "specversion": SPEC_VERSION,
    "type": TYPE,
    "source": "gateway",
    "id": "inf_1",
    "subject": "rsv_1",
    "time": "2026-03-01T12:00:00Z",
    "data": {
        "customer": "ada",
        "model": "text",
        "usage": {"requests": 1},
        "occurred_at": "2026-03-01T12:00:00Z",
    },
}
_ODD: tuple[Any, ...] = (
    None,
    "",
    0,
    1,
    True,
    1.5,
    [],
    {},
    "x",
    "\0",
    "\ud800",
    "a" * 513,
    "1.0",
    TYPE,
)


@pytest.mark.parametrize("name", [name for name in USUAL if name != "data"])
@pytest.mark.parametrize("value", _ODD, ids=lambda value: ascii(value)[:12])
def test_an_envelope_of_the_usual_attributes_is_answered_as_one_with_another(
    name: str, value: Any
) -> None:
    usual = {**USUAL, name: value}
    assert answered(usual) == answered({**usual, "datacontenttype": "application/json"})


def answered(event: dict[str, Any]) -> Any:
    """Return the command that an event is, or what is wrong with it."""
    try:
        return usage_command(event)
    except Invalid as error:
        return error.message, error.facts


BODY = {**USUAL["data"], "id": "inf_1", "source": "gateway", "reservation": "rsv_1"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        *({name: value} for name in [*BODY, "final", "license", "more"] for value in _ODD),
        {"final": False, "request_hash": "ab" * 32, "response_hash": "AB" * 32},
        {"occurred_at": 1},
        {"usage": {"requests": -1}},
        {"usage": {"requests": 10**15}},
        {"usage": {"requests": 10**15 + 1}},
        {"usage": {"gpu_seconds": "1.5", "pages": 0}},
        {"usage": {"gpu_seconds": 1.5}},
        {"usage": {1: 1}},
    ],
    ids=lambda more: ascii(more)[:40],
)
def test_the_body_of_a_charge_is_read_as_every_command_is(more: dict[str, Any]) -> None:
    body = {**BODY, **more}

    def read(way: Any, *given: Any) -> Any:
        try:
            return way(*given, body)
        except Invalid as error:
            return error.message, error.facts

    assert read(charge_of) == read(parse, ChargeUsage.KIND)


@given(st.dictionaries(st.text("abc12", min_size=1, max_size=4), st.integers(), max_size=40))
def test_a_map_that_is_made_at_once_shares_nothing_with_what_it_is_made_of(
    values: dict[str, int],
) -> None:
    made, expected = Buckets.of(values), Buckets[int]()
    for name, value in values.items():
        expected = expected.put(name, value)
    assert made == expected
    for name, value in list(values.items()):
        assert made.get(name) == value
        later = made.drop(name).put("new", 7)
        assert made.get(name) == value
        assert made.get("new") is None
        assert later.get(name) is None
    values["other"] = 1
    assert made == expected
