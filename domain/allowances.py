"""Allowances: money that a reservation holds, handed out inference by inference without the ledger.

Who hands it out draws what an inference can cost at worst before it runs, and tallies what came of
it. Never is more drawn than is held, and nothing is drawn that could outlive the hold.
"""

from typing import Literal, NamedTuple

from domain.outcomes import Refusal
from domain.pricebook import PriceBook
from domain.pricing import worst
from domain.reserving import highest, no_price, no_rate
from domain.units import QUANTITY_MAX, UNITS, Quantities

_BOUNDED = "output_tokens"
"""A hold counts no more of this unit than one inference can make, so no large one rests on it."""
_RARE = "cached_input_tokens"
"""Never dearer than input."""


class Allowance(NamedTuple):
    """A slice of money; amounts in 10^-12, instants in microseconds."""

    reservation: str
    amount: int
    """What the ledger holds for it."""
    expires_at: int
    """When the ledger holds it no longer."""
    drawn: int = 0
    """What inferences under way may cost at worst."""
    spent: int = 0
    """What those that ended can have cost at worst."""

    @property
    def left(self) -> int:
        """What may still be drawn."""
        return max(0, self.amount - self.drawn - self.spent)


class NoDraw(NamedTuple):
    """Why nothing is drawn."""

    why: Literal["spent", "ending"]
    """`spent`: less is left than the inference can cost; `ending`: it could outlive the hold."""
    required: int
    left: int


def draw(allowance: Allowance, cost: int, now: int, longest: int) -> Allowance | NoDraw:
    """Take what an inference can cost; it may run for `longest` microseconds from now."""
    if now + longest >= allowance.expires_at:
        return NoDraw("ending", cost, allowance.left)
    if cost > allowance.left:
        return NoDraw("spent", cost, allowance.left)
    return allowance._replace(drawn=allowance.drawn + cost)


def tally(allowance: Allowance, drawn: int, cost: int) -> Allowance:
    """Put what an inference can have cost in the place of what was drawn for it.

    What it did not use may be drawn again. Where it used more, the less is left.
    """
    return allowance._replace(drawn=allowance.drawn - drawn, spent=allowance.spent + cost)


def estimated_cost(
    book: PriceBook, model: str, estimate: Quantities, start: int, end: int
) -> int | Refusal:
    """Return the worst price of an estimate, at whatever volume its customer stands.

    It is the price of a hold, without what only the ledger knows: so it is never less.
    """
    return highest(book, model, estimate, start, end)


def used_cost(book: PriceBook, model: str, usage: Quantities, start: int, end: int) -> int:
    """Return the most that usage can be charged, at whatever volume its customer stands.

    Usage that has no price is parked, and counts as nothing.
    """
    found = 0
    for version in book.in_force_between(start, end):
        prices = version.models.get(model)
        if prices is not None and no_rate(prices, model, usage) is None:
            found = max(found, worst(prices, usage, 0))
    return found


def filling(book: PriceBook, model: str, amount: int, start: int, end: int) -> Quantities | Refusal:
    """Return an estimate whose worst price is an amount, or as little more as a unit costs.

    It is of the dearest unit, so that limits and caps count as few units of it as may be.
    """
    best: tuple[int, str] | None = None
    for unit in sorted(UNITS - {_BOUNDED, _RARE}):
        price = highest(book, model, {unit: 1, _BOUNDED: 0}, start, end)
        if isinstance(price, int) and price and (best is None or price > best[0]):
            best = price, unit
    if best is None:
        return no_price(model, book)
    count = min(-(-amount // best[0]), QUANTITY_MAX)
    return dict(sorted({best[1]: count, _BOUNDED: 0}.items()))
