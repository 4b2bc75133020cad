"""Base64 (RFC 4648) with one spelling for each value: padded, or for URLs without padding."""

import base64
import binascii

from tollbook.errors import Invalid


def encode(data: bytes) -> str:
    """Write bytes in base64 (section 4), with padding."""
    return base64.b64encode(data).decode()


def decode(text: str, field: str) -> bytes:
    """Read padded base64 (section 4); an error does not show the text, which may be a secret."""
    # Encoding it again catches the stray last bits that a lenient decoder drops.
    try:
        data = base64.b64decode(text, validate=True)
        if encode(data) == text:
            return data
    except (binascii.Error, ValueError):
        pass
    rule = "standard base64 with its padding"
    raise Invalid(f"the {field} must be {rule}", field=field, rule=rule)


def encode_url(data: bytes) -> str:
    """Write bytes in base64url (section 5), without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_url(text: str, field: str) -> bytes:
    """Read base64url without padding; an error does not show the text either."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if encode_url(data) == text:
            return data
    except (binascii.Error, ValueError):
        pass
    rule = "base64url without padding"
    raise Invalid(f"the {field} must be {rule}", field=field, rule=rule)
