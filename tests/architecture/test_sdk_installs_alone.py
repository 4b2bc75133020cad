"""The SDK is a distribution of its own: its wheel works where nothing else is installed.

The wheel goes into an empty environment together with `cryptography` and what that needs, copied
from the environment of the tests, so that no network is used and nothing else can slip in.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

SDK = Path(__file__).parents[2] / "sdk"

# Prints every module of the SDK after importing it, and the top-level names that came with them.
IMPORT_ALL = """
import importlib, json, pkgutil, sys
import tollbook
names = [m.name for m in pkgutil.walk_packages(tollbook.__path__, "tollbook.")]
for name in names:
    if name != "tollbook.__main__":
        importlib.import_module(name)
loaded = sorted({name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names)
print(json.dumps({"modules": names, "loaded": loaded, "file": tollbook.__file__}))
"""

VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n\N{EM DASH} example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)


def run(*command: str | Path, stdin: bytes = b"") -> bytes:
    """Run a command that sees no Python settings of ours, and return its output."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)),
        input=stdin,
        capture_output=True,
        env=environment,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done.stdout


def needed_by(name: str) -> dict[str, Distribution]:
    """Return a distribution and all that it needs on this platform."""
    found = {name: distribution(name)}
    for text in found[name].requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found |= needed_by(requirement.name)
    return found


def copy_distribution(dist: Distribution, target: Path) -> None:
    """Copy the installed files of a distribution, apart from its scripts."""
    for file in dist.files or []:
        if ".." not in file.parts:
            destination = target / file
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(dist.locate_file(file)), destination)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, because a build leaves its traces in the source."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".*")
    shutil.copytree(SDK, folder / "sdk", ignore=ignored)
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation")
    run(*build, "--outdir", folder, folder / "sdk")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with the SDK and nothing but `cryptography`; return its programs."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder, with_pip=False)
    programs = folder / "bin"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(programs / "python", "-c", where).decode().strip())
    for dist in needed_by("cryptography").values():
        copy_distribution(dist, packages)
    # The pip of the tests installs into the other environment: no pip is needed in there.
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "install")
    run(*pip, "--no-index", "--no-deps", "--disable-pip-version-check", wheel)
    run(*pip[:-1], "check")
    return programs


def test_every_module_imports_and_brings_nothing_else(alone: Path) -> None:
    report = json.loads(run(alone / "python", "-I", "-c", IMPORT_ALL))
    sources = (SDK / "src").rglob("*.py")
    expected = {".".join(s.relative_to(SDK / "src").with_suffix("").parts) for s in sources}
    expected = {name.removesuffix(".__init__") for name in expected} - {"tollbook"}
    assert set(report["modules"]) == expected
    assert str(alone.parent) in report["file"]
    allowed = {"tollbook", "cryptography", "cffi", "_cffi_backend", "_openssl", "__main__"}
    assert set(report["loaded"]) <= allowed


def test_only_cryptography_is_required(alone: Path) -> None:
    ask = "from importlib.metadata import requires; print(requires('tollbook'))"
    asked = ast.literal_eval(run(alone / "python", "-I", "-c", ask).decode())
    assert [each for each in asked if "extra ==" not in each] == ["cryptography>=42"]


def test_a_client_without_httpx_names_the_extra_that_brings_it(alone: Path) -> None:
    program = (
        "from tollbook.client import Client\n"
        "try:\n    Client('http://127.0.0.1:1', key='k')\n"
        "except ImportError as error:\n    print(error)"
    )
    assert b"pip install 'tollbook[http]'" in run(alone / "python", "-I", "-c", program)


def test_the_console_script_tells_its_version(alone: Path) -> None:
    assert run(alone / "tollbook", "--version").startswith(b"tollbook ")


def test_a_note_verifies(alone: Path) -> None:
    answer = run(
        alone / "tollbook", "note", "verify", "-", "--key", VKEY, "--json", stdin=NOTE.encode()
    )
    assert json.loads(answer)["signed_by"] == [VKEY]


def test_the_wheel_says_that_it_is_typed(alone: Path) -> None:
    ask = "from importlib.resources import files; print((files('tollbook') / 'py.typed').is_file())"
    assert run(alone / "python", "-I", "-c", ask).strip() == b"True"
