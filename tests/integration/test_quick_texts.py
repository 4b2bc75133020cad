"""Quick texts: what is written and read by the text alone is what the general way makes of it."""

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook import canonical
from tollbook.errors import Tampered

from adapters.event_store import mapper
from adapters.event_store.brief import decode_briefly, decode_likewise
from adapters.event_store.held import held, reservation_held
from adapters.event_store.mapper import decode, encode
from adapters.event_store.recorder import snapshot_from
from adapters.event_store.snapshot_text import snapshot_text
from application.ports import Snapshot
from domain.balance import Balance
from domain.event import Event
from domain.events import ReservationHeld, ReservationSettled
from domain.holds import Hold, Holds
from domain.inferences import InferencesSettled, Line
from domain.reservation import evolve
from domain.state import balance_to_wire, untouched_since
from domain.units import COUNTED, MEASURED
from tests.domain.state_values import balances

ids = st.text("abcXYZ019._:-", min_size=1, max_size=12)
names = st.text("abcXYZ019._:/@+-", min_size=1, max_size=12)
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
)
amounts = st.sampled_from([0, 1, 10**12]) | st.integers(0, 10**27)
instants = st.integers(0, 253_402_300_799_999_999)
counts = st.integers(1, 10**10)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
usages = st.dictionaries(
    st.sampled_from(sorted(COUNTED | MEASURED | {"else"})), st.integers(0, 10**15), max_size=4
).map(lambda usage: {unit: usage[unit] for unit in sorted(usage)})
grants = st.lists(st.tuples(ids, amounts), max_size=3).map(tuple)
decisions = st.fixed_dictionaries(
    {"policy": st.sampled_from(["enterprise/1", "a}", '"', "\\", "é"])},
    optional={"remaining": st.just([["day", 7, None], ["all", "1.5", "2030-01-01T00:00:00Z"]])},
)

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "charged": amounts,
    "credit": amounts,
    "customer": ids,
    "decision": st.none() | decisions,
    "estimate": usages,
    "expires_at": instants,
    "facts": st.none() | st.just({}),
    "final": st.booleans(),
    "from_balance": amounts,
    "grants": grants,
    "held": amounts,
    "inference": st.none() | st.just(True),
    "inferences": st.none() | counts,
    "license": st.none() | ids,
    "license_key": st.none() | st.text("0123456789abcdef", min_size=32, max_size=32),
    "licensed": st.none() | ids,
    "model": names,
    "occurred_at": st.none() | instants,
    "period": st.just("2026-11"),
    "price_book": ids,
    "price_version": counts,
    "receivable": amounts,
    "record": st.none() | texts,
    "released": amounts,
    "request_hash": st.none() | digests,
    "reservation": ids,
    "response_hash": st.none() | digests,
    "source": st.none() | texts,
    "ttl_seconds": st.none() | counts,
    "usage": usages,
    "volume": st.integers(0, 2**53),
}
_LINES = {"grants": st.none() | grants, "credit": st.none() | amounts, "id": texts}
_LINES |= {"receivable": st.none() | amounts}


