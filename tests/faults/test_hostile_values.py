"""Hostile values in every field of every command, through the whole stack down to the database.

Each is answered cleanly (done, refused by a rule, or invalid with field and rule named), never
with an error of ours, and what is not recorded leaves the ledger untouched and working.
"""

import itertools
import random
import string
from collections.abc import Iterator
from typing import Any

import pytest
from tollbook.errors import Invalid, TollbookError

from application.jobs import Item, Job
from application.tollbook import Tollbook
from domain.commands import COMMANDS, Reserve
from domain.denials import DENIALS, LIFE_REFUSALS
from tests.faults import fraud_bodies, license_bodies, pipeline_bodies
from tests.faults.invariants import assert_sound
from tests.faults.load import described
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, USAGE, a_customer, open_ledger, price_book, reserve
from tests.support.sizes import in_full_or

CLEAN = {
    *("done", "invalid", "not_found", "already_exists", "id_reused", "insufficient_balance"),
    *("unknown_model", "unknown_unit", "plan_forbids", "already_settled", "already_released"),
    *("not_blocked", "unknown_license", "reservation_mismatch", *DENIALS, *LIFE_REFUSALS),
}

DEEP: Any = "end"
for _ in range(5000):
    DEEP = [DEEP]

HOSTILE: dict[str, Any] = {
    "nul": "a\x00b",
    "lone surrogate": "a\ud800b",
    "10 MB": "x" * 10_000_000,
    "10 MB of 4-byte characters": "\U0001f4a3" * 2_500_000,
    "control characters": "a\x01\x07\x1b[31m\x7f\x85b",
    "newline": "a\nb",
    "trailing newline": "cust-1\n",
    "right to left": "\u202egrant\u202c\u2066x\u2069",
    "combining": "e\u0301" * 40,
    "non-characters": "\ufffe\uffff\ufeff",
    "sql": "'; DROP TABLE events; --",
    "dollar quotes": "$$ $1 %s %(x)s {} \\",
    "json in a string": '{"id": "x", "amount": 1}',
    "quotes": "\"'`\\",
    "path": "../../etc/passwd",
    "null as text": "NULL",
    "empty": "",
    "space": " ",
    "not a number as text": "NaN",
    "infinity as text": "1e999",
    "exponent": "1e3",
    "hex": "0x10",
    "digits of another script": "\u0661\u0662",
    "minus": "-1",
    "thirteen places": "0.0000000000001",
    "fifty digits": "9" * 50,
    "2^53 + 1": 2**53 + 1,
    "2^63": 2**63,
    "-2^63 - 1": -(2**63) - 1,
    "2^200": 2**200,
    "ten thousand digits": 10**9_999,
    "minus one": -1,
    "zero": 0,
    "true": True,
    "float": 0.1,
    "nan": float("nan"),
    "infinity": float("inf"),
    "null": None,
    "list": [],
    "object": {},
    "object with a hostile key": {"a\x00b": 1},
    "object with a huge key": {"k" * 1_000_000: 1},
    "object with an int key": {1: 1},
    "deep": DEEP,
    "bytes": b"abc",
    "set": {1},
}

WHEN = "2024-02-29T23:59:59.999999Z"
TERMS = {"credit_limit": "1", "time_zone": "UTC", "price_book": "default", "plan": "standard"}
WORK = {"customer": "cust-1", "model": MODEL, "license": "lic-1"}
GRANT = {"customer": "cust-1", "amount": "1", "kind": "paid", "priority": 7, "models": [MODEL]}

HASHES = {"request_hash": "0a" * 32, "response_hash": "f9" * 32}
RECORD = {"usage": USAGE, "source": "//meter", "occurred_at": WHEN, **HASHES}

