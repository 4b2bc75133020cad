"""docs/pipelines.md, run as an operator would: its commands, its outputs, and its sums."""

import os
import re
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.test_licensing_page import BEGIN, BLOCK, MARK, documents, free_port
from tests.support.forked_commands import forked_commands

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "pipelines.md").read_text("utf-8")


def blocks() -> list[tuple[str, list[str]]]:
    """Return each block of commands with the lines that the page says it prints."""
    found: list[tuple[str, list[str]]] = []
    for kind, body in BLOCK.findall(PAGE):
        if kind == "sh":
            found.append((body, []))
        else:
            found[-1][1].extend(body.splitlines())
    return found


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Run the page once; return what each block printed."""
    if shutil.which("curl") is None:
        assert "TOLLBOOK_REQUIRE" not in os.environ, "curl is missing"
        pytest.skip("the page needs curl, which is not on this machine")
    folder = tmp_path_factory.mktemp("pipelines")
    commands = "".join(f"{body}echo '{MARK}{n}'\n" for n, (body, _) in enumerate(blocks()))
    (folder / "page.sh").write_text(BEGIN + commands.replace("8400", str(free_port())), "utf-8")
    # A file, not a pipe: what the server leaves running for a moment would keep a pipe open.
    with forked_commands() as environment, (folder / "out.txt").open("w") as out:
        outcome = subprocess.run(
            ["sh", "page.sh"],
            cwd=folder,
            env={**environment, "COLUMNS": "200", "TOLLBOOK_LOG_LEVEL": "warning"},
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
    text = (folder / "out.txt").read_text("utf-8")
    assert outcome.returncode == 0, text
    return re.split(rf"^{MARK}\d+\n", text, flags=re.MULTILINE)[:-1]


def test_every_output_of_the_page_is_printed_in_its_order(printed: list[str]) -> None:
    assert len(printed) == len(blocks()) >= 6
    for text, (body, lines) in zip(printed, blocks(), strict=True):
        patterns = (re.escape(line).replace(r"\.\.\.", ".*") for line in lines)
        wanted = r"(?:.|\n)*^".join(patterns)
        assert re.search(rf"^{wanted}", text, re.MULTILINE), f"{body}\n--- printed:\n{text}"


def test_the_lines_of_a_settlement_add_up_to_its_sums(printed: list[str]) -> None:
    (text,) = (
        text for text, (body, _) in zip(printed, blocks(), strict=True) if "settle-1" in body
    )
    (answer,) = documents(text)
    assert [each["stage"] for each in answer["stages"]] == ["retrieve", "write", "polish"]
    for name in ("charged", "from_balance", "receivable", "released"):
        parts = [Decimal(each[name]["amount"]) for each in answer["stages"]]
        assert sum(parts) == Decimal(answer[name]["amount"])
    assert Decimal(answer["charged"]["amount"]) == Decimal("0.0006056")
