"""Tollbook for customers and auditors: the codecs and proofs that need no server.

``amounts``, ``times`` and ``canonical`` fix how values are written; ``merkle``, ``note`` and
``checkpoint`` prove what a ledger has recorded; ``errors`` says what can go wrong; ``cli`` is the
command ``tollbook``. This package itself offers the version and the errors, and loads nothing else.
"""

from tollbook.errors import (
    Conflict,
    Interrupted,
    Invalid,
    NotFound,
    Refused,
    Tampered,
    TollbookError,
    Unavailable,
    Unknown,
)

__version__ = "0.1.0"

__all__ = [
    "Conflict",
    "Interrupted",
    "Invalid",
    "NotFound",
    "Refused",
    "Tampered",
    "TollbookError",
    "Unavailable",
    "Unknown",
    "__version__",
]
