"""Hostile values in every field of every command: each is refused as Invalid, and nothing else."""

import dataclasses
import gc
import json
import weakref
from collections import defaultdict
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.errors import Invalid

from domain.command import Command
from domain.commands import COMMANDS, parse, wire_body
from tests.domain.full_commands import FULL

HOSTILE: list[Any] = [
    *(True, False, 0.5, 1e300, float("nan"), float("inf"), -1, 2**63, 10**40, 10**5000),
    *(" ", "٣", "\u202e", "'; DROP TABLE events; --", "../../etc/pass wd", "a\n", "1,5", "{}"),
    *("\ud800", "a\x00b", "x" * 100_000),
    *([], [[]], {}, {"a": {}}, [None], {"": 1}, {"requests": 1.0}, {"requests": True}),
    *({"\ud800": 1}, b"bytes", object(), {1, 2}),
]

FREE_TEXTS = {
    *(("settle", "id"), ("usage", "id"), ("publish_prices", "id"), ("release", "reason")),
    *(("usage", "source"), ("park_usage", "id"), ("park_usage", "source")),
    ("park_usage", "reason"),
    *(("unblock", "reason"), ("flag_customer", "reason")),
    *(("clear_case", "reason"), ("confirm_case", "reason")),
    *(("register_model", "id"), ("release_model_version", "id"), ("yank_model_version", "id")),
    *(("yank_model_version", "reason"), ("publish_export_list", "id")),
    ("publish_export_list", "note"),
    *(("issue_license", "reference"), ("renew_license", "reference")),
    *(("suspend_license", "reason"), ("reinstate_license", "reason")),
    ("revoke_license", "reason"),
    *(("publish_pipeline", "id"), ("release_pipeline", "reason")),
}
"""Fields that take any characters, up to a limit, that a database can keep."""


MAY_BE_EMPTY = {("reserve_pipeline", "stages")}
"""Lists of a name that others have as well, which must not be empty there."""


def every_field() -> list[tuple[str, str]]:
    """List (kind, field) for every field of every command."""
    return [(kind, field) for kind, body in FULL.items() for field in body]


def is_good(kind: str, field: str, value: Any) -> bool:
    """Say whether one of the hostile values happens to be a good one for a field."""
    if field == "final":
        return isinstance(value, bool)
    if field in {"estimate", "usage", "facts", "components", "overrides"}:
        return isinstance(value, dict) and not value
    if field in {"caps", "provenance", "countries"} or (kind, field) in MAY_BE_EMPTY:
        return isinstance(value, list) and not value
    if not isinstance(value, str) or (kind, field) not in FREE_TEXTS:
        return False
    return len(value) < 100 and not {"\x00", "\ud800"} & {*value}


def test_every_command_and_every_field_is_attacked() -> None:
    for kind, body in FULL.items():
        command: Any = COMMANDS[kind]
        assert {field.name for field in dataclasses.fields(command)} == set(body)
    assert FULL.keys() == COMMANDS.keys()


@pytest.mark.parametrize("kind", FULL)
def test_a_full_body_is_accepted_and_written_back_as_it_came(kind: str) -> None:
    command = parse(kind, FULL[kind])
    assert isinstance(command, Command)
    wire = {**wire_body(command), "id": command.id}
    assert parse(kind, wire) == command
    assert json.loads(json.dumps(wire)) == wire
    assert list(wire_body(command)) == sorted(wire_body(command))


@pytest.mark.parametrize(("kind", "field"), every_field())
def test_a_hostile_value_is_refused_by_naming_field_value_and_rule(kind: str, field: str) -> None:
    for value in HOSTILE:
        if is_good(kind, field, value):
            parse(kind, {**FULL[kind], field: value})
            continue
        with pytest.raises(Invalid) as refused:
            parse(kind, {**FULL[kind], field: value})
        facts = refused.value.facts
        named = str(facts["field"])
        # What is not even JSON is refused as a whole.
        assert named == "body" or named.partition(".")[0] == field
        assert facts["rule"]
        assert json.dumps(refused.value.problem()).isascii(), "a problem can always be sent"


