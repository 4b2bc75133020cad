"""A new cluster, and the files that tell the server how to run and whom to admit."""

import os
import shutil
import subprocess
from pathlib import Path

from adapters.embedded_postgres.errors import ServerUnavailable
from adapters.embedded_postgres.identity import ServerUser, own_name
from adapters.embedded_postgres.place import Place

SUPER_ROLE = "tollbook_super"
OWNER_ROLE = "tollbook_owner"
APP_ROLE = "tollbook_app"
PROJECTOR_ROLE = "tollbook_projector"
DATABASE = "tollbook"

# The server's user may not be able to walk to the folder (it may lie below a private one, which we
# never open). A child process is put into the folder first and then changes its user; this link
# leads it there without a walk.
HERE = "/proc/self/cwd"

_MAP = "tollbook"
_INITDB = (
    "-D", HERE,
    "-U", SUPER_ROLE,
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--data-checksums",
    "--auth-local=peer",
    "--auth-host=reject",
)  # fmt: skip

# Settings that an operator may change with ALTER SYSTEM. The build knows pglz alone (no lz4).
_SETTINGS = """\
# Written by Tollbook at each start. For settings of your own use ALTER SYSTEM.
max_connections = 50
shared_buffers = {shared_buffers}MB
max_wal_size = 4GB
wal_compression = pglz
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
autovacuum = on
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = warning
log_checkpoints = off
"""


def make_cluster(place: Place, user: ServerUser, install: Path, seconds: float) -> None:
    """Make an empty cluster that is on the disk before it gets its name."""
    shutil.rmtree(place.new_cluster, ignore_errors=True)
    place.new_cluster.mkdir(mode=0o700)
    if user.is_another:
        os.chown(place.new_cluster, user.uid, user.gid, follow_symlinks=False)
    command = [str(install / "bin" / "initdb"), *_INITDB]
    try:
        made = subprocess.run(
            command,
            check=False,
            cwd=place.new_cluster,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            **user.spawn_options(),
        )
    except subprocess.TimeoutExpired:
        raise ServerUnavailable(
            f"making a new cluster in {place.root} took more than {seconds:.0f} s"
        ) from None
    if made.returncode != 0:
        reason = made.stderr.decode(errors="replace").strip()[-2000:]
        raise ServerUnavailable(f"no cluster could be made in {place.root}: {reason}")
    place.new_cluster.rename(place.cluster)
    _sync_folder(place.root)


def write_configuration(place: Place) -> None:
    """Write the settings, and admit the user of this process and nobody else."""
    roles = (SUPER_ROLE, OWNER_ROLE, APP_ROLE)
    mapped = [f'{_MAP} "{own_name()}" {role}\n' for role in roles]
    contents = {
        "postgresql.conf": _SETTINGS.format(shared_buffers=_shared_buffers()),
        "pg_hba.conf": f"local all {','.join(roles)} peer map={_MAP}\n",
        "pg_ident.conf": "".join(mapped),
    }
    folder = os.open(place.cluster, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for name, text in contents.items():
            _replace(folder, name, text)
        os.fsync(folder)
    finally:
        os.close(folder)


def _replace(folder: int, name: str, text: str) -> None:
    """Replace a file of a folder that another user owns, following no link laid there."""
    fresh = name + ".new"
    if fresh in os.listdir(folder):
        os.unlink(fresh, dir_fd=folder)
    # Readable by all, since root may write it for the server's user; the folder itself is private.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(fresh, flags, 0o644, dir_fd=folder)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)


def _shared_buffers() -> int:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return max(16, min(256, memory // 8))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
