"""A disk that a test can fill: a small file system of its own, in a private mount namespace.

Mounting needs root, or user namespaces (then any user is root over mounts that only they see).
Where neither is allowed, a limit on the size of files stands in: it makes the same writes fail, at
the same places and as firmly, but with `File too large` instead of `No space left on device`.
"""

import ctypes
import os
import resource
from pathlib import Path

MS_REC, MS_PRIVATE = 0x4000, 0x40000
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000

_libc = ctypes.CDLL(None, use_errno=True)


class SmallDisk:
    """A folder with little room; use it in a process of its own, before its first thread."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        """Mount a small disk on the folder, or remember that files must be limited instead."""
        self.folder = folder
        self._ballast = folder / "ballast"
        self.mounted = _may_mount() and _mounted(folder, megabytes)

    def fill(self, leave: int) -> None:
        """Leave only so many bytes free; a limit applies to the servers that start after this."""
        if not self.mounted:
            most = max(16 * 2**20, leave)  # the size of a file of the write-ahead log
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
            return
        free = os.statvfs(self.folder)
        size = free.f_bavail * free.f_frsize - leave
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    def empty(self) -> None:
        """Give the room back."""
        if self.mounted:
            self._ballast.unlink()
        else:
            infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.setrlimit(resource.RLIMIT_FSIZE, infinite)


def _may_mount() -> bool:
    """Enter a mount namespace of our own, inside a user namespace unless root needs none."""
    if _libc.unshare(CLONE_NEWNS) == 0:
        return True
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
        return False
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny")
    (own / "uid_map").write_text(f"{user} {user} 1")
    (own / "gid_map").write_text(f"{group} {group} 1")
    return True


def _mounted(folder: Path, megabytes: int) -> bool:
    """Mount a file system in memory, in this process's namespace only."""
    _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    options = f"size={megabytes}m,mode=0755".encode()
    failed: int = _libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options)
    return failed == 0
