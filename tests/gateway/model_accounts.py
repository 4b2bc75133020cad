"""An independent count of inferences: what the models' own logs say, against what was charged.

Nothing here comes from the gateway: a line of a model's log is what the model itself did, and a
charge is an event of the ledger.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tollbook.amounts import parse_pico

from domain.event import Event
from domain.events import (
    HoldsExpired,
    ReservationHeld,
    ReservationReleased,
    ReservationSettled,
)
from domain.usage_events import UsageParked
from entrypoints.gateway.admission import PREFIX
from tests.gateway.rig import PRICES, Licensee

Line = dict[str, Any]

_STAGES = frozenset({"retrieve", "polish"})
"""Parts of the pipeline that are not paid for."""
_UNITS = {"image": "images", "document": "pages"}
_PER_MILLION = ("input_tokens", "cached_input_tokens", "output_tokens")


def accounts(folder: Path) -> dict[str, Line]:
    """Read the logs of all models: by request id, the one line that is paid for."""
    found: dict[str, Line] = {}
    for path in folder.glob("*.jsonl"):
        if path.stem in _STAGES:
            continue
        for text in path.read_text("utf-8").splitlines():
            line = _read(text)
            if line is not None:
                assert line["request_id"] not in found, f"{line} ran twice"
                found[line["request_id"]] = line
    return found


def _read(text: str) -> Line | None:
    """Read a line; a model that was killed may have left a part of one.

    Only a gateway's own ids count: other tests ask the same server without any gateway.
    """
    try:
        line: Line = json.loads(text)
    except ValueError:
        return None
    return line if line["request_id"].startswith(f"{PREFIX}_") else None


class Ledgered(NamedTuple):
    """What the ledger has about one inference."""

    held: ReservationHeld
    ends: tuple[Event, ...]
    """Everything that ended it or put it aside."""
    expired: bool

    @property
    def charge(self) -> ReservationSettled | None:
        """Its one charge, if it was charged."""
        found = [each for each in self.ends if isinstance(each, ReservationSettled)]
        assert len(found) <= 1, f"charged twice: {found}"
        return found[0] if found else None

    @property
    def parked(self) -> UsageParked | None:
        """Its parking, if it was parked."""
        found = [each for each in self.ends if isinstance(each, UsageParked)]
        assert len(found) <= 1, f"parked twice: {found}"
        return found[0] if found else None


def ledgered(licensees: Iterable[Licensee]) -> dict[str, Ledgered]:
    """Read all inferences of some customers from the ledger's events."""
    held: dict[str, ReservationHeld] = {}
    ends: dict[str, list[Event]] = {}
    expired: set[str] = set()
    for recorded in (each for who in licensees for each in who.events()):
        event = recorded.event
        if isinstance(event, ReservationHeld):
            held[event.reservation] = event
        elif isinstance(event, ReservationSettled | ReservationReleased):
            ends.setdefault(event.reservation, []).append(event)
        elif isinstance(event, UsageParked):
            ends.setdefault(event.record, []).append(event)
        elif isinstance(event, HoldsExpired):
            expired |= {reservation for reservation, _ in event.holds}
    assert ends.keys() <= held.keys()
    return {
        id: Ledgered(event, tuple(ends.get(id, ())), id in expired) for id, event in held.items()
    }


def used(line: Line) -> dict[str, int]:
    """Return what a line of a model's log is worth, in the units of the price book."""
    model = line["model"]
    if model in _UNITS:
        return {_UNITS[model]: line["units"]}
    if "requests" in PRICES[model]:
        return {"requests": 1}
    return {"input_tokens": line["input_tokens"], "output_tokens": line["output_tokens"]}


def from_the_cache(usage: Mapping[str, int]) -> dict[str, int]:
    """Return what an answer is worth that was another one's before."""
    return {
        "cached_input_tokens": usage["input_tokens"],
        "output_tokens": usage["output_tokens"],
    }


def worth(model: str, usage: Mapping[str, int]) -> int:
    """Return a price in 10^-12, by a sum of our own."""
    total = 0
    for unit, quantity in usage.items():
        price = parse_pico(PRICES[model][unit]) * quantity
        if unit in _PER_MILLION:
            price, rest = divmod(price, 1_000_000)
            assert not rest
        total += price
    return total
