"""What an audit finds: differences, of which the first thousand are listed and all are counted."""

from typing import Any, NamedTuple

from tollbook import canonical
from tollbook.errors import Invalid

LISTED_MAX = 1000
SHOWN_MAX = 300


class Difference(NamedTuple):
    """Something that the ledger says and that is not so."""

    position: int
    what: str
    expected: str
    found: str


class Findings:
    """Collects differences within bounds."""

    def __init__(self) -> None:
        """Start with none."""
        self.listed: list[Difference] = []
        self.total = 0

    def note(self, position: int, what: str, expected: object, found: object) -> None:
        """Take a difference; values that are no text are shown as JSON."""
        self.add((position, what, shown(expected), shown(found)))

    def add(self, difference: tuple[int, str, str, str]) -> None:
        """Take a difference that is ready to be shown."""
        self.total += 1
        if len(self.listed) < LISTED_MAX:
            self.listed.append(Difference(*difference))

    def compare(
        self, position: int, what: str, expected: dict[str, Any], found: dict[str, Any]
    ) -> None:
        """Note each member in which two documents differ."""
        for name in [*expected, *(name for name in found if name not in expected)]:
            if expected.get(name) != found.get(name):
                self.note(position, f"{what}: {name}", expected.get(name), found.get(name))


def shown(value: object) -> str:
    """Write a value for a report, never too long."""
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else _spelt(value)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."


def _spelt(value: object) -> str:
    try:
        return canonical.dumps(value).decode()
    except Invalid:
        return repr(value)