def made(kind: type[Any], **others: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return any payload of a kind: all fields are given, so that a new one is not forgotten."""
    known = _VALUES | others
    return st.builds(kind, **{each.name: known[each.name] for each in fields(kind)})


all_held = made(ReservationHeld)
lines = st.lists(made(Line, **_LINES), min_size=1, max_size=3).map(tuple)
written = made(ReservationSettled) | all_held | made(InferencesSettled, lines=lines)


@given(written)
def test_what_is_written_quickly_is_what_the_general_encoder_writes(event: Event) -> None:
    assert encode(event) == mapper._encoded(event)
    assert decode(event.NAME, event.VERSION, encode(event)) == event


@given(all_held, instants)
def test_a_hold_is_read_by_its_text_as_by_its_form(event: ReservationHeld, at: int) -> None:
    text = encode(event).decode()
    for read in (decode_briefly, decode_likewise):
        assert read(event.NAME, event.VERSION, text) == event
    opened = reservation_held(text, at)
    assert opened in (None, evolve(None, event, at, "any"))
    assert (opened is None) == (held(text) is None)
    assert opened is not None or event.facts is not None or event.decision is not None


EXAMPLE = (
    '{"credit":"0.000000000000","customer":"cust-1","decision":{"policy":"enterprise/1"},'
    '"estimate":{"input_tokens":1000},"expires_at":"2026-11-23T00:10:00.723503Z",'
    '"grants":[["g-1","0.020000000000"],["g-2","0.005000000000"]],"held":"0.025000000000",'
    '"inferences":7,"license":"lic-1","model":"gpt4","reservation":"i-1","ttl_seconds":300}'
)


def test_a_usual_hold_is_known_by_its_text() -> None:
    event = decode("reservation_held", 1, EXAMPLE)
    assert held(EXAMPLE) == event
    assert reservation_held(EXAMPLE, 5) == evolve(None, event, 5, "any")


def test_two_holds_of_one_text_share_nothing_that_could_be_changed() -> None:
    one, other = held(EXAMPLE), held(EXAMPLE)
    assert one is not None and other is not None
    one.estimate["output_tokens"] = 1
    assert other.estimate == {"input_tokens": 1000}
    opened = reservation_held(EXAMPLE, 5)
    assert opened is not None and opened.estimate == {"input_tokens": 7000, "requests": 7}


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ('"credit":"0.000000000000"', '"credit":"0.0"'),
        ('"credit":"0.000000000000"', '"credit":0'),
        ('"held":"0.025000000000"', '"held":"-0.025000000000"'),
        ('"customer":"cust-1"', '"customer":"cust 1"'),
        ('"customer":"cust-1"', '"customer":"cust-1","customer":"cust-2"'),
        ('{"policy":"enterprise/1"}', "{}"),
        ('{"policy":"enterprise/1"}', "{not JSON}"),
        ('{"policy":"enterprise/1"}', '{"policy":"enterprise/1",}'),
        ('{"policy":"enterprise/1"}', '{"policy":"enterprise/1","remaining":[]}'),
        ('{"policy":"enterprise/1"}', '{"policy":"enterprise/1","remaining":[["a",01,"Z"]]}'),
        ('{"policy":"enterprise/1"}', '{"policy":"enterprise/1","remaining":[["a",1,"Z"]'),
        ('{"policy":"enterprise/1"}', '{"policy":"enterprise/1","policy":"enterprise/2"}'),
        ('{"input_tokens":1000}', '{"input_tokens":1000.5}'),
        ('{"input_tokens":1000}', '{"input_tokens":-1}'),
        ('{"input_tokens":1000}', '{"input_tokens":{}}'),
        ('{"input_tokens":1000}', '{"input_tokens":1000'),
        ('{"input_tokens":1000}', f'{{"input_tokens":{"[" * 9_000}{"]" * 9_000}}}'),
        ("2026-11-23T00", "2026-13-23T00"),
        ("2026-11-23T00", "2026-11-31T00"),
        ("723503Z", "723503+01:00"),
        (
            '"0.020000000000"],[',
            '"0.020000000000"][',
        ),
        ('"0.005000000000"]]', '"0.005000000000"],]'),
        ('"inferences":7', '"inferences":07'),
        ('"inferences":7', '"inferences":-7'),
        ('"license":"lic-1",', '"license":"lic-1","other":1,'),
        ('"reservation":"i-1"', '"reservation":"i-\\u0031"'),
        ('"ttl_seconds":300}', '"ttl_seconds":300} '),
        ('"ttl_seconds":300}', '"ttl_seconds":300}x'),
        ('"ttl_seconds":300}', '"ttl_seconds":300,"facts":{}}'),
    ],
)
def test_a_hold_in_another_form_is_read_as_every_other_payload(part: str, other: str) -> None:
    assert EXAMPLE.count(part) == 1
    changed = EXAMPLE.replace(part, other)
    assert held(changed) is None
    assert reservation_held(changed, 5) is None
    try:
        expected = decode("reservation_held", 1, changed)
    except Tampered:
        for read in (decode_briefly, decode_likewise):
            with pytest.raises(Tampered):
                read("reservation_held", 1, changed)
    else:
        assert decode_likewise("reservation_held", 1, changed) == expected


@given(balances(), st.integers(0, 2**53 - 1))
def test_a_snapshot_is_written_as_canonical_json_writes_it(balance: Balance, position: int) -> None:
    state = {"position": position, "opened": {}, "balance": balance_to_wire(balance)}
    before, after = canonical.dumps(state).split(b'"opened":{}')
    # Microseconds from the year 2255 on are no integers of canonical JSON, which refuses them.
    since = json.dumps(untouched_since(balance), sort_keys=True, separators=(",", ":"))
    expected = before + b'"opened":' + since.encode() + after
    assert snapshot_text(Snapshot(balance, position)).encode() == expected


@given(balances(), st.integers(0, 2**53 - 1))
def test_a_snapshot_is_read_as_it_was_written(balance: Balance, position: int) -> None:
    snapshot = Snapshot(balance, position)
    read = snapshot_from(snapshot_text(snapshot))
    expiry = read.balance.next_expiry  # what is kept for speed alone
    assert read == snapshot._replace(balance=balance._replace(next_expiry=expiry))


@given(balances())
def test_a_snapshot_of_an_older_program_says_of_no_hold_that_it_is_untouched(
    balance: Balance,
) -> None:
    written = json.loads(snapshot_text(Snapshot(balance, 1)))
    del written["opened"]
    read = snapshot_from(json.dumps(written))
    assert untouched_since(read.balance) == {}
    assert balance_to_wire(read.balance) == balance_to_wire(balance)


def test_a_snapshot_of_thousands_of_holds_is_no_other() -> None:
    hold = Hold(25 * 10**9, 7, (("grant-1", 20 * 10**9),), 5 * 10**9, "gpt4", {"pages": 7})
    hold = hold._replace(opened_at=2**50, untouched=True)
    every = {f"i-{number}": hold._replace(expires_at=number) for number in range(3_000)}
    balance = Balance(holds=Holds.of(every))
    assert len(balance.holds) == 3_000
    opened = untouched_since(balance)
    assert len(opened) == 3_000
    state = {"position": 1, "opened": opened, "balance": balance_to_wire(balance)}
    expected = canonical.dumps(state, max_bytes=10**7)
    assert snapshot_text(Snapshot(balance, 1)).encode() == expected
