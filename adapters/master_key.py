"""What is derived from the master key, each under a label of its own, and how a wrong one is seen.

The master key is never used itself but to wrap the customers' keys (`adapters.vault`).
"""

import hmac
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from tollbook.errors import Unavailable

from application.ports import ConnectionLostError, StoreFailedError

SECRET_BYTES = 32

Run = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

API_KEYS_LABEL = "tollbook api keys v1"
"""The pepper of API keys, who were first: what tells master keys apart is made from it."""


def needed(master_key: bytes | None, what: str) -> bytes:
    """Return the master key; raises Unavailable, saying how to set it, where there is none."""
    if master_key is None:
        raise Unavailable(
            f"{what} need the master key: set TOLLBOOK_MASTER_KEY_FILE to a file with 32 "
            "random bytes in hex that only you can read "
            "(umask 077; openssl rand -hex 32 > master.key)"
        )
    return master_key


def derive(master_key: bytes, label: str) -> bytes:
    """Return the secret of a label: HKDF with SHA-256, without salt."""
    kdf = HKDF(algorithm=SHA256(), length=SECRET_BYTES, salt=None, info=label.encode())
    return kdf.derive(master_key)


def compare(run: Run, master_key: bytes) -> None:
    """Refuse another master key than this ledger's hashes were made with; the first one is kept."""
    pepper = derive(master_key, API_KEYS_LABEL)
    ours = hmac.digest(pepper, b"the pepper of this ledger", "sha256")
    try:
        run("UPDATE api_key_state SET pepper_check = %s WHERE pepper_check IS NULL", (ours,))
        theirs = bytes(run("SELECT pepper_check FROM api_key_state", ())[0][0])
    except (ConnectionLostError, StoreFailedError) as error:
        raise Unavailable(f"the database does not answer: {error}") from None
    if not hmac.compare_digest(ours, theirs):
        raise Unavailable("the master key is not the one that this ledger's keys were made with")
