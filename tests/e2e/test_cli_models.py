"""`tollbook models`: register, release, yank, list and show, and the export list."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.support.shell import Shell

WEIGHTS = b"weights" * 300_000


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return a file with weights."""
    path = tmp_path / "w.bin"
    path.write_bytes(WEIGHTS)
    return path


def bom(path: Path, digest: str) -> str:
    """Write an ML-BOM of a model with these weights, and return its file's name."""
    hashes = [{"alg": "SHA-256", "content": digest}]
    model = {"type": "machine-learning-model", "name": "gpt", "hashes": hashes}
    body = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [model]}
    path.write_text(json.dumps(body, indent=2), encoding="utf-8")
    return str(path)


def test_a_version_is_released_with_its_files_hashed_and_checked(
    shell: Shell, weights: Path, tmp_path: Path
) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    shell.text("models", "register", "org/full")
    document = tmp_path / "lineage.pdf"
    document.write_bytes(b"%PDF")
    options = (
        *("--weights", str(weights), "--bom", bom(tmp_path / "bom.json", digest)),
        *("--declare", "certification=ISO/IEC 42001", "--document", f"lineage={document}"),
    )
    made = shell.json("models", "release", "org/full", "4.1.0", *options)
    assert (made["digest"], made["repeated"]) == (digest, False)
    again = shell.json("models", "release", "org/full", "4.1.0", *options)
    assert (again["position"], again["repeated"]) == (made["position"], True)
    shown = shell.json("models", "show", "org/full")
    (version,) = shown["versions"]
    fields = {each["name"]: each for each in version["provenance"]}
    assert (
        fields["ml_bom"]["digest"]
        == hashlib.sha256((tmp_path / "bom.json").read_bytes()).hexdigest()
    )
    assert fields["lineage"]["digest"] == hashlib.sha256(b"%PDF").hexdigest()
    standings = {name: each["standing"] for name, each in fields.items()}
    assert standings == {
        "ml_bom": "verified",
        "ml_bom.weights": "verified",
        "ml_bom.component": "declared",
        "certification": "declared",
        "lineage": "declared",
    }
    text = shell.text("models", "show", "org/full")
    for expected in (digest, "CycloneDX 1.6", shown["provenance_hash"], "ISO/IEC 42001"):
        assert expected in text


def test_a_document_of_other_weights_is_refused(
    shell: Shell, weights: Path, tmp_path: Path
) -> None:
    shell.text("models", "register", "org/other")
    other = bom(tmp_path / "bom.json", "0b" * 32)
    options = ("--weights", str(weights), "--bom", other)
    problem = shell.json("models", "release", "org/other", "1.0.0", *options, code=2)
    assert (problem["code"], problem["field"]) == ("invalid", "bom")
    assert shell.json("models", "show", "org/other")["versions"] == []


@pytest.mark.parametrize(
    "options",
    [
        ("--declare", "license"),
        ("--declare", "License=MIT"),
        ("--document", "lineage=/no/such/file"),
        ("--bom", "/no/such/file"),
        ("--digest", "0a"),
        ("--released-at", "yesterday"),
        ("--released-at", "2999-01-01T00:00:00Z"),
    ],
)
def test_what_cannot_be_read_is_wrong_usage(shell: Shell, options: tuple[str, str]) -> None:
    shell.text("models", "register", "org/wrong")
    problem = shell.json("models", "release", "org/wrong", "1.0.0", *options, code=2)
    assert (problem["code"], "field" in problem) == ("invalid", True)


def test_a_version_is_yanked_once(shell: Shell) -> None:
    shell.text("models", "register", "yanking")
    shell.text("models", "release", "yanking", "1.0.0", "--digest", "0a" * 32)
    yank = ("models", "yank", "yanking", "1.0.0", "--reason", "leaks prompts")
    assert shell.json(*yank)["repeated"] is False
    assert shell.json(*yank)["repeated"] is True
    assert shell.json(*yank, "--id", "another", code=3)["code"] == "already_yanked"
    assert "leaks prompts" in shell.text("models", "show", "yanking")


def test_models_are_listed_in_short(shell: Shell) -> None:
    shell.text("models", "register", "listed")
    shell.text("models", "release", "listed", "1.0.0")
    shell.text("models", "release", "listed", "1.1.0")
    shell.text("models", "yank", "listed", "1.1.0", "--reason", "x")
    models = {each["model"]: each for each in shell.json("models", "list")["models"]}
    listed = models["listed"]
    assert (listed["versions"], listed["yanked"], listed["newest"]) == (2, 1, "1.0.0")
    assert "listed" in shell.text("models", "list")


def test_nothing_has_been_registered_in_a_new_ledger(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The first model makes it."""
    new = Shell(tmp_path_factory.mktemp("models") / "ledger")
    assert new.run("models", "list").code == 2
    ended = new.run("models", "register", "gpt4-equivalent")
    assert ended.code == 0
    assert "made a new ledger" in ended.err
    assert new.json("models", "show", "none", code=2)["code"] == "not_found"
    assert "No version has been released" in new.text("models", "show", "gpt4-equivalent")
    assert new.json("models", "export-list", "show") == {"version": 0, "countries": []}
    assert "no country is denied" in new.text("models", "export-list", "show")


def test_the_export_list_is_replaced(shell: Shell) -> None:
    first = shell.json("models", "export-list", "set", "SY", "KP", "--note", "January")
    assert (first["version"], first["countries"]) == (1, ["KP", "SY"])
    assert "KP, SY" in shell.text("models", "export-list", "show")
    assert shell.json("models", "export-list", "set", "UK", code=2)["field"] == "countries"
    assert "denies nobody" in shell.text("models", "export-list", "set")
    assert shell.json("models", "export-list", "show")["version"] == 2
