"""What clients of a gateway saw: answers that must be right, errors, and pieces of streams."""

from collections import Counter
from hashlib import sha256
from typing import Any

_WORDS = (
    *("the", "a", "small", "quiet", "river", "city", "light", "stone"),
    *("winter", "song", "carries", "holds", "finds", "opens"),
)


def generated(text: str, count: int) -> list[str]:
    """Return the words that our models generate for a text."""
    digests = (sha256(f"{number} {text}".encode()).digest() for number in range(count))
    return [_WORDS[digest[0] % len(_WORDS)] for digest in digests]


class Seen:
    """What all clients saw together."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.kinds: Counter[str] = Counter()
        """How many inferences were asked for, by kind."""
        self.errors: Counter[str] = Counter()
        """How many ended with an error, by kind and what it said."""
        self.right: set[str] = set()
        """The gateway's ids of inferences whose whole answer was right."""
        self.words: Counter[str] = Counter()
        """How many words came in streams, by the gateway's id."""
        self.cached: dict[str, str] = {}
        """By inference the one whose answer it got from the cache."""

    def error(self, kind: str, error: object) -> None:
        """Take note of an error."""
        self.errors[f"{kind}: {str(error)[:120]}"] += 1

    def answer(self, got: Any, expected: Any) -> None:
        """Compare an answer with what the model says to everybody."""
        assert got == expected, f"a wrong answer: {got!r}, not {expected!r}"
