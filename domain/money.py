"""Rounding, in one place: charges are exact; only people and invoice lines see it rounded."""

from domain.values import PICO

MINOR_DIGITS = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "BHD": 3, "KWD": 3, "JOD": 3, "TND": 3}
"""Digits of the minor unit where it is not two (ISO 4217)."""


def minor_digits(currency: str) -> int:
    """Return how many digits the minor unit of a currency has."""
    return MINOR_DIGITS.get(currency, 2)


def round_to_minor(amount: int, currency: str) -> int:
    """Round an exact amount (10^-12) half-even to whole minor units of its currency."""
    step: int = PICO // 10 ** minor_digits(currency)
    quotient, remainder = divmod(amount, step)
    if remainder * 2 > step or (remainder * 2 == step and quotient % 2):
        quotient += 1
    return quotient


def display(amount: int, currency: str) -> str:
    """Write an amount for a person: rounded half-even, thousands separated, currency last."""
    digits = minor_digits(currency)
    minor = round_to_minor(amount, currency)
    sign, minor = ("-", -minor) if minor < 0 else ("", minor)
    whole, part = divmod(minor, 10**digits)
    fraction = f".{part:0{digits}d}" if digits else ""
    return f"{sign}{whole:,}{fraction} {currency}"
