"""Exact decimals: text on the wire, integers inside, never a float.

- *pico*: money, in 10^-12 of the currency unit. Written with all 12 places.
- *micro*: a quantity (``gpu_seconds``, ``compute_units``), in 10^-6. Written as short as possible.
- *price*: in 10^-6 of the currency unit, per million tokens or per unit of anything else.

The scales fit together: one token at a price of 1 costs exactly 1 pico, and so does one millionth
of a GPU-second; so every charge is a product of integers and nothing is ever rounded here.
"""

import re

from tollbook.errors import Invalid

PICO = 10**12
MICRO = 10**6

PICO_RULE = "a decimal string with at most 26 digits before the point and at most 12 after it"
MICRO_RULE = "a decimal string with at most 26 digits before the point and at most 6 after it"
PRICE_RULE = MICRO_RULE + ", not negative"

_PICO_TEXT = re.compile(r"(-?(?:0|[1-9][0-9]{0,25}))(?:\.([0-9]{1,12}))?")
_MICRO_TEXT = re.compile(r"(-?(?:0|[1-9][0-9]{0,25}))(?:\.([0-9]{1,6}))?")
_PRICE_TEXT = re.compile(r"(0|[1-9][0-9]{0,25})(?:\.([0-9]{1,6}))?")


def format_pico(pico: int) -> str:
    """Write an amount of money with exactly 12 places."""
    if pico < 0:
        return "-" + format_pico(-pico)
    return f"{pico // PICO}.{pico % PICO:012d}"


def parse_pico(text: object, field: str = "amount") -> int:
    """Read an amount of money written with at most 12 places."""
    return _parse(text, field, _PICO_TEXT, 12, PICO_RULE)


def format_micro(micro: int) -> str:
    """Write a quantity with at most 6 places and no zero that says nothing."""
    if micro < 0:
        return "-" + format_micro(-micro)
    whole, fraction = divmod(micro, MICRO)
    return f"{whole}.{fraction:06d}".rstrip("0") if fraction else f"{whole:d}"


def parse_micro(text: object, field: str = "quantity") -> int:
    """Read a quantity written with at most 6 places."""
    return _parse(text, field, _MICRO_TEXT, 6, MICRO_RULE)


def format_price(price: int) -> str:
    """Write a price with at most 6 places and no zero that says nothing."""
    return format_micro(price)


def parse_price(text: object, field: str = "price") -> int:
    """Read a price written with at most 6 places; it may be zero but not negative."""
    return _parse(text, field, _PRICE_TEXT, 6, PRICE_RULE)


def _parse(text: object, field: str, form: re.Pattern[str], places: int, rule: str) -> int:
    match = form.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Invalid.because(field, text, rule)
    whole, fraction = match.groups("")
    return int(whole + fraction.ljust(places, "0"))
