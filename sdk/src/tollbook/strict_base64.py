"""Base64 (RFC 4648, section 4) with one spelling for each value."""

import base64
import binascii

from tollbook.errors import Invalid


def encode(data: bytes) -> str:
    """Write bytes in base64, with padding."""
    return base64.b64encode(data).decode()


def decode(text: str, field: str) -> bytes:
    """Read base64; the message of an error keeps the text out, because it may be a secret."""
    # Encoding it again catches the stray last bits that a lenient decoder drops.
    try:
        data = base64.b64decode(text, validate=True)
        if encode(data) == text:
            return data
    except (binascii.Error, ValueError):
        pass
    rule = "standard base64 with its padding"
    raise Invalid(f"the {field} must be {rule}", field=field, rule=rule)
