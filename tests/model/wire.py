"""How times and amounts look on the wire, read and written a second time, independently."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000


def instant(text: str) -> int:
    """Return the microseconds since 1970 of a time on the wire."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def written(moment: int) -> str:
    """Write a moment as it stands on the wire."""
    return (EPOCH + timedelta(microseconds=moment)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def is_amount(expected: Fraction, seen: Any, currency: str) -> bool:
    """Say whether what was seen is this amount, written with all its twelve places."""
    if isinstance(seen, dict):
        if seen.keys() != {"amount", "currency"} or seen["currency"] != currency:
            return False
        seen = seen["amount"]
    return (
        isinstance(seen, str) and len(seen.partition(".")[2]) == 12 and Fraction(seen) == expected
    )


def agrees(expected: Any, seen: Any, currency: str) -> bool:
    """Compare facts: fractions with amounts, sets with any of their members."""
    if isinstance(expected, Fraction):
        return is_amount(expected, seen, currency)
    if isinstance(expected, set):
        return seen in expected
    if isinstance(expected, dict):
        return isinstance(seen, dict) and all(
            name in seen and agrees(value, seen[name], currency) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return len(expected) == len(seen) and all(
            agrees(value, other, currency) for value, other in zip(expected, seen, strict=True)
        )
    return bool(expected == seen)
