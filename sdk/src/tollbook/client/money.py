"""Money as the client gives and takes it: exact, with its currency, never a float.

Inside it is a whole number of 10^-12, so sums are exact whatever the context of `decimal` is.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from tollbook.amounts import format_pico, parse_pico
from tollbook.errors import Invalid

PLACES = 12

Amount = str | int | Decimal
"""What a caller may give as an amount of money; a float is refused."""


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount of one currency."""

    pico: int
    """The amount in 10^-12 of the currency unit."""
    currency: str

    @classmethod
    def of(cls, amount: Amount, currency: str) -> Self:
        """Make money from a decimal string, a whole number or a Decimal."""
        return cls(parse_pico(amount_text(amount)), currency)

    @classmethod
    def from_wire(cls, value: Any, field: str = "money") -> Self:
        """Read money as it travels: an amount as a decimal string, and its currency."""
        if not isinstance(value, dict) or not isinstance(value.get("currency"), str):
            raise Invalid.because(field, value, "an object of an amount and its currency")
        return cls(parse_pico(value.get("amount"), field), value["currency"])

    def to_wire(self) -> dict[str, str]:
        """Write money as it travels."""
        return {"amount": format_pico(self.pico), "currency": self.currency}

    @property
    def amount(self) -> Decimal:
        """Return the amount as an exact Decimal with all twelve places."""
        return Decimal(format_pico(self.pico))

    def __str__(self) -> str:
        """Write the amount with all its places, and the currency."""
        return f"{format_pico(self.pico)} {self.currency}"

    def __bool__(self) -> bool:
        """Say whether this is anything but zero."""
        return self.pico != 0

    def __add__(self, other: "Money") -> "Money":
        """Add money of the same currency."""
        return Money(self.pico + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        """Subtract money of the same currency."""
        return Money(self.pico - self._same(other), self.currency)

    def __neg__(self) -> "Money":
        """Return the same amount with the other sign."""
        return Money(-self.pico, self.currency)

    def __lt__(self, other: "Money") -> bool:
        """Compare money of the same currency."""
        return self.pico < self._same(other)

    def __le__(self, other: "Money") -> bool:
        """Compare money of the same currency."""
        return self.pico <= self._same(other)

    def _same(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise Invalid.because("currency", other.currency, f"{self.currency} like the other")
        return other.pico


def amount_text(amount: Amount, field: str = "amount") -> str:
    """Write an amount as the decimal string that travels."""
    if isinstance(amount, Decimal) and amount.is_finite():
        return format(amount, "f")
    if type(amount) is int:
        return str(amount)
    if type(amount) is str:
        return amount
    raise Invalid.because(field, amount, "a decimal string, a whole number or a Decimal")
