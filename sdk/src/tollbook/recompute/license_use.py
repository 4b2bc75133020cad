"""How an account's licences count: what is admitted, given back, and used."""

from tollbook.recompute.account import Account, Reservation
from tollbook.recompute.license_limits import Held, Use, admit, end
from tollbook.recompute.prices import Quantities


def count_admitted(
    account: Account, name: str | None, model: str, units: Quantities, at: int, *, new: bool = True
) -> None:
    """Count what a licence admitted, if one did."""
    license = account.licenses.get(name or "")
    if license is not None:
        admit(license.counts, model, units, at, account.term("time_zone"), new=new)


def count_used(account: Account, name: str | None, model: str, use: Use, at: int) -> None:
    """Count a charge that has no hold, under the licence that it names."""
    license = account.licenses.get(name or "")
    if license is not None:
        end(license.counts, model, None, use, at, account.term("time_zone"))


def count_ended(account: Account, reservation: str, at: int) -> None:
    """Give back what a hold that ends without a charge still expects; call it before it ends."""
    known = account.reservations.get(reservation)
    if known is not None and reservation in account.holds:
        _count(account, known, None, None, at)


def count_settled(
    account: Account, reservation: Reservation, after: Quantities | None, use: Use, at: int
) -> None:
    """Count a settlement of an open hold, which expects `after` from then on, or has ended."""
    _count(account, reservation, after, use, at)


def _count(
    account: Account, reservation: Reservation, after: Quantities | None, use: Use | None, at: int
) -> None:
    license = account.licenses.get(reservation.license or "")
    if license is not None:
        held = Held(reservation.opened_at, reservation.left, after)
        zone = account.term("time_zone")
        end(license.counts, reservation.model, held, use, at, zone)
