"""docs/gateway.md, followed as a new operator would: its commands, its file, its program."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapters.triton.server import TritonServer
from domain.meters_format import AFTER, BEFORE, Meter, Source, StageMeter
from domain.units import UNITS
from entrypoints.gateway.config import (
    Allowances,
    GatewayConfig,
    Outage,
    Pool,
    config_from,
    read_config,
)
from tests.support.triton import a_triton

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gateway.md").read_text("utf-8")
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
START_SECONDS, SETTLE_SECONDS = 60, 60


class Block(NamedTuple):
    """What is to be done in one step, and the lines that the page says it prints."""

    kind: str
    body: str
    printed: list[str]


def section(heading: str) -> str:
    """Return the text below a heading."""
    return PAGE.split(f"\n{heading}\n")[1].split("\n## ")[0]


def steps() -> list[Block]:
    """Return the blocks of the five minutes in their order."""
    found: list[Block] = []
    for kind, indented in BLOCK.findall(
        section("## In front of an existing Triton, in five minutes")
    ):
        body = "".join(line[3:] + "\n" for line in indented.splitlines())
        if kind == "text":
            found[-1].printed.extend(body.splitlines())
        else:
            found.append(Block(kind, body, []))
    return found


def assert_printed(text: str, lines: list[str]) -> None:
    """Compare what was printed with what the page says; dots stand for anything, however wide."""
    words = (re.sub(r"\s*\.\.\.\s*", "...", line) for line in lines)
    patterns = (re.escape(line).replace(r"\.\.\.", ".*") for line in words)
    wanted = r"$(?:.|\n)*^".join(patterns)
    assert re.search(rf"^{wanted}", text, re.MULTILINE), f"{lines}\n--- printed:\n{text}"


class Operator:
    """Follows the page in a folder, with a Triton that was there before."""

    def __init__(self, folder: Path, triton: TritonServer) -> None:
        """Begin in an empty folder."""
        self.folder = folder
        self.places = {
            "127.0.0.1:8001": triton.grpc_address,
            "127.0.0.1:8000": triton.http_address,
            "--grpc-port 8501": "--grpc-port 0",
            "--http-port 8500": "--http-port 0",
        }
        """What stands on the page, and what is here instead: addresses, and nothing else."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "COLUMNS": "200"}

    def here(self, text: str) -> str:
        """Return a text of the page with the addresses of this place."""
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    def carry_out(self, *command: str) -> str:
        """Run a command that must succeed, and return what it prints."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def gateway(self, block: Block) -> Iterator[str]:
        """Leave the gateway of the page running; yields what it printed at its start."""
        log = self.folder / "gateway.log"
        with (
            log.open("w", encoding="utf-8") as messages,
            subprocess.Popen(
                shlex.split(self.here(block.body)),
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=messages,
                text=True,
            ) as process,
        ):
            try:
                assert process.stdout is not None
                lines = [process.stdout.readline() for _ in block.printed]
                assert all(lines), log.read_text("utf-8")
                for line, name in zip(lines, ("127.0.0.1:8501", "127.0.0.1:8500"), strict=False):
                    (self.places[name],) = re.findall(r"127\.0\.0\.1:\d+", line)
                yield "".join(lines)
                process.terminate()
                assert process.wait(START_SECONDS) == 0
            finally:
                process.kill()


def until_printed(operator: Operator, block: Block) -> str:
    """Look until the charge stands there: that is a moment after the answer."""
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        text = operator.carry_out("sh", "-ec", block.body)
        try:
            assert_printed(text, block.printed)
        except AssertionError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.2)
        else:
            return text


def test_the_five_minutes_lead_a_new_operator_to_a_charge(tmp_path: Path) -> None:
    ledger, config, check, start, program, look = steps()
    kinds = [each.kind for each in (ledger, config, check, start, program, look)]
    assert kinds == ["sh", "toml", "sh", "sh", "python", "sh"]
    (tmp_path / "operator").mkdir()
    with a_triton(tmp_path / "triton", models=("textgen",)) as triton:
        operator = Operator(tmp_path / "operator", triton)
        operator.carry_out("sh", "-ec", ledger.body)
        (operator.folder / "gateway.toml").write_text(operator.here(config.body), "utf-8")
        assert_printed(operator.carry_out("sh", "-ec", check.body), check.printed)
        with operator.gateway(start) as told:
            for there in ("127.0.0.1:8501", "127.0.0.1:8500"):
                assert there in "".join(start.printed)
            assert_printed(told, [operator.here(line) for line in start.printed])
            answer = operator.carry_out(sys.executable, "-c", operator.here(program.body))
            assert len(answer.split()) == 20
            until_printed(operator, look)
        operator.carry_out("tollbook", "audit", "verify", "--data", "ledger")


def rows(table: str) -> dict[str, str]:
    """Return the names that a table of the page explains, each with its second cell."""
    body = section("## Meters").split(f"\n| {table} |")[1].split("\n\n")[0]
    cells = [line.strip("|").split(" | ") for line in body.splitlines()[2:]]
    assert all(len(each) == 3 and each[2].strip() for each in cells), cells
    return {each[0].strip().strip("`"): each[1].strip() for each in cells}


def default(kind: type, name: str) -> Any:
    """Return what a field is when it is absent, or MISSING where it must be given."""
    minimal: dict[type, dict[str, Any]] = {
        Pool: {"name": "shared", "grpc": "h:1", "http": "h:1"},
        Meter: {"name": "m", "usage": {"requests": {"constant": 1}}},
        StageMeter: {"usage": {"requests": {"constant": 1}}},
        Outage: {"template": "t", "amount": "1"},
    }
    staged = {"name": "p", "pipeline": "p", "stage": {"s": minimal[StageMeter]}}
    models = [minimal[Meter], staged]
    whole = {"pool": [minimal[Pool]], "model": models, "outage": [minimal[Outage]]}
    if kind is GatewayConfig:
        del whole["outage"]
    config = config_from(whole)
    parts: dict[type, Any] = {Pool: config.pool, Meter: config.model, Outage: config.outage}
    parts[Allowances] = (config.allowances,)
    parts[StageMeter] = tuple(config.model[-1].stage.values())
    made = config if kind is GatewayConfig else parts[kind][0]
    given = minimal.get(kind, {"pool": (), "model": ()})
    return MISSING if name in given else getattr(made, name)


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ("of a `[[model]]`", Meter),
        ("of a `[model.stage.NAME]`", StageMeter),
        ("of a `[[pool]]`", Pool),
        ("of an `[[outage]]`", Outage),
        ("of `[allowances]`", Allowances),
        ("of the file", GatewayConfig),
    ],
)
def test_every_field_of_the_file_is_explained_with_what_it_is_when_absent(
    table: str, kind: type
) -> None:
    explained = rows(table)
    assert sorted(explained) == sorted(field.name for field in fields(kind))
    for name, said in explained.items():
        absent = default(kind, name)
        if absent is MISSING:
            assert said == "must be given", name
        elif absent in (None, (), {}):
            assert said in ("none", "as `name`", "what `usage` says"), name
        elif isinstance(absent, bool):
            assert said == f"`{str(absent).lower()}`", name
        elif isinstance(absent, Allowances):
            assert said == "as its fields", name
        else:
            assert said.strip("`") == str(absent), name


def test_every_source_of_a_quantity_and_every_unit_is_explained() -> None:
    text = section("## Meters")
    table = text.split("| source |")[1].split("\n\n")[0]
    for name in (field.name for field in fields(Source)):
        place = text if name in ("default", "most", "messages") else table
        assert re.search(rf"`{name}( =[^`]*)?`", place), name
    for unit in UNITS:
        assert f"`{unit}`" in text, unit
    for line in table.splitlines()[2:]:
        source, _, usage, estimate = (cell.strip() for cell in line.strip("|").split("|"))
        name = re.findall(r"^`(\w+)", source)[0]
        assert usage == "yes"
        assert estimate == ("yes" if name in BEFORE else "by itself" * (name == "formula")), name
        assert name in (*BEFORE, *AFTER)


def test_the_file_of_the_page_is_one(tmp_path: Path) -> None:
    (block,) = [each for each in steps() if each.kind == "toml"]
    path = tmp_path / "gateway.toml"
    path.write_text(block.body, "utf-8")
    assert [meter.name for meter in read_config(path).model] == ["textgen"]