REQUIRED = {
    "create_customer": {"id", "name_sealed", "currency"},
    "change_customer": {"id", "customer"},
    "issue_grant": {"id", "customer", "amount", "kind"},
    "publish_prices": {"id", "book"},
    "reserve": {"id", "customer", "model", "estimate"},
    "extend": {"id", "reservation"},
    "settle": {"id", "reservation", "usage"},
    "release": {"id", "reservation"},
    "usage": {"id", "source", "customer", "model", "usage", "occurred_at"},
    "park_usage": {"id", "source", "customer", "model", "usage", "occurred_at", "reason"},
    "release_usage": {"id", "parked"},
    "unblock": {"id", "customer", "reason"},
    "flag_customer": {"id", "customer", "reason"},
    "clear_case": {"id", "case", "reason"},
    "confirm_case": {"id", "case", "reason"},
    "set_caps": {"id", "customer", "caps"},
    "raise_min_reader": {"id", "reader"},
    "register_model": {"id", "model"},
    "release_model_version": {"id", "model", "version"},
    "yank_model_version": {"id", "model", "version", "reason"},
    "publish_export_list": {"id", "countries"},
    "issue_license": {"id", "customer", "template", "key_hash", "key_hint"},
    "activate_license": {"id", "license"},
    "deactivate_license": {"id", "license", "device"},
    "renew_license": {"id", "license", "expires_at"},
    "upgrade_license": {"id", "license"},
    "suspend_license": {"id", "license", "reason"},
    "reinstate_license": {"id", "license"},
    "revoke_license": {"id", "license", "reason"},
    "expire_license": {"id", "license"},
    "rotate_license_key": {"id", "license", "key_hash", "key_hint"},
    "validate_license": {"id", "license", "model"},
    "lease_seat": {"id", "license", "model", "holder"},
    "renew_lease": {"id", "license", "lease"},
    "return_lease": {"id", "license", "lease"},
    "publish_policy": {"id", "name", "policy"},
    "publish_pipeline": {"id", "pipeline", "stages"},
    "reserve_pipeline": {"id", "customer", "pipeline"},
    "settle_pipeline": {"id", "pipeline", "reserved", "stages"},
    "release_pipeline": {"id", "pipeline", "reserved"},
}
NEVER_NULL: defaultdict[str, set[str]] = defaultdict(
    set,
    create_customer={"credit_limit", "time_zone", "price_book", "plan"},
    issue_grant={"priority"},
    settle={"final"},
    issue_license={"deployment"},
    rotate_license_key={"overlap_seconds"},
    reserve_pipeline={"stages"},
)
"""Fields that have a default which is not null."""


def refused_field(kind: str, body: Any) -> object:
    """Return which field a command is refused for; None where it is not."""
    try:
        parse(kind, body)
    except Invalid as refused:
        return refused.facts["field"]
    return None


@pytest.mark.parametrize("kind", FULL)
def test_a_field_that_is_null_is_refused_or_means_that_it_is_absent(kind: str) -> None:
    for field in FULL[kind]:
        nulled = {**FULL[kind], field: None}
        absent = {name: value for name, value in FULL[kind].items() if name != field}
        if field in REQUIRED[kind] | NEVER_NULL[kind]:
            assert refused_field(kind, nulled) == field
        else:
            assert parse(kind, nulled) == parse(kind, absent), field


@pytest.mark.parametrize("kind", FULL)
def test_a_field_is_required_or_has_a_default(kind: str) -> None:
    for field in FULL[kind]:
        body = {name: value for name, value in FULL[kind].items() if name != field}
        if field in REQUIRED[kind]:
            assert refused_field(kind, body) == field
        else:
            assert isinstance(parse(kind, body), Command), field


