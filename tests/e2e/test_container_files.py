"""The Dockerfile and the compose file, held against the program: no container engine is needed.

What an image would hold is laid out in a folder and run there; what the compose file starts is
given to the program's own parsers.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tollbook.cli import build_parser

from entrypoints.settings import settings_from

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
OURS = {name: each for name, each in COMPOSE["services"].items() if "build" in each}
COPIED = re.compile(r"^COPY (?!--from)(.+) (\S+)$", re.MULTILINE)


def image_files() -> list[tuple[str, str]]:
    """Return (source, target) of everything that the final stage copies from the checkout."""
    stage = DOCKERFILE.rpartition("\nFROM ")[2]
    return [
        (source, target) for sources, target in COPIED.findall(stage) for source in sources.split()
    ]


def test_the_image_holds_every_room_that_the_program_imports(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.mkdir()
    for source, target in image_files():
        origin, place = ROOT / source, image / target
        assert origin.exists(), f"the Dockerfile copies {source}, which is not there"
        if origin.is_dir():
            shutil.copytree(origin, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, place / source if target == "./" else place)
    # Isolated from the checkout: only the folder that stands for the image is on the path.
    program = (
        f"import sys; sys.path[:] = [p for p in sys.path if p not in ('', {str(ROOT)!r})]; "
        f"sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in str(f).lower()]; "
        f"sys.path[:0] = [{str(image)!r}, {str(image / 'sdk/src')!r}]; "
        "import entrypoints, entrypoints.http.app, entrypoints.cli.serve, entrypoints.projecting; "
        "print(entrypoints.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(image))


def test_the_builder_is_sent_nothing_but_what_the_image_copies() -> None:
    sent = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        source.rstrip("/")
        for sources, _ in COPIED.findall(DOCKERFILE)
        for source in sources.split()
    }
    assert sent == copied


def test_only_hashed_requirements_are_installed() -> None:
    for line in DOCKERFILE.replace("\\\n", " ").splitlines():
        if "pip install" in line:
            assert "--require-hashes" in line or "--no-deps" in line, line


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_service_starts_a_command_that_the_program_has(name: str) -> None:
    args = build_parser().parse_args([str(word) for word in OURS[name]["command"]])
    assert callable(args.func)


def test_the_images_own_command_is_one_that_the_program_has() -> None:
    found = re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    args = build_parser().parse_args(yaml.safe_load(found.group(1)))
    assert callable(args.func)


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_settings_understand_each_services_environment(name: str, tmp_path: Path) -> None:
    environment = dict(OURS[name]["environment"])
    assert set(environment) <= documented_settings()
    url = tmp_path / "database.url"
    url.write_text("postgresql://tollbook:secret@postgres/tollbook\n", encoding="utf-8")
    environment["TOLLBOOK_DATABASE_FILE"] = str(url)
    environment["TOLLBOOK_DATA"] = "/var/lib/tollbook/ledger"  # as the image sets it
    settings = settings_from(None, None, environment)
    assert settings.database == "postgresql://tollbook:secret@postgres/tollbook"
    assert settings.data is None
    assert str(settings.master_key_file) == "/run/secrets/master.key"


def documented_settings() -> set[str]:
    """Return every setting that the page for operators names."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    return set(re.findall(r"`(TOLLBOOK_[A-Z_]+)`", page))


def test_every_secret_that_a_service_reads_is_given_to_it() -> None:
    for name, service in COMPOSE["services"].items():
        wanted = {
            value.removeprefix("/run/secrets/")
            for value in service["environment"].values()
            if str(value).startswith("/run/secrets/")
        }
        assert wanted == set(service["secrets"]), name
        assert wanted <= COMPOSE["secrets"].keys()


def test_ports_are_published_on_loopback_alone() -> None:
    for service in COMPOSE["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_no_secret_stands_in_the_files() -> None:
    for service in COMPOSE["services"].values():
        for key, value in service["environment"].items():
            if any(word in key for word in ("PASSWORD", "KEY", "SECRET")):
                assert str(value).startswith("/run/secrets/"), key
