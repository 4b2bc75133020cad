"""The gateway's core on a real ledger: each way in which an inference ends."""

import struct
import time
from pathlib import Path
from typing import Any

import pytest
from tollbook import receipt
from tollbook.errors import NotFound, Refused, TollbookError, Unavailable
from tollbook.tokens import TrustedKeys

from domain import meters
from domain.events import ReservationHeld
from domain.facts import Facts
from domain.tensors import Tensor
from entrypoints.bootstrap import license_secrets
from entrypoints.gateway.admission import Asked
from entrypoints.gateway.core import RECEIPT, REQUEST_ID, USAGE, Gateway
from entrypoints.gateway.running import Running
from tests.gateway.rig import METERS, Licensee, Rig, configured

HASH = "0" * 64


def number(value: int) -> Tensor:
    return Tensor("INT64", (1,), struct.pack("<q", value))


def asked(key: str, model: str = "textgen", **more: Any) -> Asked:
    request = meters.Request({"TEXT": Tensor("BYTES", (1,), listed=["a b c"])}, {})
    return Asked(model, key, request, HASH, **more)


def answer(input_tokens: int, output_tokens: int) -> dict[str, Tensor]:
    return {"INPUT_TOKENS": number(input_tokens), "OUTPUT_TOKENS": number(output_tokens)}


def begun(rig: Rig, gateway: Gateway, who: Licensee, **more: Any) -> Running:
    running = rig.call(gateway.admit(asked(who.key, **more)))
    rig.now(lambda: gateway.begin(running))
    return running


def ended(rig: Rig, gateway: Gateway, running: Running) -> None:
    rig.now(lambda: gateway.failed(running, "enough"))


def told(rig: Rig, running: Running, *answers: dict[str, Tensor]) -> None:
    def tell() -> None:
        for each in answers:
            running.message(each, {})

    rig.now(tell)


def facts_of(who: Licensee) -> list[Facts | None]:
    held = [each.event for each in who.events()]
    return [event.facts for event in held if isinstance(event, ReservationHeld)]


def test_an_inference_is_held_metered_and_charged_once(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path) as gateway:
        running = begun(rig, gateway, who)
        assert rig.tollbook.balance(who.customer).held > 0
        told(rig, running, answer(3, 11))
        rig.now(lambda: running.left(b"the answer"))
        headers = rig.now(lambda: gateway.finish(running))
        assert rig.now(lambda: gateway.finish(running)) == {}  # it is over
        (charge,) = who.until(1)
    assert charge.usage == {"input_tokens": 3, "output_tokens": 11}
    assert charge.reservation == headers[REQUEST_ID] == running.id
    assert charge.request_hash == HASH
    assert charge.response_hash == running.response_hash != HASH
    assert headers[USAGE] == '{"input_tokens":3,"output_tokens":11}'
    assert rig.tollbook.balance(who.customer).held == 0
    assert list(tmp_path.iterdir()) == []  # the ledger knows everything


def test_the_receipt_is_signed_by_the_ledgers_key(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path) as gateway:
        running = begun(rig, gateway, who)
        told(rig, running, answer(3, 11))
        headers = rig.now(lambda: gateway.finish(running))
    store: Any = rig.tollbook.store
    trusted = TrustedKeys(license_secrets(rig.database, store).public_keys())
    found = receipt.verify(headers[RECEIPT], trusted, running.id)
    assert (found.customer, found.license, found.model) == (who.customer, who.license, "textgen")
    assert found.usage == {"input_tokens": 3, "output_tokens": 11}
    with pytest.raises(TollbookError):
        receipt.verify(headers[RECEIPT], trusted, "inf_other")


@pytest.mark.parametrize(
    ("end", "names"),
    [
        ("failed", ["reservation_held", "reservation_released"]),
        ("cut", ["reservation_held", "reservation_released"]),
        ("lost", ["reservation_held", "usage_parked"]),
    ],
)
def test_an_inference_that_produced_nothing_is_not_charged(
    rig: Rig, tmp_path: Path, end: str, names: list[str]
) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path) as gateway:
        running = begun(rig, gateway, who)
        ways = {
            "failed": lambda: gateway.failed(running, "boom"),
            "cut": lambda: gateway.cut(running),
            "lost": lambda: gateway.lost(running, "the connection broke"),
        }
        rig.now(ways[end])
    assert who.names() == names


@pytest.mark.parametrize("end", ["failed", "cut", "lost"])
def test_a_stream_that_ends_early_pays_for_what_it_produced(
    rig: Rig, tmp_path: Path, end: str
) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path) as gateway:
        running = begun(rig, gateway, who, model="textgen_stream")
        told(rig, running, answer(3, 1), answer(0, 1), answer(0, 1))
        ways = {
            "failed": lambda: gateway.failed(running, "boom"),
            "cut": lambda: gateway.cut(running),
            "lost": lambda: gateway.lost(running, "the connection broke"),
        }
        rig.now(ways[end])
    (charge,) = who.charges()
    assert charge.usage == {"input_tokens": 3, "output_tokens": 3}


