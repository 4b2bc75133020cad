"""One event under examination: what it says, against what it should say."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tollbook.amounts import format_pico, parse_pico
from tollbook.errors import Invalid


class Difference(NamedTuple):
    """Something that the ledger says and that is not so."""

    position: int
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.position}: {self.what}: expected {self.expected}, found {self.found}"


Differ = Callable[[Difference], None]

Place = tuple[str, int]
"""The stream in which an event belongs, and its version there."""

SHOWN_MAX = 300


class Fact:
    """An event's payload with the time and the command of its envelope."""

    __slots__ = ("_differ", "at", "command", "data", "name", "position")

    def __init__(
        self, position: int, name: str, at: int, command: str, data: dict[str, Any], differ: Differ
    ) -> None:
        """Take what the rules look at; `at` is when the ledger recorded the event."""
        self.position = position
        self.name = name
        self.at = at
        self.command = command
        self.data = data
        self._differ = differ

    def part(self, name: str, command: str, data: dict[str, Any]) -> "Fact":
        """Return a part of this event as an event of its own, under a name for reports."""
        return Fact(self.position, name, self.at, command, data, self._differ)

    def differ(self, field: str, expected: object, found: object) -> None:
        """Report that a field is not what it should be."""
        self._differ(
            Difference(self.position, f"{self.name}.{field}", shown(expected), shown(found))
        )

    def check(self, field: str, expected: object) -> None:
        """Compare a field of the payload, in value and in type."""
        found = self.data.get(field)
        if not alike(found, expected):
            self.differ(field, expected, found)

    def check_money(self, field: str, amount: int) -> None:
        """Compare an amount of money with its one spelling."""
        expected = format_pico(amount)
        if self.data.get(field) != expected:
            self.differ(field, expected, self.data.get(field))

    def check_parts(self, field: str, parts: Iterable[tuple[str, int]]) -> None:
        """Compare a list of (id, amount) pairs, order included."""
        expected = [[name, format_pico(amount)] for name, amount in parts]
        if self.data.get(field) != expected:
            self.differ(field, expected, self.data.get(field))

    def money(self, field: str) -> int:
        """Read an amount that is an input: recorded as somebody gave it."""
        return parse_pico(self.data[field], field)

    def as_found(self, field: str) -> int:
        """Read an amount that cannot be recomputed, so that one finding does not become many."""
        try:
            return parse_pico(self.data.get(field), field)
        except Invalid:
            return 0


def alike(one: object, other: object) -> bool:
    """Say whether two JSON values are the same, in every value and in every type."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other


def shown(value: object) -> str:
    """Write a value for a report: text as it is, the rest as Python shows it, never too long."""
    text = value if isinstance(value, str) else "nothing" if value is None else repr(value)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."
