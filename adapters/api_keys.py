"""API keys: made once, shown once, and kept as a keyed hash under a secret outside the database.

A key reads `tb_ROLE_ID_SECRET_CHECK`. The id names it in lists and logs, the secret is 200 random
bits, and the check refuses a typing error without asking anybody.
"""

import base64
import hashlib
import hmac
import os
import re
import time
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from tollbook.errors import Invalid, NotFound, Unavailable
from tollbook.times import format_instant, parse_instant

from adapters import master_key
from adapters.master_key import Run
from application.ports import ConnectionLostError, StoreFailedError

ROLES = ("admin", "service", "auditor", "finance", "reviewer", "customer")

NOTE_MAX = 200
PREFIX = "tb"

_SECRET_BYTES = 25
_ID_CHARACTERS = 12
_CHECK_CHARACTERS = 8
_KEY = re.compile(
    rf"{PREFIX}_({'|'.join(ROLES)})_([a-z2-7]{{12}})_([a-z2-7]{{40}})_([0-9a-f]{{8}})"
)
_ID = re.compile(r"[a-z2-7]{12}")

_COLUMNS = "id, role, customer, note, created_at, expires_at, revoked_at, last_used_at"
_INSERT = (
    "WITH moved AS (UPDATE api_key_state SET version = version + 1 RETURNING version) "
    "INSERT INTO api_keys (id, role, customer, note, hash, is_first, expires_at, version) "
    "SELECT %s, %s, %s, %s, %s, %s, %s, version FROM moved ON CONFLICT DO NOTHING"
)
_REVOKE = (
    "WITH moved AS (UPDATE api_key_state SET version = version + 1 RETURNING version) "
    "UPDATE api_keys SET revoked_at = clock_us(), version = moved.version "
    "FROM moved WHERE id = %s AND revoked_at IS NULL"
)
_ONE = f"SELECT {_COLUMNS} FROM api_keys WHERE id = %s"  # noqa: S608 - our own names
_PAGE = f"SELECT {_COLUMNS} FROM api_keys WHERE id > %s ORDER BY id LIMIT %s"  # noqa: S608
_CHANGES = (
    "SELECT id, role, customer, hash, expires_at, revoked_at IS NOT NULL, version "
    "FROM api_keys WHERE version > %s ORDER BY version"
)
_TOUCH = (
    "UPDATE api_keys SET last_used_at = hour "
    "FROM (SELECT clock_us() / 3600000000 * 3600000000 AS hour) AS now "
    "WHERE id = ANY(%s) AND (last_used_at IS NULL OR last_used_at < hour)"
)


class StoredKey(NamedTuple):
    """What the check of a presented key needs to know about the stored one."""

    id: str
    role: str
    customer: str | None
    hash: bytes
    expires_at: int | None
    is_revoked: bool
    version: int


def key_id(text: str) -> str | None:
    """Return the id inside a key, or None when the text is no key or was mistyped."""
    match = _KEY.fullmatch(text)
    if match is None or _check(text[: -_CHECK_CHARACTERS - 1]) != match[4]:
        return None
    return match[2]


