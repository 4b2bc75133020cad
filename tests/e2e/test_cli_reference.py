"""docs/cli.md names every command of the console script, as each describes itself."""

from pathlib import Path

import pytest
from tollbook.cli import build_parser

from entrypoints.cli.reference import commands, page

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
NAMES = [name for name, _ in commands(build_parser())]


def test_the_page_is_the_one_that_the_commands_make() -> None:
    wanted = page()
    assert PAGE.read_text("utf-8") == wanted, "python -m entrypoints.cli.reference > docs/cli.md"


def test_every_command_of_the_contract_for_administration_is_there() -> None:
    groups = {name.split()[1] for name in NAMES}
    assert {"audit", "customers", "demo", "prices", "usage"} <= groups


@pytest.mark.parametrize(("name", "parser"), list(commands(build_parser())), ids=NAMES)
def test_every_command_takes_json_and_shows_examples(name: str, parser: object) -> None:
    told = parser.format_help()  # type: ignore[attr-defined]
    assert "--json" in told
    assert f"examples:\n  {name}" in told
