"""What is installed is what was reviewed: each version pinned, each file known by its hash."""

import re
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.architecture.source_files import ROOT

REQUIREMENTS = ROOT / "requirements"
PINNED_FILES = ("runtime.txt", "dev.txt", "build.txt", "sdk.txt")
APART = ("triton.txt", "redis.txt")
"""Installed in a place of its own, where the versions need not be those of the others."""
JAR = re.compile(r"[0-9a-f]{64}  [A-Za-z][A-Za-z0-9_.-]*-[0-9][0-9.-]*\.jar")
PIN = re.compile(r"([a-z0-9][a-z0-9-]*)==([0-9][0-9a-z.]*)((?: --hash=sha256:[0-9a-f]{64})+)")


def entries(name: str) -> list[str]:
    """Read a compiled file as one line per package, without comments."""
    text = (REQUIREMENTS / name).read_text("utf-8").replace("\\\n", " ")
    lines = (" ".join(line.split("#")[0].split()) for line in text.splitlines())
    return [line for line in lines if line]


def pins(name: str) -> dict[str, str]:
    """Read the version of each package in a compiled file."""
    found = (PIN.fullmatch(entry) for entry in entries(name))
    return {match[1]: match[2] for match in found if match}


def wanted(name: str) -> set[str]:
    """Read what a source file asks for."""
    lines = (REQUIREMENTS / name).read_text("utf-8").splitlines()
    return {line for line in lines if line and not line.startswith(("#", "-c"))}


def project(path: Path) -> dict[str, Any]:
    """Read the project table of a pyproject file."""
    table: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))["project"]
    return table


@pytest.mark.parametrize("name", [*PINNED_FILES, *APART])
def test_every_entry_is_pinned_and_hashed(name: str) -> None:
    assert entries(name)
    assert [entry for entry in entries(name) if not PIN.fullmatch(entry)] == []


def test_a_package_has_one_version_everywhere() -> None:
    versions: dict[str, set[str]] = {}
    for name in PINNED_FILES:
        for package, version in pins(name).items():
            versions.setdefault(package, set()).add(version)
    assert {package: found for package, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", [*PINNED_FILES, *APART])
def test_everything_asked_for_is_pinned(name: str) -> None:
    asked = {re.split(r"[\[<>=]", line)[0] for line in wanted(name.replace(".txt", ".in"))}
    assert asked <= pins(name).keys()


@pytest.mark.parametrize("name", APART)
def test_what_is_installed_apart_is_what_is_asked_for_and_no_more(name: str) -> None:
    asked = {re.split(r"[\[<>=]", line)[0] for line in wanted(name.replace(".txt", ".in"))}
    assert pins(name).keys() == asked


def test_every_jar_of_kafka_is_pinned_and_hashed() -> None:
    lines = (REQUIREMENTS / "kafka.sha256").read_text("utf-8").splitlines()
    assert [line for line in lines if not JAR.fullmatch(line)] == []
    names = {line.split("  ")[1] for line in lines}
    assert len(names) == len(lines)
    pom = ET.parse(REQUIREMENTS / "kafka.xml")  # noqa: S314 - a file of ours
    for asked in pom.iter("dependency"):
        assert f"{asked.findtext('artifactId')}-{asked.findtext('version')}.jar" in names
    assert all(plugin.findtext("version") for plugin in pom.iter("plugin"))


def test_the_application_asks_for_what_its_project_file_says() -> None:
    asked = set(project(ROOT / "pyproject.toml")["dependencies"])
    assert {line for line in asked if not line.startswith("tollbook")} == wanted("runtime.in")


def test_the_sdk_depends_on_cryptography_alone() -> None:
    assert set(project(ROOT / "sdk" / "pyproject.toml")["dependencies"]) == wanted("sdk.in")
    assert pins("sdk.txt").keys() == {"cryptography", "cffi", "pycparser"}
