"""Gateways that admit from allowances, and what the ledger tells of them afterwards."""

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tollbook.errors import TollbookError

from domain import meters
from domain.event import Event
from domain.events import ReservationHeld, ReservationReleased, ReservationSettled
from domain.tensors import Tensor
from entrypoints.gateway.admission import Admitted, Asked
from entrypoints.gateway.allowance_opening import PREFIX
from entrypoints.gateway.allowing import Allowing
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.running import Running
from tests.gateway.rig import TEXT, Licensee, Rig, configured
from tests.support.triton import wait_until

COST = 25
"""What `answered` costs, in millionths of a USD: 3 tokens at 1, 11 at 2."""
ESTIMATE = 37
"""What `asked` can cost at worst: 5 bytes at 1, 16 tokens at 2."""
MILLIONTH = 10**6
ANSWER = {
    "INPUT_TOKENS": Tensor("INT64", (1,), struct.pack("<q", 3)),
    "OUTPUT_TOKENS": Tensor("INT64", (1,), struct.pack("<q", 11)),
}


def quick(name: str = "gateway", **more: Any) -> GatewayConfig:
    """Return a configuration whose inferences are short, so that its holds are.

    It hands out places in process too, which counts only where it is started without a Redis.
    """
    meter = {"name": "textgen", **TEXT, "seconds": 2}
    times = {"allowances": {"seconds": 10, "in_process": True}, "hold_seconds": 10}
    return configured(meters=[meter], name=name, **{**times, **more})


def unlimited(rig: Rig, amount: str = "100") -> Licensee:
    """Make a customer whose licence has no limits."""
    return rig.licensee(amount, overrides={"limits": []})


def asked(who: Licensee, text: str = "a b c", **more: Any) -> Asked:
    """Ask for a text."""
    request = meters.Request({"TEXT": Tensor("BYTES", (1,), listed=[text])}, {})
    return Asked("textgen", who.key, request, "0" * 64, **more)


def allowing(gateway: Gateway) -> Allowing:
    """Return what admits from allowances."""
    found = gateway.emergency.allowing
    assert found is not None
    return found


class Seen:
    """What became of inferences that were asked for."""

    def __init__(self) -> None:
        """Begin before any was."""
        self.admitted: list[Admitted] = []
        self.refused: Counter[str] = Counter()

    @property
    def ids(self) -> list[str]:
        """The inferences that were admitted."""
        return [each.id for each in self.admitted]

    @property
    def drawn(self) -> list[Admitted]:
        """Those that were admitted from slices."""
        return [each for each in self.admitted if each.slice is not None]


def mostly_drawn(seen: Seen) -> bool:
    """Say whether most of many inferences came from allowances."""
    return len(seen.ids) >= 400 and len(seen.drawn) > len(seen.ids) // 2


async def answered(gateway: Gateway, running: Running) -> None:
    """Have an inference answered by its server."""
    gateway.begin(running)
    running.message(ANSWER, {})
    gateway.finish(running)


async def drawn(gateway: Gateway, question: Asked) -> Running:
    """Admit inferences until one comes from an allowance; the others are answered."""
    while True:
        running = await gateway.admit(question)
        if running.admitted.slice is not None:
            return running
        await answered(gateway, running)
        await asyncio.sleep(0.01)


async def use(
    gateways: list[Gateway],
    question: Asked,
    seen: Seen,
    until: Callable[[], bool],
    at_once: int = 8,
    pause: float = 0.001,
) -> None:
    """Ask the same again and again, so many at once at each gateway, until told to stop."""

    async def one_after_another(gateway: Gateway) -> None:
        while not until():
            try:
                running = await gateway.admit(question)
            except TollbookError as error:
                seen.refused[error.code] += 1
                await asyncio.sleep(0.02)
                continue
            seen.admitted.append(running.admitted)
            await answered(gateway, running)
            await asyncio.sleep(pause)

    works = [one_after_another(each) for each in gateways for _ in range(at_once)]
    await asyncio.gather(*works)


def used(
    who: Licensee,
    gateways: list[Gateway],
    count: int,
    *,
    at_once: int = 8,
    seconds: float = 60,
    pause: float = 0.001,
    enough: Callable[[Seen], bool] = lambda _: False,
) -> Seen:
    """Use a licence until so many inferences were admitted, or enough was seen."""
    seen, end = Seen(), time.monotonic() + seconds

    def is_over() -> bool:
        return len(seen.admitted) >= count or enough(seen) or time.monotonic() >= end

    who.rig.call(use(gateways, asked(who), seen, is_over, at_once, pause), seconds + 30)
    return seen


def facts(who: Licensee) -> list[Event]:
    """Return what happened to the customer after the licence."""
    return [each.event for each in who.events()]


def slices_of(who: Licensee) -> dict[str, ReservationHeld]:
    """Return the slices that were set aside, by reservation."""
    found = (each for each in facts(who) if isinstance(each, ReservationHeld))
    return {each.reservation: each for each in found if each.reservation.startswith(PREFIX)}


def held_at(who: Licensee) -> dict[str, int]:
    """Return where each slice was set aside; its end has the same id."""
    held = ((each.event, each.position) for each in who.events())
    return {it.reservation: at for it, at in held if isinstance(it, ReservationHeld)}


def released_of(who: Licensee) -> set[str]:
    """Return the reservations that were given back."""
    found = (each for each in facts(who) if isinstance(each, ReservationReleased))
    return {each.reservation for each in found}


def parts_of(who: Licensee) -> list[ReservationSettled]:
    """Return what was charged in part of slices."""
    slices = slices_of(who)
    return [each for each in who.charges() if each.reservation in slices]


def paid(who: Licensee) -> dict[str, int]:
    """Return what each inference was charged, by its usage record; nothing is charged twice."""
    found: dict[str, int] = {}
    for each in who.events():
        if isinstance(each.event, ReservationSettled):
            assert each.command not in found
            found[each.command] = each.event.charged
    return found


def assert_nothing_held(who: Licensee) -> None:
    """Wait until nothing is held for the customer any more, at the latest by its expiry."""
    wait_until(lambda: who.rig.tollbook.balance(who.customer).held == 0)
