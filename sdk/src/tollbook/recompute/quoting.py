"""What a customer's usage costs and how large a hold must be, or why nothing can be said."""

from typing import NamedTuple

from tollbook.recompute.account import Account
from tollbook.recompute.prices import Quantities, Unpriced, Version, month


class Price(NamedTuple):
    """The price of usage, with what it was computed from."""

    amount: int
    period: str
    version: int
    volume: int


def price_of(account: Account, model: str, usage: Quantities, occurred_at: int) -> Price | Unpriced:
    """Price usage by the version in force when it occurred, at the volume reached so far."""
    versions = _versions(account, occurred_at, occurred_at)
    if not versions:
        return _no_price(account, model)
    refused = _unpriced(account, versions[-1], model, usage)
    if refused is not None:
        return refused
    period = month(occurred_at, account.term("time_zone"))
    volume = account.volumes.get(f"{model}/{period}", 0)
    version = versions[-1]
    return Price(version.models[model].charge(usage, volume), period, version.number, volume)


def hold_size(
    account: Account, model: str, estimate: Quantities, start: int, end: int, inferences: int = 1
) -> int | Unpriced:
    """Return the worst price of an estimate under every version in force from start to end.

    Each of several inferences may come to that price.
    A period that begins before the end may begin at volume zero, so that is looked at as well.
    Where nothing is in force at the start there is no price at all.
    """
    versions = _versions(account, start, end)
    if not versions or versions[0].effective_from > start:
        return _no_price(account, model)
    zone = account.term("time_zone")
    period = month(start, zone)
    volumes = [account.volumes.get(f"{model}/{period}", 0)]
    if month(end, zone) != period:
        volumes.append(0)
    worst = 0
    for version in versions:
        refused = _unpriced(account, version, model, estimate)
        if refused is not None:
            return refused
        prices = version.models[model]
        worst = max(worst, *[prices.worst(estimate, volume) for volume in volumes], 0)
    return worst * inferences


def _versions(account: Account, start: int, end: int) -> list[Version]:
    """Return the versions of the customer's book that are in force; none in another currency."""
    book = account.books.get(account.term("price_book"))
    if book is None or book.currency != account.term("currency"):
        return []
    return book.in_force(start, end)


def _unpriced(account: Account, version: Version, model: str, usage: Quantities) -> Unpriced | None:
    prices = version.models.get(model)
    if prices is None:
        return _no_price(account, model)
    unit = prices.unpriced(usage)
    return None if unit is None else Unpriced("unknown_unit", {"model": model, "unit": unit})


def _no_price(account: Account, model: str) -> Unpriced:
    return Unpriced("unknown_model", {"model": model, "price_book": account.term("price_book")})
