"""Where each value of a TOML document stands: its path to its line, so that an error can say it.

The standard library reads TOML but forgets the lines. This walks a text which it has accepted
already, so the grammar is taken for granted and only keys, brackets and strings are looked at.
"""

import re

Path = tuple[str | int, ...]
"""The keys, and the places in arrays (from 0), that lead to a value."""

_SPACE = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_KEY = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'{3}.*?\'{3,5}|"(?:[^"\\]|\\.)*"|\'[^\']*\'', re.DOTALL
)
_BARE = re.compile(r"[^,\]}\r\n#]*")


def lines_of(text: str) -> dict[Path, int]:
    """Return the line (from 1) of each table, key and array item of a valid TOML text."""
    walk = _Walk(text)
    walk.document()
    return walk.lines


def line_of(lines: dict[Path, int], path: Path) -> int | None:
    """Return the line of a value, or of the nearest thing around it that stands in the text."""
    for length in range(len(path), 0, -1):
        found = lines.get(path[:length])
        if found is not None:
            return found
    return None


class _Walk:
    """One walk through a text: the place where it stands, and the lines found so far."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted_to = 0
        self._line = 1
        self._items: dict[Path, int] = {}
        self.lines: dict[Path, int] = {}

    def document(self) -> None:
        """Walk from the first statement to the last."""
        table: Path = ()
        while True:
            self._skip(_GAP)
            if self._at >= len(self._text):
                return
            if self._peek("["):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        many = self._text.startswith("[[", self._at)
        start = self._at
        self._at += 2 if many else 1
        *outer, last = self._keys()
        self._at += 2 if many else 1
        path: Path = ()
        for key in outer:
            path = self._inside((*path, key))
        path = (*path, last)
        if many:
            self._items[path] = self._items.get(path, -1) + 1
        path = self._inside(path)
        self._note(path, start)
        return path

    def _inside(self, path: Path) -> Path:
        """Step into the newest item where a key names an array of tables."""
        return (*path, self._items[path]) if path in self._items else path

    def _pair(self, table: Path) -> None:
        start = self._at
        path = (*table, *self._keys())
        self._note(path, start)
        self._at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        if self._peek("["):
            self._at += 1
            place = 0
            while not self._closed("]"):
                self._note((*path, place), self._at)
                self._value((*path, place))
                place += 1
        elif self._peek("{"):
            self._at += 1
            while not self._closed("}"):
                self._pair(path)
        else:
            self._skip(_STRING if self._peek('"') or self._peek("'") else _BARE)

    def _closed(self, bracket: str) -> bool:
        """Skip what separates items; step over the closing bracket if it comes next."""
        self._skip(_GAP)
        closed = self._peek(bracket) or self._at >= len(self._text)
        self._at += closed
        return closed

    def _keys(self) -> list[str]:
        """Read a key with its dots, and leave the place after it and the space behind it."""
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            match = _KEY.match(self._text, self._at)
            word = match.group() if match else ""
            self._at += len(word)
            keys.append(word[1:-1] if word[:1] in ("'", '"') else word)
            self._skip(_SPACE)
            if not self._peek("."):
                return keys
            self._at += 1

    def _peek(self, mark: str) -> bool:
        return self._text.startswith(mark, self._at)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at + 1

    def _note(self, path: Path, start: int) -> None:
        self._line += self._text.count("\n", self._counted_to, start)
        self._counted_to = start
        self.lines.setdefault(path, self._line)
