"""How the guards of an account are written in the state format: activity, block, caps."""

from typing import Any

from tollbook.times import format_instant, parse_instant

from domain.activity import Activity, Bucket, of_buckets
from domain.balance import Balance, Block
from domain.cap import Cap, cap_from_wire, cap_to_wire
from domain.fraud_case import case_from_wire, case_to_wire
from domain.holds import Holds
from domain.metering import Meter, Meters, set_up


def guards_to_wire(balance: Balance) -> dict[str, Any]:
    """Write what guards an account; counts in strings, because a sum may pass 2^53."""
    block = balance.block
    return {
        "activity": _activity_to_wire(balance.activity),
        "block": None if block is None else _block_to_wire(block),
        "caps": [_meter_to_wire(meter) for meter in balance.meters],
        "case": case_to_wire(balance.case),
        "cleared_at": format_instant(balance.cleared_at) if balance.cleared_at else None,
    }


def _activity_to_wire(activity: Activity) -> dict[str, Any]:
    used = activity.newest >= 0
    return {
        "first_use": format_instant(activity.first_use) if used else None,
        "minutes": [_bucket_to_wire(bucket) for bucket in activity.minutes],
        "newest": format_instant(activity.newest) if used else None,
        "windows": [_bucket_to_wire(bucket) for bucket in activity.windows],
    }


def _bucket_to_wire(bucket: Bucket) -> list[Any]:
    return [format_instant(bucket.start), str(bucket.units), bucket.first, bucket.last]


def _block_to_wire(block: Block) -> dict[str, Any]:
    return {
        "blocked_at": format_instant(block.blocked_at),
        "occurred_at": format_instant(block.occurred_at),
        "recent": block.recent,
        "total": block.total,
        "windows": block.windows,
    }


def _meter_to_wire(meter: Meter) -> dict[str, Any]:
    """Write a cap and what was used of it; what is held follows from the holds."""
    used = [[format_instant(start), str(units)] for start, units in meter.used]
    return {**cap_to_wire(meter.cap), "used": used}


def guards_from_wire(wire: dict[str, Any], holds: Holds) -> dict[str, Any]:
    """Read what `guards_to_wire` wrote, as fields of a balance."""
    block, cleared_at = wire["block"], wire["cleared_at"]
    return {
        "activity": _activity_from_wire(wire["activity"]),
        "block": None if block is None else _block_from_wire(block),
        "case": case_from_wire(wire["case"]),
        "cleared_at": 0 if cleared_at is None else parse_instant(cleared_at),
        "meters": _meters_from_wire(wire["caps"], holds),
    }


def _activity_from_wire(wire: dict[str, Any]) -> Activity:
    if wire["newest"] is None:
        return Activity()
    return of_buckets(
        parse_instant(wire["first_use"]),
        parse_instant(wire["newest"]),
        map(_bucket_from_wire, wire["minutes"]),
        map(_bucket_from_wire, wire["windows"]),
    )


def _bucket_from_wire(wire: list[Any]) -> Bucket:
    start, units, first, last = wire
    return Bucket(parse_instant(start), int(units), first, last)


def _block_from_wire(wire: dict[str, Any]) -> Block:
    times = parse_instant(wire["blocked_at"]), parse_instant(wire["occurred_at"])
    return Block(*times, wire["recent"], wire["total"], wire["windows"])


def _meters_from_wire(wires: list[dict[str, Any]], holds: Holds) -> Meters:
    caps: list[Cap] = []
    used: list[Meter] = []
    for wire in wires:
        caps.append(cap_from_wire({name: value for name, value in wire.items() if name != "used"}))
        steps = tuple((parse_instant(start), int(units)) for start, units in wire["used"])
        used.append(Meter(caps[-1], steps))
    return set_up(caps, tuple(used), holds)
