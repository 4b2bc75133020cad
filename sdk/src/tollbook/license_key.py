"""Licence keys: a typed prefix, 160 random bits, and a check that catches typing errors offline.

    tb_license_<32 characters of base32, lower case>_<8 hex digits of SHA-256>

The check says that a key was copied well, not that it opens anything: only the ledger knows that.
docs/formats/license-key.md is the specification, with test vectors.
"""

import base64
import hashlib
import os
import re

from tollbook.errors import Invalid

PREFIX = "tb_license_"
LENGTH = 52
HINT_CHARACTERS = 4

_RANDOM_BYTES = 20
_CHECK_CHARACTERS = 8
_RANDOM_END = LENGTH - _CHECK_CHARACTERS - 1
_ALPHABET = re.compile(rf"{PREFIX}[a-z2-7]{{32}}_[0-9a-f]{{{_CHECK_CHARACTERS}}}")


def make() -> str:
    """Make a new key; it is a secret from here on."""
    begin = PREFIX + base64.b32encode(os.urandom(_RANDOM_BYTES)).decode().lower()
    return f"{begin}_{_check_over(begin)}"


def check(text: str) -> None:
    """Refuse what is no key, or was mistyped; the error never shows the text."""
    if not text.startswith(PREFIX):
        raise _wrong(f"text that begins with {PREFIX}")
    if len(text) != LENGTH:
        raise _wrong(f"{LENGTH} characters long; this one has {len(text)}")
    if _ALPHABET.fullmatch(text) is None:
        raise _wrong("32 of a to z and 2 to 7, a low line, and 8 of 0 to 9 and a to f")
    if _check_over(text[:_RANDOM_END]) != text[_RANDOM_END + 1 :]:
        raise _wrong("typed as it was given: its last 8 characters do not fit the rest")


def hint(text: str) -> str:
    """Return the last random characters of a key, by which people tell keys apart."""
    check(text)
    return text[_RANDOM_END - HINT_CHARACTERS : _RANDOM_END]


def _check_over(begin: str) -> str:
    return hashlib.sha256(begin.encode()).hexdigest()[:_CHECK_CHARACTERS]


def _wrong(rule: str) -> Invalid:
    # The value stays out of the message, because it may be a secret but for one letter.
    return Invalid(f"the licence key must be {rule}", field="license_key", rule=rule)
