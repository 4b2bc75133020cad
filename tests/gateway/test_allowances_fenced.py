"""What the ledger says fences what was set aside, at every gateway, in less than a second."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tollbook.times import format_instant

from adapters.redis.server import RedisServer
from domain.event import Recorded
from domain.guard_events import AccountBlocked
from domain.values import SECOND
from entrypoints.gateway.core import Gateway
from tests.architecture.source_files import ROOT
from tests.gateway.allowances import Seen, allowing, held_at, quick, unlimited, used
from tests.gateway.rig import PRICES, Licensee, Rig
from tests.support.redis import redis as redis  # noqa: PLC0414 - a fixture, by its name
from tests.support.triton import wait_until

MINUTE = 60 * SECOND
PAGE = (ROOT / "docs" / "licensing.md").read_text("utf-8")
BOUND = SECOND * int(
    re.findall(r"^\| a gateway that admits from .* \| (\d+) second \|$", PAGE, re.MULTILINE)[0]
)
"""What is published."""
_numbers = itertools.count(1)

Enough = Callable[[Seen, bool], bool]
"""Says by what was seen, and by whether something new was set aside, when it is enough."""
Said = Callable[[Licensee], Recorded]
"""Has the ledger say something, and returns where it stands."""


def command(kind: str, **more: Any) -> Said:
    """Return what sends a command about a licence."""

    def say(who: Licensee) -> Recorded:
        body = {"id": f"{kind}-{next(_numbers)}", "license": who.license, **more}
        return recorded(who, kind, body)

    return say


def of_customer(kind: str, **more: Any) -> Said:
    """Return what sends a command about a customer."""

    def say(who: Licensee) -> Recorded:
        body = {"id": f"{kind}-{next(_numbers)}", "customer": who.customer, **more}
        return recorded(who, kind, body)

    return say


def recorded(who: Licensee, kind: str, body: dict[str, Any]) -> Recorded:
    """Send a command, and return its event."""
    answer = who.rig.tollbook.run(kind, body)
    answer.result()
    assert answer.recorded is not None
    return answer.recorded


def rotated(who: Licensee) -> Recorded:
    """Give the licence another key at once; no two licences ever had the same one."""
    key_hash = f"{next(_numbers):032x}"
    say = command("rotate_license_key", key_hash=key_hash, key_hint="abcd", overlap_seconds=0)
    return say(who)


def prices(who: Licensee) -> Recorded:
    """Publish the same prices once more."""
    models = [{"name": name, "prices": each} for name, each in PRICES.items()]
    now = format_instant(who.rig.tollbook.now() + MINUTE)
    book = {"id": "default", "currency": "USD", "effective_from": now, "models": models}
    answer = who.rig.tollbook.publish(book)
    answer.result()
    assert answer.recorded is not None
    return answer.recorded


def export_list(who: Licensee) -> Recorded:
    """Publish an export list."""
    body = {"id": f"export-{next(_numbers)}", "countries": ["KP"]}
    return recorded(who, "publish_export_list", body)


def burst(who: Licensee) -> Recorded:
    """Have the hard rule of fraud block the account."""
    now = who.rig.tollbook.now()
    for minutes, requests in ((120, 1), (0, 5_000)):
        body = {
            "id": f"use-{next(_numbers)}",
            "source": "test",
            "customer": who.customer,
            "model": "slow",
            "usage": {"requests": requests},
            "occurred_at": format_instant(now - minutes * MINUTE),
        }
        who.rig.tollbook.run("usage", body).result()
    return next(each for each in who.events() if isinstance(each.event, AccountBlocked))


CLOSING = {
    "license_revoked": command("revoke_license", reason="test"),
    "license_suspended": command("suspend_license", reason="test"),
    "license_key_invalid": rotated,
    "account_blocked": burst,
}
CHANGING = {
    "caps": of_customer("set_caps", caps=[]),
    "terms": of_customer("change_customer", credit_limit="5"),
    "policy": command("upgrade_license", overrides={"priority": 7}),
    "prices": prices,
    "exports": export_list,
}


def said_meanwhile(
    rig: Rig, redis: str | None, home: Path, say: Said, enough: Enough
) -> tuple[Licensee, Seen, Recorded]:
    """Have the ledger say something while two gateways admit from allowances, and see what then."""
    who = unlimited(rig)
    one, other = (quick(f"gateway-{each}") for each in "ab")
    with (
        rig.gateway(home / "a", one, redis=redis) as first,
        rig.gateway(home / "b", other, redis=redis) as second,
    ):
        gateways = [first, second]
        before = used(who, gateways, 10**6, enough=lambda it: len(it.drawn) > 500)
        assert before.drawn
        said = say(who)
        # So slowly that what was set aside would last for long.
        after = used(
            who,
            gateways,
            100_000,
            at_once=1,
            pause=0.01,
            enough=lambda it: enough(it, newest(gateways) > said.position),
        )
    return who, after, said


def newest(gateways: list[Gateway]) -> int:
    """Return where the newest slice is recorded that a gateway knows."""
    known = [held for each in gateways for held in allowing(each).holding.open.values()]
    return max((held.terms.position for held in known), default=0)


@pytest.mark.parametrize("code", CLOSING)
@pytest.mark.parametrize("handed_out", ["by redis", "in process"])
def test_whoever_is_shut_out_is_admitted_from_no_allowance_a_second_later(
    rig: Rig, redis: RedisServer, tmp_path: Path, code: str, handed_out: str
) -> None:
    url = redis.url if handed_out == "by redis" else None
    _, seen, said = said_meanwhile(
        rig, url, tmp_path, CLOSING[code], lambda it, _: it.refused[code] >= 20
    )
    assert seen.refused[code] >= 20
    assert all(each.slice is not None for each in seen.admitted), "the ledger itself says no"
    assert all(each.decided_at <= said.recorded_at + BOUND for each in seen.drawn)


@pytest.mark.parametrize("what", CHANGING)
def test_whatever_changes_is_looked_at_again_a_second_later(
    rig: Rig, redis: RedisServer, tmp_path: Path, what: str
) -> None:
    renewed: list[int] = []

    def is_enough(seen: Seen, is_new: bool) -> bool:
        if is_new and not renewed:
            renewed.append(len(seen.drawn))
        return bool(renewed) and len(seen.drawn) > renewed[0] + 20

    who, seen, said = said_meanwhile(rig, redis.url, tmp_path, CHANGING[what], is_enough)
    assert not seen.refused
    held = held_at(who)
    stale = [each for each in seen.drawn if held[str(each.slice)] < said.position]
    assert stale, "it was admitted from until it was heard"
    assert all(each.decided_at <= said.recorded_at + BOUND for each in stale)
    assert len(stale) < len(seen.drawn), "something new was set aside"


def test_a_gateway_that_does_not_hear_the_ledger_admits_from_no_allowance(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        used(who, [gateway], 200)
        found = allowing(gateway)

        async def silence(_position: int) -> Any:
            raise ConnectionError("cut off")

        setattr(found.following, "_ask", silence)  # noqa: B010 - a ledger that says nothing
        wait_until(lambda: found.state() == "ledger not heard")  # what was asked is answered
        last = found.following.heard_at
        seen = used(who, [gateway], 10**6, enough=lambda _: found.draws["unheard"] > 50)
        wait_until(lambda: found.state() == "ledger not heard")  # Redis may have been missed
        assert found.following.heard_at == last
        assert seen.admitted[-1].slice is None
