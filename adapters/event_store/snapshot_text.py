"""Snapshots as text: what canonical JSON makes of a balance and its position, in less time.

A customer may have thousands of open holds, which are most of a snapshot: their text is written
as it is known to be, and all else by the general way. Tests hold the two to the same bytes.
"""

from functools import lru_cache
from json.encoder import encode_basestring as quoted

from tollbook import canonical
from tollbook.amounts import format_pico
from tollbook.times import format_instant

from application.ports import Snapshot
from domain.holds import Hold, Holds
from domain.state import balance_to_wire, untouched_since
from domain.units import Quantities

BYTES_MAX = 256 * 2**20

# Holds have their amounts in common with their parts, and often with one another.
_money = lru_cache(maxsize=4096)(format_pico)


def snapshot_text(snapshot: Snapshot) -> str:
    """Write a balance in the documented state format, with its position.

    Beside it stands when its untouched holds were opened, in microseconds since 1970.
    """
    balance = snapshot.balance
    since = sorted(untouched_since(balance).items())
    opened = ",".join([f"{quoted(name)}:{at}" for name, at in since])
    members = {
        name: canonical.dumps(value, max_bytes=BYTES_MAX).decode()
        for name, value in balance_to_wire(balance._replace(holds=Holds())).items()
    }
    members["holds"] = f"{{{','.join(map(_hold, sorted(balance.holds.items())))}}}"
    written = ",".join([f'"{name}":{members[name]}' for name in sorted(members)])
    return f'{{"balance":{{{written}}},"opened":{{{opened}}},"position":{snapshot.position}}}'


def _hold(named: tuple[str, Hold]) -> str:
    name, hold = named
    amount, expires_at, parts, credit, model, estimate, license, opened_at, each, _ = hold
    several = "" if each is None else f'"each":{{{_quantities(each)}}},'
    licensed = "" if license is None else f'"license":{quoted(license)},'
    opened = "" if license is None else f'"opened_at":"{format_instant(opened_at)}",'
    own = ",".join([f'[{quoted(part)},"{_money(its)}"]' for part, its in parts])
    return (
        f'{quoted(name)}:{{"amount":"{_money(amount)}","credit":"{_money(credit)}",{several}'
        f'"estimate":{{{_quantities(estimate)}}},"expires_at":"{format_instant(expires_at)}",'
        f'{licensed}"model":{quoted(model)},{opened}"parts":[{own}]}}'
    )


def _quantities(quantities: Quantities) -> str:
    return ",".join([f'"{unit}":"{quantities[unit]}"' for unit in sorted(quantities)])
