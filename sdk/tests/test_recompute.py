"""The recomputation on the ledger of docs/formats/events.md: clean as it is, and not otherwise."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook import canonical, merkle
from tollbook.amounts import format_pico, parse_pico
from tollbook.recompute import Envelope, Report, Totals, recompute
from tollbook.times import format_instant

FORMATS = Path(__file__).parents[2] / "docs" / "formats"
PAGE = (FORMATS / "events.md").read_text(encoding="utf-8")
VECTORS = json.loads(PAGE.partition("```json vectors\n")[2].partition("```")[0])
ROWS: list[tuple[Any, ...]] = [tuple(row[:14]) for row in VECTORS["events"]]

SEED = int(os.environ.get("TOLLBOOK_SEED", "0"))
EVERY = 1 if int(os.environ.get("TOLLBOOK_EXAMPLES", "20")) >= 200 else 3
"""Every third change is tried, which ones by the seed of the run; and in CI all of them."""

FREE = {
    # Prices of tiers that nobody reached.
    *((1, f"models.0.tiers.{path}") for path in ("1.up_to", "2.input", "2.output")),
    # What somebody chose, where another choice would have come to the same.
    *((2, "name_sealed"), (4, "priority"), (3, "expires_at"), (17, "final")),
    *((18, "amount"), (18, "priority"), (19, "reader")),
    # Texts, and the names of sources, which only the table of ids knows as well.
    *((9, "detail"), (12, "reason"), (8, "source"), (16, "source")),
    *((at, "detail") for at in (20, 21, 25, 26, 27)),
    # Usage that nobody has released.
    *((at, f"body.{path}") for at in (26, 27) for path in ("model", "occurred_at")),
    *((at, "body.usage.input_tokens") for at in (26, 27)),
    # The guarded customer: what nobody reached, and what a blocked account had asked for.
    *((29, "credit_limit"), (29, "name_sealed"), (38, "reason"), (39, "body.reason")),
    *((37, "body.estimate.requests"), (37, "body.model")),
    *((at, "source") for at in (31, 32, 35)),
    *((at, "detail") for at in (34, 37, 39, 40, 43)),
    # Words about a model, which nobody checks here.
    *((46, "reason"), (47, "note")),
    # The licensed customer: words, hashes, and what nobody reached.
    *((48, "name_sealed"), (65, "final"), (90, "model")),
    *((at, "request_hash") for at in (56, 57, 60, 65)),
    *((at, "response_hash") for at in (60, 65)),
    *((at, "source") for at in (60, 66)),
    *((52, "reference"), (79, "reason"), (94, "reference"), (95, "reason")),
    *((at, "detail") for at in (53, 55, 61, 63, 69, 72, 73, 76, 78, 80, 83, 87, 88)),
    *((at, "detail") for at in (91, 93, 96, 97)),
    # Keys and components that nobody showed, ends that nobody came to, a holder, a label.
    *((75, "key_hash"), (89, "key_hash"), (52, "key_hint"), (75, "key_hint"), (89, "key_hint")),
    *((52, "expires_at"), (94, "expires_at"), (94, "maintenance_until")),
    *((54, "components.disk"), (54, "facts.region"), (84, "components.board")),
    (74, "holder"),
    # What the licence took from the template it replaced, or never decided on.
    *((51, f"policy.{path}") for path in ("features.0", "models.0", "models.1")),
    *((81, f"policy.{path}") for path in ("hardware.required", "models.0", "models.1")),
    *(
        (81, f"policy.limits.{number}.{field}")
        for number in range(3)
        for field in ("id", "limit", "per", "unit")
    ),
    (81, "policy.limits.1.models.0"),
    # Of lines as of charges: hashes, the source, and of the second what the table of ids knows.
    *((125, f"lines.0.{field}") for field in ("request_hash", "response_hash")),
    *((125, "source"), (125, "lines.1.id"), (125, "lines.1.occurred_at")),
    # Facts that the check which refused came before, or that another channel looks at.
    *(
        (at, f"body.{path}")
        for at in (53, 76)
        for path in ("facts.country.from", "facts.country.value", "facts.environment")
    ),
    *((at, f"body.{path}") for at in (53, 76) for path in ("facts.model_version", "model")),
    *((76, "body.license_key"), (63, "body.facts.country")),
    *((at, f"body.facts.country.{path}") for at in (87,) for path in ("from", "value")),
    *((at, f"{path}.environment") for at, path in ((68, "facts"), (70, "facts"), (74, "facts"))),
    *((at, "facts.hardware.disk") for at in (68, 70, 74)),
    *((at, "body.facts.environment") for at in (69, 73)),
    *((at, "body.facts.hardware.disk") for at in (69, 73)),
    *((69, "body.holder"), (73, "body.holder"), (73, "body.borrow_seconds")),
    *((55, "body.components.board"), (55, "body.components.cpu"), (93, "body.model")),
    *((78, "body.estimate.gpu_seconds"), (97, "body.estimate.input_tokens"), (97, "body.model")),
    *((88, f"body.{path}") for path in ("model", "occurred_at", "usage.input_tokens")),
    # The fraud case: words, names of signs, and what only whoever scores the log again can tell.
    *((98, path) for path in ("reason", "rule", "seen", "signs.0.0", "signs.1.0")),
    *((99, "reason"), (100, "detail"), (100, "body.reason"), (101, "reason")),
    # Pipelines: hashes, words, and what a refused one had asked for that no rule came to.
    *((104, "request_hash"), (105, "stages.0.request_hash"), (109, "detail"), (116, "detail")),
    *((109, f"facts.first_outcome.{path}") for path in ("id", "released")),
    *((109, f"body.stages.0.{path}") for path in ("stage", "usage.input_tokens")),
    *((109, "body.pipeline"), (116, "body.customer")),
    *((at, "reason") for at in (113, 114, 115)),
    # Several inferences: words, a source, and what another limit refused before.
    *((121, "detail"), (121, "body.estimate.input_tokens"), (123, "source")),
    *((121, "body.facts.model_version"), (122, "facts.model_version")),
}
"""The (position, path) of payload fields whose change contradicts nothing else in the vectors."""


NUMBERS = (
    *("position", "name", "version", "stream", "stream_version", "customer"),
    *("customer_sequence", "recorded_at"),
)


def entry(row: tuple[Any, ...]) -> bytes:
    """Write the entry of a row as docs/formats/events.md says."""
    head = ["tollbook/event/1", *row[:13]]
    line = json.dumps(head, ensure_ascii=False, separators=(",", ":"))
    return f"{line}\n{row[13]}".encode()


def changed(row: tuple[Any, ...], **envelope: Any) -> tuple[Any, ...]:
    """Return a row with other envelope fields."""
    return tuple(Envelope(*row)._replace(**envelope))


def with_row(position: int, row: tuple[Any, ...]) -> Report:
    """Recompute the vectors with one row in place of another."""
    return recompute([*ROWS[: position - 1], row, *ROWS[position:]], whole=True)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield every value of a document that holds no other, with the way to it."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, member in pairs:
            yield from leaves(member, (*path, key))
    else:
        yield path, value


def other(value: Any) -> Any:
    """Return another value of the same form."""
    if isinstance(value, bool):
        return not value
    if value is None:
        return 1
    if isinstance(value, int):
        return value + 1
    if re.fullmatch(r"[0-9]+\.[0-9]{12}", value):
        return format_pico(parse_pico(value) + 1)
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return value + ("1" if "." in value else ".1")
    if re.fullmatch(r"[0-9-]{10}T.*", value):
        return value[:17] + ("31" if value[17:19] != "31" else "32") + value[19:]
    return value + "x"


def payload_changes(position: int) -> Iterator[tuple[str, str]]:
    """Yield the ways to the fields of a payload, each with the payload in which it is another."""
    text = ROWS[position - 1][13]
    for path, value in leaves(json.loads(text)):
        copy = json.loads(text)
        place = copy
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = other(value)
        yield ".".join(map(str, path)), canonical.dumps(copy).decode()


def some(of: Iterable[Any], position: int) -> list[Any]:
    """Return the changes of an event that are tried; the next event's are the next ones."""
    return list(of)[(SEED + position) % EVERY :: EVERY]


