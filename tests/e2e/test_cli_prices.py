"""`tollbook prices`: lint, publish, show and list, as a person and as a script see them."""

import json
from pathlib import Path

import pytest

from tests.support.shell import Shell, run_tollbook


def changed(file: Path, old: str, new: str) -> str:
    """Replace a part of a price book file, and return the file's name."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return str(file)


def test_lint_shows_what_a_thousand_typical_tokens_cost(prices_file: Path) -> None:
    ended = run_tollbook("prices", "lint", str(prices_file))
    assert ended.code == 0
    # 800 at 0.5 and 200 at 1.5 per million.
    assert "0.0007 USD" in ended.out
    assert "Valid." in ended.out
    ended = run_tollbook("prices", "lint", str(prices_file), "--json")
    (model,) = json.loads(ended.out)["models"]
    assert model["typical"]["price"] == {"amount": "0.000700000000", "currency": "USD"}
    assert model["typical"]["usage"] == {"input_tokens": 800, "output_tokens": 200}


def test_lint_names_field_value_rule_and_line(prices_file: Path) -> None:
    name = changed(prices_file, '"0.5"', "0.5")
    ended = run_tollbook("prices", "lint", name, "--json")
    assert ended.code == 2
    problem = json.loads(ended.out)
    assert (problem["field"], problem["value"]) == ("models.0.prices.input_tokens", "0.5")
    assert (problem["line"], problem["file"]) == (11, name)
    assert "never a float" in problem["rule"]
    assert f"{name}: line 11: " in ended.err


def test_lint_warns_and_is_strict_when_asked(prices_file: Path) -> None:
    name = changed(prices_file, "max_output_tokens = 1000\n", "")
    ended = run_tollbook("prices", "lint", name)
    assert ended.code == 0
    assert "warning: line 6: small has no max_output_tokens" in ended.out
    ended = run_tollbook("prices", "lint", name, "--strict", "--json")
    assert ended.code == 1
    assert [each["code"] for each in json.loads(ended.out)["warnings"]] == ["no_max_output_tokens"]


@pytest.mark.parametrize("content", [b"", b"\xff", b"[book", b"x" * (16 * 2**20 + 1)])
def test_what_is_no_price_book_is_unreadable_input(content: bytes) -> None:
    ended = run_tollbook("prices", "lint", "-", "--json", stdin=content)
    assert (ended.code, json.loads(ended.out)["code"]) == (2, "invalid")


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    ended = run_tollbook("prices", "lint", str(tmp_path / "none.toml"))
    assert ended.code == 2
    assert "No such file" in ended.err
    assert ended.out == ""


def test_the_first_publication_makes_the_ledger_and_says_so(
    tmp_path_factory: pytest.TempPathFactory, prices_file: Path
) -> None:
    new = Shell(tmp_path_factory.mktemp("new") / "ledger")
    assert new.run("prices", "list").code == 2
    ended = new.run("prices", "publish", str(prices_file), "--json")
    assert ended.code == 0
    assert "made a new ledger" in ended.err
    assert json.loads(ended.out)["version"] == 1
    assert new.json("prices", "list")["versions"][0]["book"] == "default"


def test_publishing_the_same_file_twice_has_one_effect(shell: Shell, prices_file: Path) -> None:
    again = shell.json("prices", "publish", str(prices_file))
    assert (again["version"], again["position"], again["repeated"]) == (1, 1, True)
    assert again["id"] == "default:2020-01-01T00:00:00.000000Z"
    assert "as before" in shell.text("prices", "publish", str(prices_file))


def test_the_same_instant_with_other_prices_is_refused(shell: Shell, prices_file: Path) -> None:
    name = changed(prices_file, '"0.5"', '"0.6"')
    problem = shell.json("prices", "publish", name, code=3)
    assert (problem["code"], problem["field"]) == ("id_reused", "models")
    assert problem["detail"].endswith("give new prices a later effective_from")


def test_prices_in_force_do_not_change(shell: Shell, prices_file: Path) -> None:
    name = changed(prices_file, "2020", "2021")
    changed(prices_file, '"0.5"', '"0.6"')
    problem = shell.json("prices", "publish", name, code=2)
    assert (problem["code"], problem["field"]) == ("invalid", "models.0.prices.input_tokens")
    told = shell.run("prices", "publish", name)
    assert "for model small in version 1: prices already in force do not change" in told.err


def test_versions_are_shown_by_number_by_time_and_in_a_list(
    shell: Shell, prices_file: Path
) -> None:
    name = changed(prices_file, "2020", "2090")
    changed(prices_file, '"0.5"', '"0.25"')
    changed(prices_file, '"default"', '"later"')
    changed(prices_file, "2090", "2080")
    shell.text("prices", "publish", name)
    changed(prices_file, "2080", "2090")
    changed(prices_file, '"0.25"', '"0.75"')
    assert shell.json("prices", "publish", "-", stdin=prices_file.read_bytes())["version"] == 2

    assert shell.json("prices", "show", "later", code=2)["code"] == "not_found"
    first = shell.json("prices", "show", "later", "--at", "2085-01-01T00:00:00Z")
    assert (first["version"], first["effective_until"]) == (1, "2090-01-01T00:00:00.000000Z")
    assert first["models"][0]["prices"]["input_tokens"] == "0.25"
    second = shell.text("prices", "show", "later", "--version", "2")
    assert "0.75" in second
    assert "the next version" in second
    assert shell.json("prices", "show", "later", "--version", "3", code=2)["field"] == "version"
    assert shell.json("prices", "show", "nothing", code=2)["field"] == "book"

    listed = shell.json("prices", "list")["versions"]
    assert [(each["book"], each["version"], each["in_force"]) for each in listed] == [
        ("default", 1, True),
        ("later", 1, False),
        ("later", 2, False),
    ]
    assert listed[0]["actor"].startswith("cli:")
    assert "later" in shell.text("prices", "list")


def test_a_version_that_adds_to_the_past_is_shown_in_its_place(
    shell: Shell, prices_file: Path
) -> None:
    name = changed(prices_file, '"default"', '"grown"')
    shell.text("prices", "publish", name)
    changed(prices_file, "2020", "2090")
    shell.text("prices", "publish", name)
    changed(prices_file, "2090", "2022")
    prices_file.write_text(prices_file.read_text() + "images = 1\n")
    assert shell.json("prices", "publish", name)["version"] == 3

    shown = [shell.json("prices", "show", "grown", "--version", str(each)) for each in (1, 2, 3)]
    assert [(each["effective_until"], each["in_force"]) for each in shown] == [
        ("2022-01-01T00:00:00.000000Z", False),
        (None, False),
        ("2090-01-01T00:00:00.000000Z", True),
    ]
    assert shell.json("prices", "show", "grown")["version"] == 3
    listed = shell.json("prices", "list")["versions"]
    grown = [(each["version"], each["in_force"]) for each in listed if each["book"] == "grown"]
    assert grown == [(1, False), (2, False), (3, True)]
