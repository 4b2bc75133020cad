"""What the client writes and reads: money, ids, times, answers, the address and the key."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.client import Money, record_calls
from tollbook.client.ids import make_id, new_id
from tollbook.client.reading import read, time_text
from tollbook.client.results import Charge, Customer, Hold, Reservation, Settlement
from tollbook.client.transport import Target
from tollbook.errors import Invalid, Refused

ROME = timezone(timedelta(hours=1))
USAGE = {"input_tokens": 3}
picos = st.integers(-(10**36), 10**36)


@given(picos, picos)
def test_sums_of_money_are_exact_whatever_decimal_is_set_to(one: int, other: int) -> None:
    with localcontext() as context:
        context.prec = 3
        total = Money(one, "USD") + Money(other, "USD") - Money(other, "USD")
        assert total == Money(one, "USD")
        assert Money.from_wire(total.to_wire()) == total
        assert Money.of(total.amount, "USD") == total
        assert total + -total == Money(0, "USD")


def test_money_is_ordered_shown_and_never_mixed() -> None:
    one, two = Money.of("1.5", "USD"), Money.of(2, "USD")
    assert one < two
    assert one <= Money.of("1.5", "USD")
    assert max(one, two) is two
    assert str(one) == "1.500000000000 USD"
    assert (bool(one), bool(one - one)) == (True, False)
    for mix in (lambda: one + Money.of(1, "EUR"), lambda: one < Money.of(1, "EUR")):
        with pytest.raises(Invalid, match="EUR"):
            mix()


@pytest.mark.parametrize(
    "amount", [0.1, True, None, "1e3", "NaN", Decimal("NaN"), "1.0000000000001"]
)
def test_what_is_no_exact_amount_is_refused(amount: Any) -> None:
    with pytest.raises(Invalid):
        Money.of(amount, "USD")


@pytest.mark.parametrize("wire", [None, "1", {"amount": 1, "currency": "USD"}, {"amount": "1"}])
def test_money_is_read_from_its_own_form_alone(wire: Any) -> None:
    with pytest.raises(Invalid):
        Money.from_wire(wire)


def test_ids_sort_by_time_and_are_accepted_by_the_ledger() -> None:
    assert make_id("rsv", 0, 0) == "rsv_" + "0" * 26
    assert make_id("rsv", 2**50 - 1, 2**80 - 1) == "rsv_" + "z" * 26
    assert make_id("a", 5, 2**80 - 1) < make_id("a", 6, 0)
    assert len({new_id("x") for _ in range(1000)}) == 1000


def test_neither_threads_nor_forked_processes_make_an_id_twice() -> None:
    new_id("x")  # from here on random bits are at hand, which a fork copies
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: new_id("x"), range(4_000)))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, "".join(new_id("x")[-16:] for _ in range(300)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    made += [new_id("x") for _ in range(300)]
    with os.fdopen(reading, encoding="ascii") as file:
        theirs = file.read()
    os.waitpid(child, 0)
    noise = [each[-16:] for each in made] + [theirs[at : at + 16] for at in range(0, 4_800, 16)]
    assert len(set(noise)) == len(noise) == 4_600


TIMES: list[tuple[datetime | str, str]] = [
    (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00.000000Z"),
    (datetime(2026, 1, 2, 3, 0, 0, 7, tzinfo=ROME), "2026-01-02T02:00:00.000007Z"),
    ("2026-01-02T03:00:00+01:00", "2026-01-02T02:00:00.000000Z"),
]


@pytest.mark.parametrize(("given", "text"), TIMES)
def test_a_time_is_written_in_utc(given: datetime | str, text: str) -> None:
    assert time_text(given) == text


NOBODYS = datetime(2026, 1, 2)  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize("given", [NOBODYS, "2026-01-02T03:00:00", "yesterday"])
def test_a_time_without_a_zone_is_refused(given: datetime | str) -> None:
    with pytest.raises(Invalid):
        time_text(given)


DOLLAR = {"amount": "1.000000000000", "currency": "USD"}
HELD = {"id": "r", "position": 3, "held": DOLLAR, "expires_at": "2026-01-01T00:00:00.5Z", "new": 1}


def test_an_answer_is_read_into_its_type_and_keeps_what_is_new() -> None:
    hold = read(Hold, HELD)
    assert (hold.id, hold.position, hold.held) == ("r", 3, Money.of(1, "USD"))
    assert hold.expires_at == datetime(2026, 1, 1, microsecond=500_000, tzinfo=UTC)
    assert hold.raw["new"] == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("position", "3"), ("position", True), ("held", "1"), ("expires_at", 7), ("id", None)],
)
def test_an_answer_of_another_form_is_unreadable(field: str, value: Any) -> None:
    with pytest.raises(Invalid):
        read(Hold, {**HELD, field: value})


def test_measured_units_are_read_as_decimals_and_absent_fields_as_none() -> None:
    terms = {"time_zone": "UTC", "price_book": "default", "plan": "standard"}
    found = read(Customer, {"id": "ada", "currency": "USD", "credit_limit": DOLLAR, **terms})
    assert found.name is None
    held = {"customer": "ada", "model": "m", "status": "open", "held": DOLLAR, "charged": DOLLAR}
    times = dict.fromkeys(("opened_at", "expires_at"), HELD["expires_at"])
    usage = {"gpu_seconds": "1.5", "pages": 2}
    document = {"id": "r", "estimate": usage, "used": {}, **held, **times}
    assert read(Reservation, document).estimate == {
        "gpu_seconds": Decimal("1.5"),
        "pages": 2,
    }


def test_a_command_of_a_batch_is_read_as_its_own_method_would() -> None:
    call = record_calls.commands([{"kind": "reserve", "id": "r"}, {"kind": "settle", "id": "s"}])
    refusal = {"id": "s", "status": "refused", "code": "expired", "detail": "too late"}
    held, refused = call.read({"results": [{**HELD, "status": "done"}, refusal]})
    assert isinstance(held.done(), Hold)
    with pytest.raises(Refused, match="too late"):
        refused.done()
    assert not isinstance(held.done(), Settlement)


def test_usage_of_a_batch_is_read_whether_it_was_charged_or_parked() -> None:
    call = record_calls.commands([{"kind": "usage", "id": "a"}, {"kind": "usage", "id": "b"}])
    charge = dict.fromkeys(("charged", "from_balance", "receivable"), DOLLAR)
    done = {"id": "a", "position": 1, "status": "done"}
    charged, parked = call.read(
        {
            "results": [
                {**done, **charge, "price_version": 1, "grants": [{"id": "g", "amount": DOLLAR}]},
                {**done, "parked": "0" * 32, "why": {"code": "unknown_model"}},
            ]
        }
    )
    charge_done = charged.done()
    assert isinstance(charge_done, Charge)
    assert charge_done.grants[0].amount == Money.of(1, "USD")
    assert parked.done().raw["why"] == {"code": "unknown_model"}


@pytest.mark.parametrize(
    ("url", "insecure", "good"),
    [
        ("https://tollbook.example", False, True),
        ("https://tollbook.example/behind/a/proxy/", False, True),
        ("http://127.0.0.1:8400", False, True),
        ("http://[::1]:8400", False, True),
        ("http://localhost", False, True),
        ("http://10.0.0.1:8400", False, False),
        ("http://10.0.0.1:8400", True, True),
        ("http://localhost.example", False, False),
        ("http://127.0.0.1.example", False, False),
        ("ftp://127.0.0.1", False, False),
        ("https://user:word@tollbook.example", False, False),
        ("https://tollbook.example?x=1", False, False),
        ("127.0.0.1:8400", False, False),
    ],
)
def test_the_key_travels_encrypted_or_not_beyond_this_machine(
    url: str, insecure: bool, good: bool
) -> None:
    if good:
        assert not Target(url, "key", allow_insecure=insecure).url.endswith("/")
        return
    with pytest.raises(Invalid):
        Target(url, "key", allow_insecure=insecure)


def test_url_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Invalid, match="TOLLBOOK_URL"):
        Target(None, "key", allow_insecure=False)
    monkeypatch.setenv("TOLLBOOK_URL", "https://tollbook.example")
    with pytest.raises(Invalid, match="TOLLBOOK_KEY"):
        Target(None, None, allow_insecure=False)
    monkeypatch.setenv("TOLLBOOK_KEY", "secret")
    assert "secret" not in repr(Target(None, None, allow_insecure=False))


@pytest.mark.parametrize("key", ["two words", "line\r\nX: y", "\u00e4", "k" * 600])
def test_a_key_that_cannot_travel_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(Invalid) as caught:
        Target("https://tollbook.example", key, allow_insecure=False)
    assert key not in str(caught.value.problem())


def test_an_ordinary_environment_proxy_never_sees_what_is_not_encrypted() -> None:
    assert not Target("http://localhost", "key", allow_insecure=False).options()["trust_env"]
    assert Target("https://a.example", "key", allow_insecure=False).options()["trust_env"]