@pytest.mark.parametrize("kind", FULL)
def test_an_unknown_field_is_refused_by_name(kind: str) -> None:
    for extra in ("surprise", "KIND", "__class__", "", "\x00", "id "):
        assert refused_field(kind, {**FULL[kind], extra: 1}) in (extra, "body")


@pytest.mark.parametrize("kind", ["", "RESERVE", "delete_everything", "\x00", "x" * 10_000])
def test_an_unknown_kind_is_refused(kind: str) -> None:
    assert refused_field(kind, FULL["reserve"]) == "kind"


@pytest.mark.parametrize("kind", [None, 1, True, [], {}, ["reserve"]])
def test_a_kind_that_is_no_text_is_refused(kind: Any) -> None:
    assert refused_field(kind, FULL["reserve"]) == "kind"


@pytest.mark.parametrize("kind", FULL)
def test_a_body_that_is_no_object_is_refused(kind: str) -> None:
    for body in (None, [], "reserve", 1, True, [["id", "r1"]], {1: 2}, {None: 1}):
        assert refused_field(kind, body) is not None, body


def test_a_body_that_never_ends_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"estimate": deep}
    endless: dict[str, Any] = {**FULL["reserve"]}
    endless["estimate"] = endless
    for body in ({**FULL["reserve"], "estimate": deep}, endless):
        with pytest.raises(Invalid):
            parse("reserve", body)
    while deep:  # taken apart by hand: Python would recurse to free it
        deep = deep["estimate"]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("create_customer", "name_sealed", "a\x00b"),
        ("create_customer", "name_sealed", "x" * 100_000),
        ("create_customer", "time_zone", "a\x00b"),
        ("create_customer", "time_zone", "x" * 100_000),
        ("publish_prices", "id", "a\x00b"),
        ("publish_prices", "id", "x" * 100_000),
        ("publish_prices", "id", ""),
    ],
)
def test_every_text_has_a_limit_and_can_be_stored(kind: str, field: str, value: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(kind, {**FULL[kind], field: value})
    assert refused.value.facts["field"] == field


class Body(dict[str, Any]):
    """A body of which can be told whether it is still there."""


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("issue_grant", "amount", "1e3"),
        ("issue_grant", "expires_at", "yesterday"),
        ("issue_grant", "customer", "a b"),
        ("issue_grant", "nothing", 1),
        ("issue_grant", "amount", float("nan")),
        ("usage", "source", "\x00"),
        ("usage", "usage", {"requests": "x"}),
        ("set_caps", "caps", [{"id": " "}]),
        ("issue_license", "overrides", {"models": [" "]}),
        ("validate_license", "facts", {"region": 7}),
        ("publish_export_list", "countries", ["UK"]),
        ("publish_prices", "book", {}),
    ],
)
def test_a_refused_body_is_forgotten_even_where_a_frame_kept_its_error(
    kind: str, field: str, value: Any
) -> None:
    """pydantic's own error, were it kept as well, would hide that circle from the collector."""

    def refuse(body: Body) -> weakref.ref[Body]:
        problem: Invalid | None = None
        try:
            parse(kind, body)
        except Invalid as error:
            problem = error
        kept.append(problem)
        return weakref.ref(body)

    kept: list[Invalid | None] = []
    body = refuse(Body({**FULL[kind], field: value}))
    assert body() is not None
    assert kept.pop() is not None
    gc.collect()
    assert body() is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(every_field()), JSON)
def test_no_json_value_in_any_field_raises_anything_but_invalid(
    where: tuple[str, str], value: Any
) -> None:
    kind, field = where
    with suppress(Invalid):
        command = parse(kind, {**FULL[kind], field: value})
        assert parse(kind, {**wire_body(command), "id": command.id}) == command


@given(st.sampled_from(sorted(COMMANDS)), st.dictionaries(st.text(), JSON))
def test_no_json_object_raises_anything_but_invalid(kind: str, body: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        parse(kind, body)
