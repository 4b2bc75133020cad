"""Writing: the payloads of most events, as the general encoder would write them, in less time.

They are canonical JSON: fields in the order of their names, absent ones left out. What the general
encoder asks for each field is known here; tests hold the two to the same bytes.
"""

from functools import lru_cache
from json.encoder import encode_basestring as quoted
from typing import Any

from tollbook.amounts import format_pico
from tollbook.times import format_instant

from domain.events import ReservationHeld, ReservationSettled
from domain.inferences import InferencesSettled, Line
from domain.units import MEASURED, Quantities, quantities_to_wire

# A payload repeats its amounts, and neighbours theirs.
_money = lru_cache(maxsize=4096)(format_pico)


def settled(event: ReservationSettled) -> bytes:
    """Write a settlement."""
    head = (
        f'{{"charged":"{_money(event.charged)}","credit":"{_money(event.credit)}",'
        f'"customer":{quoted(event.customer)},"final":{"true" if event.final else "false"},'
        f'"from_balance":"{_money(event.from_balance)}","grants":[{_parts(event.grants)}],'
    )
    parts = [head]
    if event.inference is not None:
        parts.append('"inference":true,')
    if event.license is not None:
        parts.append(f'"license":{quoted(event.license)},')
    if event.licensed is not None:
        parts.append(f'"licensed":{quoted(event.licensed)},')
    parts.append(f'"model":{quoted(event.model)},')
    if event.occurred_at is not None:
        parts.append(f'"occurred_at":"{format_instant(event.occurred_at)}",')
    parts.append(
        f'"period":{quoted(event.period)},"price_book":{quoted(event.price_book)},'
        f'"price_version":{event.price_version},"receivable":"{_money(event.receivable)}",'
    )
    if event.record is not None:
        parts.append(f'"record":{quoted(event.record)},')
    parts.append(f'"released":"{_money(event.released)}",')
    if event.request_hash is not None:
        parts.append(f'"request_hash":{quoted(event.request_hash)},')
    parts.append(f'"reservation":{quoted(event.reservation)},')
    if event.response_hash is not None:
        parts.append(f'"response_hash":{quoted(event.response_hash)},')
    if event.source is not None:
        parts.append(f'"source":{quoted(event.source)},')
    parts.append(f'"usage":{{{_usage(event.usage)}}},"volume":{event.volume}}}')
    return "".join(parts).encode()


def held(event: ReservationHeld) -> bytes | None:
    """Write a hold; None where it says more than amounts, which is left to the general encoder."""
    if event.decision is not None or event.facts is not None:
        return None
    head = (
        f'{{"credit":"{_money(event.credit)}","customer":{quoted(event.customer)},'
        f'"estimate":{{{_usage(event.estimate)}}},'
        f'"expires_at":"{format_instant(event.expires_at)}",'
        f'"grants":[{_parts(event.grants)}],"held":"{_money(event.held)}",'
    )
    parts = [head]
    if event.inferences is not None:
        parts.append(f'"inferences":{event.inferences},')
    if event.license is not None:
        parts.append(f'"license":{quoted(event.license)},')
    if event.license_key is not None:
        parts.append(f'"license_key":{quoted(event.license_key)},')
    parts.append(f'"model":{quoted(event.model)},')
    if event.request_hash is not None:
        parts.append(f'"request_hash":{quoted(event.request_hash)},')
    parts.append(f'"reservation":{quoted(event.reservation)}')
    if event.ttl_seconds is not None:
        parts.append(f',"ttl_seconds":{event.ttl_seconds}')
    parts.append("}")
    return "".join(parts).encode()


def settled_together(event: InferencesSettled) -> bytes:
    """Write inferences that are told together."""
    license = "" if event.license is None else f'"license":{quoted(event.license)},'
    source = "" if event.source is None else f',"source":{quoted(event.source)}'
    return (
        f'{{"customer":{quoted(event.customer)},{license}"lines":['
        f'{",".join(map(_line, event.lines))}],"model":{quoted(event.model)},'
        f'"period":{quoted(event.period)},"price_book":{quoted(event.price_book)},'
        f'"price_version":{event.price_version},"reservation":{quoted(event.reservation)}'
        f"{source}}}"
    ).encode()


def _line(line: Line) -> str:
    parts = [f'{{"charged":"{_money(line.charged)}",']
    if line.credit is not None:
        parts.append(f'"credit":"{_money(line.credit)}",')
    if line.grants is not None:
        parts.append(f'"grants":[{_parts(line.grants)}],')
    parts.append(f'"id":{quoted(line.id)},')
    if line.licensed is not None:
        parts.append(f'"licensed":{quoted(line.licensed)},')
    if line.occurred_at is not None:
        parts.append(f'"occurred_at":"{format_instant(line.occurred_at)}",')
    if line.receivable is not None:
        parts.append(f'"receivable":"{_money(line.receivable)}",')
    if line.request_hash is not None:
        parts.append(f'"request_hash":{quoted(line.request_hash)},')
    if line.response_hash is not None:
        parts.append(f'"response_hash":{quoted(line.response_hash)},')
    parts.append(f'"usage":{{{_usage(line.usage)}}},"volume":{line.volume}}}')
    return "".join(parts)


def _parts(grants: tuple[tuple[str, int], ...]) -> str:
    return ",".join([f'[{quoted(name)},"{_money(amount)}"]' for name, amount in grants])


def _usage(usage: Quantities) -> str:
    if MEASURED.isdisjoint(usage):
        return ",".join([f'"{unit}":{usage[unit]}' for unit in sorted(usage)])
    wire: dict[str, Any] = quantities_to_wire(usage)
    return ",".join(
        [f'"{name}":"{it}"' if type(it) is str else f'"{name}":{it}' for name, it in wire.items()]
    )
