"""Where Triton's programs are: in an environment of their own, or a sentence why there are none.

The wheel of pytriton carries the server, its Python backend and one stub for each Python version.
Only these files are used; the package's own Python code is never run.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.triton.errors import TritonUnavailable

CHECKOUT = Path(__file__).resolve().parents[2]
SETTING = "TOLLBOOK_TRITON_HOME"
_TRIAL_SECONDS = 30

# Asked of the environment's own interpreter: the stub loads that one's shared library.
_QUESTION = """
import json, sys, sysconfig
get = sysconfig.get_config_var
folder = get("LIBDIR") or ""
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "site": sysconfig.get_path("platlib"),
    "library": get("INSTSONAME") or get("LDLIBRARY") or "",
    "folders": [folder, folder + "/" + (get("MULTIARCH") or "")],
}))
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """The files of one installed Triton."""

    home: Path
    """The environment that Triton's Python models run in."""
    site: Path
    version: str
    python_libraries: Path
    """The folder of the shared library of the Python that the models run in."""

    @property
    def wheel(self) -> Path:
        """The folder of the server, its backends and its caches."""
        return self.site / "pytriton" / "tritonserver"

    @property
    def binary(self) -> Path:
        """The server's program."""
        return self.wheel / "bin" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The program that runs one instance of a Python model."""
        stubs = self.wheel / "python_backend_stubs"
        return stubs / self.version / "triton_python_backend_stub"

    def environment(self) -> dict[str, str]:
        """Return what must stand in the environment of the server and of its stubs."""
        libraries = [str(self.python_libraries), str(self.site / "nvidia_pytriton.libs")]
        # Without the first, a stub may load another Python's library than its modules belong to.
        return {
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
            "PYTHONPATH": str(self.site),
            "PATH": os.pathsep.join([str(self.home / "bin"), os.environ.get("PATH", os.defpath)]),
            "OPENBLAS_NUM_THREADS": "1",  # each stub would take a thread of its own for every core
        }


def find(home: Path | None = None) -> Installation:
    """Find the Triton of a folder, of the setting TOLLBOOK_TRITON_HOME, or of this checkout."""
    named = os.environ.get(SETTING)
    home = home or (Path(named).absolute() if named else CHECKOUT / ".triton")
    told = home / "unavailable"
    if told.is_file():
        reason = " ".join(told.read_text("utf-8", errors="replace").split())
        raise TritonUnavailable(f"Triton does not install on this machine: {reason}")
    facts = _ask(home / "bin" / "python")
    name = facts["library"]
    folders = [Path(at) for at in facts["folders"] if (Path(at) / name).is_file()]
    if not name or ".so" not in name or not folders:
        raise TritonUnavailable(
            f"Triton needs the shared library of the Python {facts['version']} in {home}, and it "
            f"is not on this machine; on Debian and Ubuntu: apt install libpython{facts['version']}"
        )
    found = Installation(home, Path(facts["site"]), facts["version"], folders[0])
    for path in (found.binary, found.stub):
        if not path.is_file():
            raise TritonUnavailable(
                f"{path} is missing; run `make triton` anew, with a Python that the wheel serves"
            )
    return found


def _ask(python: Path) -> dict[str, Any]:
    if not python.exists():
        raise TritonUnavailable(
            f"there is no Triton in {python.parents[1]}; run `make triton`, or name another "
            f"environment with {SETTING}"
        )
    try:
        answer = subprocess.run(
            [str(python), "-I", "-c", _QUESTION],
            capture_output=True,
            check=True,
            timeout=_TRIAL_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise TritonUnavailable(f"{python} does not run: {error}") from error
    facts: dict[str, Any] = json.loads(answer.stdout)
    return facts