CAP = {"id": "c", "unit": "requests", "limit": 5, "calendar": "day", "models": ["m"]}
FIELDS: dict[str, dict[str, Any]] = {
    "create_customer": {"name": "Ada", "currency": "USD", **TERMS},
    "change_customer": {"name": "Ada", "customer": "changing", "currency": "USD", **TERMS},
    "issue_grant": {"expires_at": "9999-12-31T23:59:59Z", "currency": "USD", **GRANT},
    "publish_prices": {},
    "reserve": {
        "estimate": USAGE,
        "ttl_seconds": 60,
        "license_key": license_bodies.key_hash(license_bodies.SHARED),
        "facts": {"environment": "development"},
        "request_hash": "0a" * 32,
        **WORK,
    },
    "extend": {"estimate": USAGE, "ttl_seconds": 60},
    "settle": {"usage": USAGE, "final": True, **HASHES},
    "release": {"reason": "gone"},
    "usage": {**RECORD, **WORK},
    "park_usage": {**RECORD, **WORK, "reason": "odd"},
    "release_usage": {},
    "unblock": {"customer": "changing", "reason": "they called"},
    "set_caps": {"customer": "changing", "caps": [CAP]},
    "raise_min_reader": {"reader": 1},
    "register_model": {},
    "release_model_version": {
        "version": "1.0.0",
        "released_at": WHEN,
        "digest": "0a" * 32,
        "provenance": [{"name": "license", "value": "MIT"}],
        "bom": '{"bomFormat":"CycloneDX","specVersion":"1.6","components":'
        '[{"type":"machine-learning-model","name":"m"}]}',
    },
    "yank_model_version": {"version": "1.0.0", "reason": "bad"},
    "publish_export_list": {"countries": ["KP"], "note": "today"},
}
"""Every field of every command, but the ids that body_of makes."""

_numbers = itertools.count(1)

EVERY = in_full_or(6, 1)
"""Each field is given every sixth value, the next field the next ones; and in CI all of them."""


def body_of(ledger: Tollbook, kind: str) -> dict[str, Any]:
    """Return a valid body of a command with a fresh id, every field given."""
    name = f"{kind}-{next(_numbers)}"
    if kind in license_bodies.FIELDS:
        return {"id": name, **license_bodies.license_body(ledger, kind, name)}
    if kind in fraud_bodies.FIELDS:
        return {"id": name, **fraud_bodies.fraud_body(ledger, kind, name)}
    if kind in pipeline_bodies.FIELDS:
        return {"id": name, **pipeline_bodies.pipeline_body(ledger, kind, name)}
    body = {"id": name, **FIELDS[kind]}
    if kind in {"settle", "extend", "release"}:
        body["reservation"] = f"for-{name}"
        reserve(ledger, body["reservation"]).result()
    if kind in {"usage", "park_usage"}:
        body["reservation"] = f"never-made-{name}"
    if kind == "release_usage":
        record = {"id": name, **FIELDS["usage"], "license": "lic-1"}
        body["parked"] = ledger.run("park_usage", {**record, "reason": "odd"}).result()["parked"]
    if kind == "register_model":
        body["model"] = f"org/{name}"
    if kind in {"release_model_version", "yank_model_version"}:
        body["model"] = f"org/{name}"
        ledger.run("register_model", {"id": f"for-{name}", "model": body["model"]}).result()
    if kind == "yank_model_version":
        released = {"id": f"of-{name}", "model": body["model"], "version": "1.0.0"}
        ledger.run("release_model_version", released).result()
    if kind == "publish_prices":
        body["id"] = f"{name}:2020-01-01T00:00:00.000000Z"
        body["book"] = price_book(name)
    return body


@pytest.fixture
def ledger(embedded_database: TestDatabase) -> Iterator[Tollbook]:
    """Open a ledger with a customer who has money."""
    with open_ledger(embedded_database) as opened:
        a_customer(opened, amount="1000000")
        a_customer(opened, "changing")
        license_bodies.issue(opened, license_bodies.SHARED)
        yield opened


def code_of(ledger: Tollbook, kind: str, body: Any) -> str:
    """Send a command; return its code, after checking what an unrecorded answer must say."""
    before = ledger.store.head()
    try:
        answer = ledger.run(kind, body)
        problem = answer.problem()
        if answer.recorded is not None:
            assert described(ledger.run(kind, body)) == described(answer), "not the same again"
            return answer.code
    except TollbookError as error:
        problem = error.kept()
    except Exception as error:
        return f"crash: {error!r:.200}"
    assert ledger.store.head() == before, "nothing is recorded, yet the head has moved"
    assert problem is not None
    if isinstance(problem, Invalid) and not {"field", "rule"} <= problem.facts.keys():
        return f"invalid without field and rule: {problem!s:.200}"
    if len(str(problem)) > 2000:
        return f"an error of {len(str(problem))} characters: {problem!s:.100}"
    return problem.code


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_hostile_value_in_any_field_is_answered_cleanly(
    ledger: Tollbook, embedded_database: TestDatabase, seed: int, kind: str
) -> None:
    usual = {"unblock": "not_blocked", "expire_license": "license_not_expired"}.get(kind, "done")
    assert code_of(ledger, kind, body_of(ledger, kind)) == usual
    unclean = {}
    fields = [*body_of(ledger, kind), "an_extra_field", "b\x00\ud800"]
    for number, field in enumerate(fields, seed):
        for what, value in list(HOSTILE.items())[number % EVERY :: EVERY]:
            code = code_of(ledger, kind, {**body_of(ledger, kind), field: value})
            if code not in CLEAN:
                unclean[f"{field!r}: {what}"] = code
    assert not unclean
    assert reserve(ledger, "still-works").code == "done"
    assert_sound(embedded_database.super_url)


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_hostile_body_is_answered_cleanly(ledger: Tollbook, seed: int, kind: str) -> None:
    first = (seed + list(COMMANDS).index(kind)) % EVERY
    some = dict(list(HOSTILE.items())[first::EVERY])
    bodies = {**some, "a huge id": {"id": "x" * 10_000_000}, "no id": {"name": "x"}}
    codes = {what: code_of(ledger, kind, body) for what, body in bodies.items()}
    assert {what: code for what, code in codes.items() if code not in CLEAN} == {}


