"""Ids of commands: made before the first try, so that every try of one command is the same command.

An id begins with what it names (`rsv_`), goes on with the time in milliseconds, and ends with 80
random bits: ids sort by when they were made, and never meet.
"""

import os
import re
import time

from tollbook.errors import Invalid

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Base 32 after Crockford, which leaves out what people mistake for one another."""

TIME_DIGITS = 10
NOISE_DIGITS = 16
NOISE_BITS = NOISE_DIGITS * 5

ID_RULE = "1 to 128 of A-Za-z0-9._:-"

_AHEAD = 256
"""Random bits for so many ids are asked for at once: asking takes longer than making an id."""
_noise: list[int] = []

_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
_ID_TEXT = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def new_id(prefix: str) -> str:
    """Make an id that nobody has made before."""
    return make_id(prefix, time.time_ns() // 1_000_000, _next_noise())


def make_id(prefix: str, milliseconds: int, noise: int) -> str:
    """Write an id from its parts."""
    return f"{prefix}_{_digits(milliseconds, TIME_DIGITS)}{_digits(noise, NOISE_DIGITS)}"


def check_id(field: str, value: object) -> str:
    """Return an id, or raise Invalid when it has a form that no id of the ledger has."""
    if not isinstance(value, str) or _ID_TEXT.fullmatch(value) is None:
        raise Invalid.because(field, value, ID_RULE)
    return value


def in_path(field: str, value: object) -> str:
    """Return an id as one step of a path, which it can neither leave nor lengthen."""
    checked = check_id(field, value)
    # A step of one or two dots would lead elsewhere.
    return checked.replace(".", "%2E") if checked in (".", "..") else checked


def _next_noise() -> int:
    """Return random bits that nobody else gets, in whatever thread."""
    try:
        return _noise.pop()
    except IndexError:
        data, size = os.urandom(_AHEAD * NOISE_BITS // 8), NOISE_BITS // 8
        fresh = [int.from_bytes(data[at : at + size]) for at in range(0, len(data), size)]
        mine = fresh.pop()
        _noise.extend(fresh)
        return mine


if hasattr(os, "register_at_fork"):
    # Whoever is forked would make the same ids as its parent.
    os.register_at_fork(after_in_child=_noise.clear)


def _digits(number: int, count: int) -> str:
    """Write an even count of digits, two at a time."""
    return "".join([_PAIRS[number >> place & 1023] for place in range(5 * count - 10, -1, -10)])
