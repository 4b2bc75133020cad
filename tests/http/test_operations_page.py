"""docs/operations.md names every setting, every metric and every role, and no other."""

import re
from dataclasses import fields
from pathlib import Path

from adapters.api_keys import ROLES
from entrypoints.http.metrics import GAUGES
from entrypoints.settings import ServeSettings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
METRICS = (ROOT / "entrypoints" / "http" / "metrics.py").read_text("utf-8")
PROGRAM = "\n".join(
    path.read_text("utf-8")
    for room in ("entrypoints", "adapters")
    for path in sorted((ROOT / room).rglob("*.py"))
)


def test_every_setting_of_the_server_is_there_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(TOLLBOOK_[A-Z_]+)` \| ([^|]*) \|", PAGE, re.MULTILINE))
    for each in fields(ServeSettings):
        name = f"TOLLBOOK_{each.name.upper()}"
        if isinstance(each.default, int):
            assert re.match(rf"{each.default}\b", rows[name]), name
        assert f"`{name}`" in PAGE


def test_no_setting_is_there_that_the_program_does_not_know() -> None:
    known = {f"TOLLBOOK_{each.name.upper()}" for each in fields(ServeSettings)}
    known |= set(re.findall(r'"(TOLLBOOK_[A-Z_]+)"', PROGRAM))
    assert set(re.findall(r"`(TOLLBOOK_[A-Z_]+)`", PAGE)) <= known


def test_every_metric_is_there_and_no_other() -> None:
    metrics = set(re.findall(r'"(tollbook_[a-z_]+)"', METRICS))
    metrics |= {f"tollbook_{name}" for name in GAUGES}
    told = re.findall(r"^\| `(tollbook_\w+)`", PAGE, re.MULTILINE)
    assert {name.removesuffix("_total") for name in told} == metrics


def test_every_role_is_there() -> None:
    section = PAGE.partition("\n## API keys and roles\n")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^\| `([a-z]+)` \| ", section, re.MULTILINE)) == ROLES