def test_the_leaf_hashes_and_the_root_are_those_of_the_page() -> None:
    hashes = [merkle.leaf_hash(entry(row)) for row in ROWS]
    assert [leaf.hex() for leaf in hashes] == [row[14] for row in VECTORS["events"]]
    assert merkle.root_of(hashes).hex() == VECTORS["root"]


def test_the_ledger_of_the_page_has_no_difference() -> None:
    report = recompute(ROWS, whole=True)
    assert (report.ok, report.differences, report.events, report.position) == (True, [], 125, 125)
    assert report.customers == {
        "acme": Totals(
            currency="USD",
            charged=parse_pico("0.0875800005"),
            from_balance=parse_pico("0.07558"),
            receivable=parse_pico("0.0120000005"),
            balance=parse_pico("0.9997"),
            held=0,
            input_tokens=9000,
            output_tokens=650,
        ),
        "bolt": Totals(
            currency="USD",
            charged=parse_pico("0.001753"),
            from_balance=parse_pico("0.001753"),
            receivable=0,
            balance=parse_pico("0.997997"),
            held=parse_pico("0.00025"),
            input_tokens=0,
            output_tokens=0,
        ),
        "cora": Totals(
            currency="USD",
            charged=parse_pico("0.0010574"),
            from_balance=parse_pico("0.0010574"),
            receivable=0,
            balance=parse_pico("0.9988906"),
            held=parse_pico("0.000052"),
            input_tokens=574,
            output_tokens=0,
        ),
    }


