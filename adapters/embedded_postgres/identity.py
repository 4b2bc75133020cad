"""Which operating-system user runs the server, and how a child process becomes that user."""

import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from adapters.embedded_postgres.errors import ServerUnavailable, WrongDirectory

SERVER_USER_VARIABLE = "TOLLBOOK_SERVER_USER"
USUAL_SERVER_USERS = ("postgres", "nobody")

# The server's programs get nothing of our environment: it may hold secrets, and PG* variables
# would change what they do.
CLEAN_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

# pg_ident.conf gives a meaning to other characters (a leading slash starts a pattern).
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\-]{0,254}")


class SpawnOptions(TypedDict):
    """The arguments of subprocess that make a child process run as the server's user."""

    user: int | None
    group: int | None
    extra_groups: list[int] | None
    umask: int
    env: dict[str, str]


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The unprivileged operating-system user who owns the cluster and runs the server."""

    name: str
    uid: int
    gid: int

    @property
    def is_another(self) -> bool:
        """Whether this process has to change its user to become the server's user."""
        return self.uid != os.geteuid()

    def spawn_options(self) -> SpawnOptions:
        """Return the options with which a child process runs as this user and nothing more."""
        changed = self.is_another
        return SpawnOptions(
            user=self.uid if changed else None,
            group=self.gid if changed else None,
            extra_groups=[] if changed else None,
            umask=0o077,
            env=CLEAN_ENVIRONMENT,
        )


def own_name() -> str:
    """Return the name of the user of this process, as the server will see it on its socket."""
    return _plain(_entry(os.geteuid()))


def server_user(cluster: Path) -> ServerUser:
    """Choose who runs the server: the cluster's owner, else we, else (as root) a lesser user."""
    own = os.geteuid()
    try:
        owner = cluster.lstat().st_uid
    except FileNotFoundError:
        return _user(_lesser_user() if own == 0 else _entry(own))
    if own not in (0, owner):
        raise WrongDirectory(
            f"{cluster} belongs to the user with id {owner}; run this command as that user"
        )
    if owner == 0:
        raise WrongDirectory(
            f"{cluster} belongs to root, and PostgreSQL refuses to run as root; "
            f"give it to an unprivileged user: chown -R postgres {cluster}"
        )
    return _user(_entry(owner))


def _lesser_user() -> pwd.struct_passwd:
    wanted = os.environ.get(SERVER_USER_VARIABLE)
    for name in (wanted,) if wanted else USUAL_SERVER_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return entry
    raise ServerUnavailable(
        "PostgreSQL refuses to run as root, and no unprivileged user was found "
        f"(looked for: {wanted or ', '.join(USUAL_SERVER_USERS)}); "
        f"name one in {SERVER_USER_VARIABLE}, or run as an unprivileged user"
    )


def _entry(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise ServerUnavailable(
            f"the user with id {uid} has no name on this machine, and PostgreSQL needs one; "
            "add it to /etc/passwd or run as another user"
        ) from None


def _user(entry: pwd.struct_passwd) -> ServerUser:
    return ServerUser(_plain(entry), entry.pw_uid, entry.pw_gid)


def _plain(entry: pwd.struct_passwd) -> str:
    if _PLAIN_NAME.fullmatch(entry.pw_name) is None:
        raise ServerUnavailable(
            f"the user name {entry.pw_name!r} has characters that the server's map of users "
            "cannot hold; run as another user"
        )
    return entry.pw_name