def test_a_hostile_kind_is_invalid(ledger: Tollbook) -> None:
    texts = [value for value in HOSTILE.values() if isinstance(value, str)]
    codes = {ascii(kind)[:30]: code_of(ledger, kind, {"id": "x"}) for kind in [*texts, "Reserve"]}
    assert {kind: code for kind, code in codes.items() if code != "invalid"} == {}


@pytest.mark.parametrize("place", ["actor", "correlation", "causation"])
@pytest.mark.parametrize("what", ["nul", "lone surrogate", "10 MB", "quotes", "right to left"])
def test_a_hostile_sender_harms_nobody_else_in_the_batch(
    ledger: Tollbook, embedded_database: TestDatabase, place: str, what: str
) -> None:
    def item(name: str, **envelope: Any) -> Item:
        return Item(Reserve(id=name, customer="cust-1", model=MODEL, estimate=USAGE), **envelope)

    batch = [item("r-1"), item("r-2", **{place: HOSTILE[what]}), item("r-3")]
    codes = [answer.code for answer in ledger.executor.execute(batch)]
    assert codes in (["done", "invalid", "done"], ["done"] * 3)
    assert_sound(embedded_database.super_url)


@pytest.mark.parametrize("what", ["nul", "lone surrogate"])
def test_a_hostile_sender_does_not_stop_the_executor(ledger: Tollbook, what: str) -> None:
    """From the queue, so in the executor's own thread, which all others depend on."""
    codes = []
    for number, actor in enumerate([HOSTILE[what], "system"]):
        command = Reserve(id=f"r-{number}", customer="cust-1", model=MODEL, estimate=USAGE)
        job = Job([Item(command, actor)])
        job.expect_wait()
        ledger.executor.submit(job)
        assert job.wait(15), "the executor answers nobody any longer"
        codes.append(job.answers()[0].code)
    assert codes == ["invalid", "done"]


def key_texts(seed: int) -> list[str]:
    """Return ids of usage records as hostile as they may be."""
    chance = random.Random(seed)
    alphabet = [*string.printable, "\\", "'", '"', "{", "}", "\u202e", "\u2028", "é", "e\u0301"]
    alphabet += ["\U0001f600", "\ufeff", "\ufffd", "\x01", "\x7f", "\x85", "\u0130", "ß", "SS"]
    texts = ["NULL", "null", "{}", "{NULL}", '{"a"}', "\\N", "\\", "\\\\"]
    texts += ['"', "'", "a,b", " ", "\t"]
    texts += [" a", "a ", "a", "A", "\n", "\r\n", "é", "e\u0301", "%s", "$1", "x" * 512, "é" * 256]
    texts += [
        "".join(chance.choices(alphabet, k=chance.randrange(1, 60)))
        for _ in range(in_full_or(20, 200))
    ]
    return list(dict.fromkeys(texts))


def test_any_key_of_a_usage_record_comes_back_exactly(
    ledger: Tollbook, embedded_database: TestDatabase, seed: int
) -> None:
    texts = key_texts(seed)
    when = "2024-01-01T00:00:00Z"
    for text in texts:
        body = {"customer": "cust-1", "model": MODEL, "usage": USAGE, "occurred_at": when}
        for key in ({"id": text, "source": "//meter"}, {"id": "m", "source": text}):
            answer = ledger.run("usage", {**body, **key})
            assert answer.done and not answer.repeated, f"taken for another: {key}"
            again = ledger.outcome("usage", key["source"], key["id"])
            assert again.recorded == answer.recorded
    stored = embedded_database.query("SELECT id, scope FROM command_ids WHERE kind = 'usage'")
    assert {(name, scope) for name, scope in stored} == {
        *((text, "//meter") for text in texts),
        *(("m", text) for text in texts),
    }
    assert_sound(embedded_database.super_url)
