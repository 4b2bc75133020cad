"""JSON in its own words: a document taken apart into slices of its text, and put together again.

What is not replaced keeps every character, so that no number is ever written anew. A name given
twice is refused, and so is one with a zero in it: the server would read another document than the
gateway did.
"""

import json
import re
from typing import Any, NamedTuple

from tollbook.errors import Invalid

VALUES_MAX = 1_000_000
"""No more commas in a request's JSON: whoever reads millions of values holds everybody else up."""

_SPACE = re.compile(r"[ \t\n\r]*")
_BLANKS = frozenset(" \t\n\r")
_text_of = json.JSONEncoder(ensure_ascii=False).encode


class Piece(NamedTuple):
    """A value: as text, and as what it says."""

    raw: str
    value: Any


class Member(NamedTuple):
    """A member of an object."""

    name: str
    raw: str
    """The value as text."""
    value: Any
    """What it says; for an opened one its members (an object) or its pieces (an array)."""
    text: str
    """The whole member, its name included."""


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs) or "\0" in "".join(found):
        raise ValueError("names of members must be given once, without a zero character")
    return found


_STRICT = json.JSONDecoder(object_pairs_hook=_unambiguous, parse_float=str)
_LENIENT = json.JSONDecoder(parse_float=str)
"""For answers: in those of ensembles Triton gives names twice."""


def opened(text: str, within: frozenset[str] = frozenset(), *, strict: bool = True) -> list[Member]:
    """Return the members of the object that a text is; raises Invalid unless it is one.

    Members that are named in `within` are taken apart as well, where they are objects or arrays.
    """
    if strict and text.count(",") > VALUES_MAX:
        rule = f"JSON of at most {VALUES_MAX} values: infer takes larger tensors in binary"
        raise Invalid.because("body", None, rule)
    try:
        reading = _Reading(text, _STRICT if strict else _LENIENT)
        members, end = reading.members(_skipped(text, 0), within)
        if strict:
            reading.check()
    except (ValueError, IndexError, RecursionError) as error:
        raise Invalid.because("body", None, f"one JSON object ({_said(error)})") from None
    if _skipped(text, end) != len(text):
        raise Invalid.because("body", None, "one JSON object, and nothing behind it")
    return members


def closed(members: list[str]) -> str:
    """Return the object with these members, each as text."""
    return "{" + ",".join(members) + "}"


def dumped(value: Any) -> str:
    """Return a value as JSON; raises Invalid for text that has no encoding."""
    text = _text_of(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Invalid.because("id", value, "text that can be encoded") from None
    return text


class _Reading:
    """One document on its way to its slices."""

    def __init__(self, text: str, decoder: json.JSONDecoder) -> None:
        self._text = text
        self._value = decoder.raw_decode
        self._found: list[list[Member]] = []

    def check(self) -> None:
        """Raise ValueError for an ambiguous name in an object that was taken apart."""
        for members in self._found:
            _unambiguous([(member.name, None) for member in members])

    def members(self, at: int, within: frozenset[str]) -> tuple[list[Member], int]:
        """Return the members of the object that begins here, and where it ends."""
        text, found = self._text, list[Member]()
        self._found.append(found)
        at = _after(text, at, "{")
        if text[at] == "}":
            return found, at + 1
        while True:
            if text[at] != '"':
                raise ValueError(f"no name of a member at {at}")
            start, end = at, text.find('"', at + 1)
            name, at = text[at + 1 : end], end + 1
            if end < 0 or not name.isidentifier():
                name, at = self._value(text, start)  # it may hold escapes, or what no name may
            begin = _after(text, at, ":")
            value, at = self._opened(begin) if name in within else self._value(text, begin)
            found.append(Member(name, text[begin:at], value, text[start:at]))
            if text[at] in _BLANKS:
                at = _skipped(text, at)
            if text[at] == "}":
                return found, at + 1
            at = _after(text, at, ",")

    def _opened(self, at: int) -> tuple[Any, int]:
        if self._text[at] == "{":
            return self.members(at, frozenset())
        return self._pieces(at) if self._text[at] == "[" else self._value(self._text, at)

    def _pieces(self, at: int) -> tuple[list[Piece], int]:
        text, found = self._text, list[Piece]()
        at = _after(text, at, "[")
        if text[at] == "]":
            return found, at + 1
        while True:
            begin = at
            value, at = self._value(text, begin)
            found.append(Piece(text[begin:at], value))
            if text[at] in _BLANKS:
                at = _skipped(text, at)
            if text[at] == "]":
                return found, at + 1
            at = _after(text, at, ",")


def _after(text: str, at: int, sign: str) -> int:
    """Return where the text goes on behind a sign, which blanks may stand before and behind."""
    if text[at] != sign:
        at = _skipped(text, at)
        if text[at] != sign:
            raise ValueError(f"no {sign} at {at}")
    at += 1
    return _skipped(text, at) if text[at : at + 1] in _BLANKS else at


def _skipped(text: str, at: int) -> int:
    if text[at : at + 1] not in _BLANKS:
        return at  # as it is nearly always, and cheaper to see so
    found = _SPACE.match(text, at)
    assert found is not None  # it matches nothing as well
    return found.end()


def _said(error: BaseException) -> str:
    if isinstance(error, IndexError):
        return "it ends too early"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]