def test_events_may_be_given_as_http_answers_them() -> None:
    objects = []
    for row in ROWS:
        event = Envelope(*row)._asdict()
        event["data"] = json.loads(row[13])
        event |= {name: format_instant(event[name]) for name in ("occurred_at", "recorded_at")}
        objects.append(event)
    assert recompute(objects, whole=True) == recompute(ROWS, whole=True)


@pytest.mark.parametrize("position", range(1, len(ROWS) + 1))
def test_every_field_that_something_depends_on_is_checked(position: int) -> None:
    wrong = {}
    for field, data in some(payload_changes(position), position):
        report = with_row(position, changed(ROWS[position - 1], data=data))
        if report.ok != ((position, field) in FREE):
            wrong[field] = report.differences
    assert wrong == {}


@pytest.mark.parametrize("position", range(2, len(ROWS) + 1))
def test_every_number_of_the_envelope_is_checked(position: int) -> None:
    unnoticed = []
    for field in some(NUMBERS, position):
        value = getattr(Envelope(*ROWS[position - 1]), field)
        if field == "recorded_at":  # a minute back, behind the event before or out of its own hold
            value -= 120_000_001
        else:
            value = "acme" if value is None else other(value)
        if with_row(position, changed(ROWS[position - 1], **{field: value})).ok:
            unnoticed.append(field)
    assert unnoticed == []


@pytest.mark.parametrize("position", range(1, len(ROWS)))
def test_a_missing_event_is_noticed(position: int) -> None:
    report = recompute([*ROWS[: position - 1], *ROWS[position:]], whole=True)
    assert report.differences[0].position == position + 1
    assert report.differences[0].what == "position"


def test_a_missing_event_of_a_customer_is_noticed_without_the_rest_of_the_ledger() -> None:
    report = recompute(ROWS[:11] + ROWS[12:])
    assert "reservation_held.order" not in [each.what for each in report.differences]
    assert report.differences[0].what == "customer_sequence"


def test_events_out_of_order_are_noticed() -> None:
    swapped = [*ROWS[:4], ROWS[5], ROWS[4], *ROWS[6:]]
    assert [each.position for each in recompute(swapped).differences][:2] == [6, 6]


@given(st.integers(0, len(ROWS) - 1), st.data())
def test_a_payload_of_any_form_is_a_difference_and_never_an_error(
    index: int, data: st.DataObject
) -> None:
    document = json.loads(ROWS[index][13])
    field = data.draw(st.sampled_from(sorted(document)))
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=4,
    )
    document[field] = data.draw(junk)
    text = json.dumps(document)
    with_row(index + 1, changed(ROWS[index], data=text))


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"a":1.5}', "nul", "[" * 5000])
def test_a_payload_that_is_no_object_is_a_difference(text: str) -> None:
    assert not with_row(5, changed(ROWS[4], data=text)).ok


@pytest.mark.parametrize("event", [(), (1, 2), {}, {"position": 1}, 7, None])
def test_what_is_no_event_is_a_difference(event: Any) -> None:
    assert not recompute([event]).ok


def test_a_report_lists_a_thousand_differences_and_counts_them_all() -> None:
    report = recompute([{} for _ in range(1500)])
    assert (len(report.differences), report.ok) == (1000, False)
    assert report.differences_total >= 1500
    assert "expected" in str(report.differences[0])