class ApiKeys:
    """Makes, lists, revokes and hashes keys on the table `api_keys`."""

    def __init__(self, run: Run, master: bytes | None) -> None:
        """Use a query function and the ledger's master key.

        Raises Unavailable without a master key, or with another than the keys were made with.
        """
        given = master_key.needed(master, "API keys")
        self._query = run
        self._pepper = master_key.derive(given, master_key.API_KEYS_LABEL)
        # Kept begun: the one-shot function lets go of the interpreter, and waits to have it back.
        self._begun = hmac.new(self._pepper, digestmod="sha256")
        master_key.compare(run, given)

    def hash(self, text: str) -> bytes:
        """Return the keyed hash of a key."""
        hashing = self._begun.copy()
        hashing.update(text.encode())
        return hashing.digest()

    def create(
        self,
        *,
        role: str,
        customer: str | None = None,
        note: str | None = None,
        expires_at: str | None = None,
    ) -> dict[str, Any]:
        """Make a key; the answer is its record and, this once, the `key` itself."""
        expiry = None if expires_at is None else parse_instant(expires_at, "expires_at")
        _check_terms(role, customer, note or "", expiry)
        if customer is not None and not self._run(
            "SELECT 1 FROM events WHERE customer = %s LIMIT 1", (customer,)
        ):
            raise NotFound(f"there is no customer {customer}", field="customer", value=customer)
        text, name = _make(role)
        self._insert(text, name, role, customer, note or "", expiry, is_first=False)
        return {**self.get(name), "key": text}

    def make_first_admin(self) -> str | None:
        """Make an admin key on a ledger that never had one; returns None on any other."""
        if self._run("SELECT 1 FROM api_keys WHERE role = 'admin' LIMIT 1"):
            return None
        text, name = _make("admin")
        self._insert(text, name, "admin", None, "made at the first start", None, is_first=True)
        # Of two processes that start together, one finds that the other was first.
        return text if self._run("SELECT 1 FROM api_keys WHERE id = %s", (name,)) else None

    def get(self, name: str) -> dict[str, Any]:
        """Return a key's record; raises NotFound for an unknown one."""
        rows = self._run(_ONE, (name,)) if _ID.fullmatch(name) else []
        if not rows:
            raise NotFound(f"there is no API key {name}", field="id", value=name)
        return _record(rows[0])

    def page(
        self, *, after: str | None = None, limit: int = 100
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return records by their ids, revoked ones as well, and the cursor of the next page."""
        rows = self._run(_PAGE, (after or "", limit + 1))
        found = [_record(row) for row in rows[:limit]]
        return found, found[-1]["id"] if len(rows) > limit else None

    def revoke(self, name: str) -> dict[str, Any]:
        """Revoke a key for ever, and return its record; to revoke it again changes nothing."""
        self.get(name)
        self._run(_REVOKE, (name,))
        return self.get(name)

    def changes(self, version: int) -> list[StoredKey]:
        """Return the keys that were made or revoked after a version, in that order."""
        rows = self._run(_CHANGES, (version,))
        return [
            StoredKey(name, role, customer, bytes(kept), expires_at, is_revoked, number)
            for name, role, customer, kept, expires_at, is_revoked, number in rows
        ]

    def touch(self, names: Collection[str]) -> None:
        """Note that these keys are in use, to the hour."""
        self._run(_TOUCH, (list(names),))

    def _insert(
        self,
        text: str,
        name: str,
        role: str,
        customer: str | None,
        note: str,
        expires_at: int | None,
        *,
        is_first: bool,
    ) -> None:
        self._run(_INSERT, (name, role, customer, note, self.hash(text), is_first, expires_at))

    def _run(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._query(statement, parameters)
        except (ConnectionLostError, StoreFailedError) as error:
            raise Unavailable(f"the database does not answer: {error}") from None


def _make(role: str) -> tuple[str, str]:
    """Make a key of a role; returns it and its id."""
    name = _random(_ID_CHARACTERS)
    begin = f"{PREFIX}_{role}_{name}_{_text(os.urandom(_SECRET_BYTES))}"
    return f"{begin}_{_check(begin)}", name


def _random(characters: int) -> str:
    return _text(os.urandom(characters))[:characters]


def _check(begin: str) -> str:
    return hashlib.sha256(begin.encode()).hexdigest()[:_CHECK_CHARACTERS]


def _text(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _check_terms(role: str, customer: str | None, note: str, expires_at: int | None) -> None:
    if role not in ROLES:
        raise Invalid.because("role", role, f"one of {', '.join(ROLES)}")
    if role == "customer" and customer is None:
        raise Invalid.because("customer", None, "a customer's id, because the role is customer")
    if role != "customer" and customer is not None:
        raise Invalid.because("customer", customer, f"absent, because the role is {role}")
    if len(note) > NOTE_MAX or not note.isprintable():
        raise Invalid.because("note", note, f"at most {NOTE_MAX} printable characters")
    if expires_at is not None and expires_at <= time.time_ns() // 1000:
        raise Invalid.because("expires_at", format_instant(expires_at), "in the future")


def _record(row: Sequence[Any]) -> dict[str, Any]:
    """Show a key's row as JSON; what is absent is left out."""
    name, role, customer, note, *times = row
    labels = ("created_at", "expires_at", "revoked_at", "last_used_at")
    written = {
        label: None if instant is None else format_instant(instant)
        for label, instant in zip(labels, times, strict=True)
    }
    found = {"id": name, "role": role, "customer": customer, "note": note or None, **written}
    return {field: value for field, value in found.items() if value is not None}
