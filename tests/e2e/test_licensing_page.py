"""docs/licensing.md, run as a seller would: its commands, its outputs, its numbers, its table."""

import ast
import json
import os
import re
import shutil
import socket
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tollbook import license_key

from domain.denials import DENIALS
from domain.policy import Policy
from domain.tiers import TEMPLATES
from tests.support.forked_commands import forked_commands

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "licensing.md").read_text("utf-8")
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "=== end of block "
DENIED = "|| test $? = 3"
REFUSED = "=== refused"
BEGIN = """set -eu
trap 'kill -TERM "$!"; wait "$!" || true' EXIT  # the server, however the page ends
"""
PROMISE = re.compile(r"^\| (C\d+) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"`([^`]+[.]py)`: ((?:`test_\w+`(?:, )?)+)")


def blocks() -> list[tuple[str, list[str]]]:
    """Return each block of commands with the lines that the page says it prints."""
    found: list[tuple[str, list[str]]] = []
    for kind, body in BLOCK.findall(PAGE):
        if kind == "sh":
            found.append((body, []))
        else:
            found[-1][1].extend(body.splitlines())
    return found


def script(port: int) -> str:
    """Return the page's commands as one script, with a mark after each block."""
    ends = (f"{body}echo '{MARK}{n}'\n" for n, (body, _) in enumerate(blocks()))
    commands = "".join(ends).replace(DENIED, f"|| {{ test $? = 3; echo '{REFUSED}'; }}")
    return BEGIN + commands.replace("8400", str(port))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the page is run."""
    return tmp_path_factory.mktemp("licensing")


@pytest.fixture(scope="module")
def printed(folder: Path) -> list[str]:
    """Run the page once; return what each block printed."""
    if shutil.which("curl") is None:
        assert "TOLLBOOK_REQUIRE" not in os.environ, "curl is missing"
        pytest.skip("the page needs curl, which is not on this machine")
    (folder / "page.sh").write_text(script(free_port()), encoding="utf-8")
    # A file, not a pipe: what the server leaves running for a moment would keep a pipe open.
    with forked_commands() as environment, (folder / "out.txt").open("w") as out:
        outcome = subprocess.run(
            ["sh", "page.sh"],
            cwd=folder,
            env={**environment, "COLUMNS": "200", "TOLLBOOK_LOG_LEVEL": "warning"},
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=500,
            check=False,
        )
    text = (folder / "out.txt").read_text("utf-8")
    assert outcome.returncode == 0, text
    return re.split(rf"^{MARK}\d+\n", text, flags=re.MULTILINE)[:-1]


def documents(text: str) -> list[dict[str, Any]]:
    """Return the JSON documents that a block printed."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def of_block(printed: list[str], words: str) -> str:
    """Return what the one block with these words printed."""
    (number,) = [n for n, (body, _) in enumerate(blocks()) if words in body]
    return printed[number]


def test_every_output_of_the_page_is_printed_in_its_order(printed: list[str]) -> None:
    assert len(printed) == len(blocks()) >= 15
    for text, (body, lines) in zip(printed, blocks(), strict=True):
        patterns = (re.escape(line).replace(r"\.\.\.", ".*") for line in lines)
        wanted = r"$(?:.|\n)*^".join(patterns)
        assert re.search(rf"^{wanted}", text, re.MULTILINE), f"{body}\n--- printed:\n{text}"


def test_every_denial_on_the_page_is_one_that_happened(printed: list[str]) -> None:
    """A command that the page expects to be refused is followed by its exit code."""
    expected = sum(body.count(DENIED) for body, _ in blocks())
    assert "".join(printed).count(REFUSED) == expected >= 10


def test_a_pipeline_is_reserved_in_all_its_stages_or_in_none(printed: list[str]) -> None:
    whole, none = documents(of_block(printed, '"read-1"'))
    assert [each["status"] for each in whole["results"]] == ["done", "done"]
    assert [each["code"] for each in none["results"]] == ["aborted", "license_limit_reached"]


def test_decisions_keep_both_hashes_and_the_policy(printed: list[str]) -> None:
    block = of_block(printed, "license decisions lic-web")
    (listed,) = documents(block)
    assert [each["status"] for each in listed["decisions"]] == ["denied"] * 2 + ["admitted"] * 3
    (inference,) = [each for each in listed["decisions"] if each["id"] == "inference-1"]
    asked, got = (
        sha256(text).hexdigest() for text in (b"What is a lease?", b"A seat, for a while.")
    )
    assert (inference["request_hash"], inference["response_hash"]) == (asked, got)
    assert {each["policy_version"] for each in listed["decisions"]} == {"professional:0:0"}
    assert "no difference" in block


def test_a_licence_is_bound_to_what_was_known_of_its_model(printed: list[str]) -> None:
    (shown,) = documents(of_block(printed, "license show lic-vision --json"))
    (digest,) = re.findall(
        r"^provenance +([0-9a-f]{64})$", of_block(printed, "--bom"), re.MULTILINE
    )
    assert shown["provenance"] == {"vision": digest}


def test_a_key_that_was_shown_is_in_no_file_of_the_ledger_and_no_log(
    printed: list[str], folder: Path
) -> None:
    key = (folder / "key.txt").read_bytes().strip()
    license_key.check(key.decode())
    for path in (folder / "ledger").rglob("*"):
        assert not path.is_file() or key not in path.read_bytes(), path
    assert key not in (folder / "serve.log").read_bytes()
    assert key.decode() not in "".join(printed)


def cells(heading: str) -> list[list[str]]:
    """Return the rows of the table that follows a heading, cell by cell."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows]


def of_tier(policy: Policy) -> dict[str, str]:
    """Say what a tier gives, in the words of the page."""
    requests = [f"{each.limit:,} a {each.per}" for each in policy.limits]
    days, grace = (n // 86_400 for n in (policy.borrow_seconds, policy.grace_seconds))
    return {
        "models": "all" if policy.models == ("*",) else "some",
        "requests": ", ".join(requests) or "no limit",
        "features": ", ".join(f"`{each}`" for each in policy.features) or "none",
        "priority (1 is first)": str(policy.priority),
        "GPU pool": f"`{policy.pool}`",
        "watermark": policy.watermark,
        "seats, devices": f"{policy.seats}, {policy.devices}",
        "borrowing": f"{days} days" if days else "no",
        "grace after the end": f"{grace} days" if grace else "none",
    }


def test_the_tiers_are_those_of_every_ledger() -> None:
    heads, *rows = cells("Tiers, and what you change of them")
    names = [head.strip("`") for head in heads[1:]]
    assert names == list(TEMPLATES)
    for column, name in enumerate(names, 1):
        assert {row[0]: row[column] for row in rows} == of_tier(TEMPLATES[name])


def test_every_denial_is_explained_in_the_order_of_the_checks() -> None:
    _, *rows = cells("Why a request was denied")
    assert [(row[0], row[1].strip("`")) for row in rows] == [
        (str(number), code) for number, code in enumerate(DENIALS, 1)
    ]


def functions(path: Path) -> set[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse(path.read_text("utf-8"))
    return {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}


def test_each_promise_names_tests_that_there_are() -> None:
    promises = dict(PROMISE.findall(PAGE))
    assert list(promises) == [f"C{number}" for number in range(1, 15)]
    for promise, cell in promises.items():
        assert NAMED.sub("", cell).strip("; ") == "", promise
        for file, names in NAMED.findall(cell):
            missing = set(re.findall(r"\w+", names)) - functions(ROOT / file)
            assert not missing, f"{promise}: {file} has no {missing}"
