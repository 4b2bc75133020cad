"""A price book file: TOML or JSON into one form, and complaints that name field and line."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.errors import Invalid

from domain.pricebook_file import check, read_book
from domain.toml_lines import line_of, lines_of

PAGE = Path(__file__).parents[2] / "docs" / "formats" / "price-book.md"
EXAMPLE = PAGE.read_text("utf-8").split("```toml example\n")[1].split("```")[0]

BOOK = """\
[book]
id = "default"                        # line 2
currency = "USD"
effective_from = 2025-01-01T01:00:00+01:00

[[model]]                             # line 6
name = "small"
prices = { input_tokens = "0.5", output_tokens = 2 }

[[model]]                             # line 10
name = 'big "one"'.x
"""


def model(text: str) -> bytes:
    """Return a book with one model; its first own line is line 7."""
    head = BOOK.split("[[model]]", maxsplit=1)[0]
    return f"{head}[[model]]\n{text}\n".encode()


def refused(data: bytes) -> Invalid:
    """Read a book that must be refused, and return the error."""
    with pytest.raises(Invalid) as caught:
        read_book(data)
    return caught.value


def test_the_documented_example_is_read() -> None:
    book = read_book(EXAMPLE.encode())
    assert list(book) == ["id", "currency", "effective_from", "models"]
    assert [each["name"] for each in book["models"]] == ["gpt4-equivalent", "embed"]
    assert book["models"][0]["tiers"][1]["cached_input"] == "0.8"


def test_a_toml_time_is_a_time() -> None:
    book = read_book(model('name = "m"\nprices = { pages = "1" }'))
    assert check(book).effective_from == 1_735_689_600_000_000


def test_json_toml_windows_and_a_byte_order_mark_read_the_same() -> None:
    text = model('name = "m"\nprices = { pages = "1" }')
    book = read_book(text)
    assert read_book(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n")) == book
    as_json = (
        b'{"id": "default", "currency": "USD", "effective_from": "2025-01-01T01:00:00+01:00",'
        b' "models": [{"name": "m", "prices": {"pages": "1"}}]}'
    )
    assert read_book(as_json) == book


LOCATED = [
    ('name = "m"\nprices = { pages = 0.5 }', "models.0.prices.pages", 8, "never a float"),
    ('name = "m"\nprices = { pages = nan }', "models.0.prices.pages", 8, "never a float"),
    ('name = "m"\n[model.prices]\npages = 1e3', "models.0.prices.pages", 9, "never a float"),
    ('name = "m"\nprices.pages = "x"', "models.0.prices.pages", 8, "at most 6"),
    ('name = "m"\ntiers = [\n {input = "1", output = "1", up_to = 5},\n {input = "z", output = 1}]',
     "models.0.tiers.1.input", 10, "at most 6"),
    ('name = "m"\n[[model.tiers]]\ninput = "1"\noutput = -1', "models.0.tiers.0.output", 10,
     "not negative"),
    ('name = "m"\n\n"surprise" = 1\nprices = {pages = 1}', "models.0.surprise", 9, "not permitted"),
    ('name = "a b"\nprices = { pages = 1 }', "models.0.name", 7, "pattern"),
    ('name = "m"', "models.0", 6, "has no price"),
    ("prices = { pages = 1 }", "models.0.name", 6, "required"),
    ('name = "m"\nsince = 2025-01-01\nprices = {pages = 1}', "models.0.since", 8, "offset"),
    ('name = """m"""\nnote = """\nline\n"""\nprices = {pages = "-"}', "models.0.prices.pages", 11,
     "at most 6"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "field", "line", "rule"), LOCATED)
def test_a_complaint_names_field_line_and_rule(text: str, field: str, line: int, rule: str) -> None:
    error = refused(model(text))
    assert (error.facts["field"], error.facts["line"]) == (field, line)
    assert rule in error.facts["rule"]
    assert error.message.startswith(f"line {line}: ")


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        (b"", "book", "[book]"),
        (b"\xff\xfe", "file", "UTF-8"),
        (b"[book\n", "file", "line 1"),
        (b"[book]\nid = 1\nid = 2\n", "file", "line 3"),
        (b"x = [" + b"[" * 5000 + b"]" * 5000 + b"]", "file", ""),
        (b"x = " + b"9" * 5000, "file", ""),
        (b"[book]\n[prices]\n", "prices", "absent"),
        (b"book = 1", "book", "[book]"),
        (b"[book]\n[model]\nname = 'm'", "model", "[[model]]"),
        (b"[book]\nmodels = []", "book.models", "[[model]]"),
        (b'[book]\nid = "x y"\n[[model]]\n', "id", "pattern"),
        (b'{"id": 1.5}', "number", "decimal string"),
        (b'{"id": "a", "id": "b"}', "key", "id"),
        (b"{", "document", "JSON"),
    ],
)
def test_a_file_that_is_no_book_is_refused(data: bytes, field: str, words: str) -> None:
    error = refused(data)
    assert words in error.message
    assert error.facts["field"] == field


def test_lines_are_found_whatever_the_spelling() -> None:
    text = (
        'a.b = 1 # [x]\n[c."d e"]\n\'f\' = ["]", """\n]""", [1,\n2]]\n'
        "[[g]]\n[[g]]\nh.i={j=[{k=1}]}\n"
    )
    tomllib.loads(text)
    lines = lines_of(text)
    expected = {
        ("a", "b"): 1,
        ("c", "d e"): 2,
        ("c", "d e", "f"): 3,
        ("c", "d e", "f", 1): 3,
        ("c", "d e", "f", 2): 4,
        ("c", "d e", "f", 2, 1): 5,
        ("g", 0): 6,
        ("g", 1): 7,
        ("g", 1, "h", "i", "j", 0, "k"): 8,
    }
    assert {path: lines.get(path) for path in expected} == expected
    assert line_of(lines, ("g", 1, "h", "missing")) == 7
    assert line_of(lines, ("nothing",)) is None


@given(st.text(alphabet="[]{}=.,\"'\\\n\r #ab1-_\t", max_size=60))
def test_every_text_that_is_toml_can_be_walked(text: str) -> None:
    try:
        tomllib.loads(text)
    except ValueError:
        return
    lines = lines_of(text)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
