"""The vault: personal fields sealed under one key per customer; erasing is destroying that key.

Fields are sealed with AES-SIV (RFC 5297): deterministic, so a retried command seals to the same
text and can be compared, and bound to customer and field name. Each customer's key is random,
wrapped under the master key, and kept in a table of its own.
"""

import base64
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap,
    aes_key_wrap,
)
from tollbook.errors import Invalid, Tampered, Unavailable

MASTER_KEY_BYTES = 32
CUSTOMER_KEY_BYTES = 64
SEALED_TEXT_MAX = 1000
"""The longest personal field, in characters."""

Run = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


class KeyVault:
    """Implements application.ports.Vault on the table `customer_keys`."""

    def __init__(self, run: Run, master_key: bytes | None) -> None:
        """Use a query function and the master key; without a key nothing can be sealed."""
        if master_key is not None and len(master_key) != MASTER_KEY_BYTES:
            raise Invalid.because("master key", f"{len(master_key)} bytes", "32 bytes")
        self._run = run
        self._master_key = master_key

    def seal(self, customer: str, field: str, text: str) -> str:
        """Return the sealed form: the same text always gives the same, for one customer."""
        if not _is_text(text):
            raise Invalid.because(field, text, "text of 1 to 1,000 characters without U+0000")
        try:
            plain = text.encode()
        except UnicodeEncodeError:
            raise Invalid.because(field, ascii(text), "text without lone surrogates") from None
        key = self._key(customer, make=True)
        assert key is not None
        sealed = AESSIV(key).encrypt(plain, [customer.encode(), field.encode()])
        return base64.b64encode(sealed).decode()

    def open(self, customer: str, field: str, sealed: str) -> str | None:
        """Return the text, or None when the customer's key was destroyed."""
        key = self._key(customer, make=False)
        if key is None:
            return None
        try:
            plain = AESSIV(key).decrypt(
                base64.b64decode(sealed), [customer.encode(), field.encode()]
            )
        except InvalidTag:
            raise Tampered(
                f"{field} of customer {customer} does not open: key or text changed"
            ) from None
        return plain.decode()

    def destroy(self, customer: str) -> None:
        """Destroy a customer's key: their personal fields can never be read again."""
        self._run("DELETE FROM customer_keys WHERE customer = %s", (customer,))

    def _key(self, customer: str, *, make: bool) -> bytes | None:
        """Return a customer's key; never kept in memory, so a destroyed one is gone everywhere."""
        key = self._load(customer)
        if key is None and make:
            wrapped = aes_key_wrap(self._master(), os.urandom(CUSTOMER_KEY_BYTES))
            self._run(
                "INSERT INTO customer_keys VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (customer, wrapped),
            )
            key = self._load(customer)
        return key

    def _load(self, customer: str) -> bytes | None:
        rows = self._run("SELECT wrapped FROM customer_keys WHERE customer = %s", (customer,))
        if not rows:
            return None
        try:
            return aes_key_unwrap(self._master(), bytes(rows[0][0]))
        except InvalidUnwrap:
            raise Unavailable("the master key is not the one this ledger was made with") from None

    def _master(self) -> bytes:
        if self._master_key is None:
            raise Unavailable(
                "personal fields need the master key: set TOLLBOOK_MASTER_KEY_FILE "
                "to a file with 32 random bytes in hex"
            )
        return self._master_key


def read_master_key(path: Path) -> bytes:
    """Read a master key: 64 hex digits in a file that only its owner can read."""
    try:
        if path.stat().st_mode & 0o077:
            raise Unavailable(f"{path} can be read by others: chmod 600 it first")
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise Unavailable(f"the master key {path} cannot be read: {error.strerror}") from None
    except ValueError:
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        raise Unavailable(f"{path} does not hold 64 hex digits")
    return key


def make_master_key(path: Path) -> bytes:
    """Read the master key of an embedded ledger, making it on first use.

    The file appears whole or not at all, and the first of several processes wins.
    """
    if not path.exists():
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".master-key-")
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(os.urandom(MASTER_KEY_BYTES).hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(name, path)
        finally:
            Path(name).unlink()
    return read_master_key(path)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= SEALED_TEXT_MAX and "\x00" not in value