def test_an_answer_that_cannot_be_metered_is_parked_with_the_reason(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path) as gateway:
        running = begun(rig, gateway, who)
        told(rig, running, {"INPUT_TOKENS": number(3)})
        rig.now(lambda: gateway.finish(running))
    assert who.names() == ["reservation_held", "usage_parked"]


@pytest.mark.parametrize("end", ["failed", "cut", "lost"])
def test_a_stream_that_ends_early_and_told_nothing_of_what_it_produced_is_parked(
    rig: Rig, tmp_path: Path, end: str
) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path) as gateway:
        running = begun(rig, gateway, who, model="textgen_stream")
        told(rig, running, {"INPUT_TOKENS": number(3)})
        ways = {
            "failed": lambda: gateway.failed(running, "boom"),
            "cut": lambda: gateway.cut(running),
            "lost": lambda: gateway.lost(running, "the connection broke"),
        }
        rig.now(ways[end])
    assert who.names() == ["reservation_held", "usage_parked"]


def test_an_answer_that_the_gateway_fails_to_meter_is_parked_and_no_hold_is_left_open(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("nobody foresaw it")

    who = rig.licensee()
    with rig.gateway(tmp_path) as gateway:
        running = begun(rig, gateway, who)
        told(rig, running, answer(3, 1))
        monkeypatch.setattr(Running, "usage", fail)
        rig.now(lambda: gateway.finish(running))
    assert who.names() == ["reservation_held", "usage_parked"]


def test_who_may_not_is_refused_before_anything_runs(rig: Rig, tmp_path: Path) -> None:
    poor, who = rig.licensee(amount="0.000001"), rig.licensee()
    with rig.gateway(tmp_path) as gateway:
        with pytest.raises(Refused) as caught:
            rig.call(gateway.admit(asked(poor.key)))
        assert caught.value.code == "insufficient_balance"
        with pytest.raises(NotFound):
            rig.call(gateway.admit(asked(who.key, model="nobody's")))
        with pytest.raises(TollbookError) as wrong:
            rig.call(gateway.admit(asked(who.key[:-1] + ("0" if who.key[-1] != "0" else "1"))))
        assert wrong.value.facts["field"] == "license_key"
        rig.tollbook.run(
            "suspend_license", {"id": f"s-{who.license}", "license": who.license, "reason": "test"}
        ).result()
        with pytest.raises(Refused) as suspended:
            rig.call(gateway.admit(asked(who.key)))
        assert suspended.value.code == "license_suspended"
        assert not gateway.running
    assert "reservation_held" not in who.names()


def test_a_licence_without_its_pool_here_gives_its_hold_back(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee(overrides={"pool": "moon"})
    with rig.gateway(tmp_path) as gateway, pytest.raises(Unavailable, match="moon"):
        rig.call(gateway.admit(asked(who.key)))
    assert who.names() == ["reservation_held", "reservation_released"]


def test_a_facts_is_sent_where_the_licence_asks_and_nowhere_else(rig: Rig, tmp_path: Path) -> None:
    free = rig.licensee()
    bound = rig.licensee(overrides={"networks": ["10.0.0.0/8"], "regions": {"allow": ["eu"]}})
    config = configured(facts={"region": {"value": "eu", "from": "observed"}})
    with rig.gateway(tmp_path, config) as gateway:
        for who in (free, bound):
            running = begun(rig, gateway, who, address="10.1.2.3", facts={"country": "DE"})
            ended(rig, gateway, running)
        with pytest.raises(Refused) as caught:
            rig.call(gateway.admit(asked(bound.key, address="192.0.2.1")))
        assert caught.value.code == "license_address_mismatch"
    assert facts_of(free) == [None]
    (facts,) = facts_of(bound)[:1]
    assert sorted(facts or {}) == ["address", "region"]


def test_a_licence_that_asks_for_more_since_is_looked_at_again(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path) as gateway:
        ended(rig, gateway, begun(rig, gateway, who))
        change = {"id": f"u-{who.license}", "license": who.license}
        overrides = {"networks": ["10.0.0.0/8"]}
        rig.tollbook.run("upgrade_license", {**change, "overrides": overrides}).result()
        running = begun(rig, gateway, who, address="10.1.2.3")
        ended(rig, gateway, running)


def test_a_hold_is_extended_while_its_inference_runs(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path, configured(hold_seconds=10)) as gateway:
        running = begun(rig, gateway, who)
        end = time.monotonic() + 30
        while "reservation_extended" not in who.names() and time.monotonic() < end:
            time.sleep(0.1)
        told(rig, running, answer(1, 1))
        rig.now(lambda: gateway.finish(running))
    assert who.names() == ["reservation_held", "reservation_extended", "reservation_settled"]


def test_more_than_may_run_at_once_is_refused(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path, configured(at_once=1)) as gateway:
        running = begun(rig, gateway, who)
        with pytest.raises(Unavailable) as caught:
            rig.call(gateway.admit(asked(who.key)))
        assert caught.value.code == "overloaded"
        ended(rig, gateway, running)
        ended(rig, gateway, begun(rig, gateway, who))


def test_every_meter_of_these_tests_can_be_read() -> None:
    assert len(configured().model) == len(METERS)
