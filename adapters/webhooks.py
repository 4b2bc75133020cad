"""Webhooks: notices that leave signed, as Standard Webhooks says, and are tried until they arrive.

The signature is HMAC-SHA256 under the shared secret over `ID.TIMESTAMP.BODY`. The id is the same on
each try, so that whoever receives a notice twice can tell. Nothing is followed elsewhere, and an
address is taken only with TLS, or on this machine.
"""

import base64
import binascii
import hashlib
import hmac
import http.client
import ipaddress
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from tollbook.errors import Invalid

from adapters.timed_http import answer_of, connected
from application.notices import NotDeliveredError

KEY_PREFIX = "whsec_"
KEY_BYTES = (24, 64)
"""How long a secret is, at least and at most."""

TIMEOUT_SECONDS = 15.0
"""How long a delivery takes at most, in however many pieces, the lookup of a name included."""

LABEL_MAX = 63
HOST_MAX = 253
"""How long the parts of a name may be, and the whole."""

ANSWER_BYTES = 4_096
USER_AGENT = "tollbook-webhooks/1"

URL_RULE = "an https URL without user, query or fragment (http only to this machine)"
KEY_RULE = "whsec_ and 24 to 64 bytes in base64"


def check_url(url: str) -> SplitResult:
    """Return the parts of an address that notices may go to; raises Invalid."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Invalid.because("url", _shown(url), URL_RULE) from None
    clean = url.isascii() and url.isprintable() and " " not in url
    plain = parts.username is None and not parts.query and not parts.fragment
    safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host or ""))
    if not (clean and plain and safe and _is_host(host or "")) or port == 0:
        raise Invalid.because("url", _shown(url), URL_RULE)
    return parts


def _shown(url: str) -> str:
    """Show as much of an address as cannot hold a password."""
    scheme, there, _ = url.partition("://")
    return f"{ascii(scheme)[1:41]}://..." if there else "..."


def _is_host(host: str) -> bool:
    """Say whether each part of a name has a length that names have."""
    labels = host.removesuffix(".").split(".")
    return len(host) <= HOST_MAX and all(0 < len(label) <= LABEL_MAX for label in labels)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_secret(text: str) -> bytes:
    """Return the bytes of a secret as Standard Webhooks writes it; raises Invalid."""
    least, most = KEY_BYTES
    try:
        secret = base64.b64decode(text.removeprefix(KEY_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        secret = b""
    if not text.startswith(KEY_PREFIX) or not least <= len(secret) <= most:
        raise Invalid.because("secret", None, KEY_RULE)
    return secret


def signature(secret: bytes, name: str, timestamp: int, body: bytes) -> str:
    """Return the header `webhook-signature` of a notice."""
    signed = f"{name}.{timestamp}.".encode() + body
    mac = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}"


@dataclass(frozen=True, slots=True)
class Webhook:
    """One receiver: where notices go, and the secret that signs them."""

    url: str
    secret: bytes = field(repr=False)
    timeout: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        """Refuse an address that is not safe."""
        check_url(self.url)

    def deliver(self, name: str, timestamp: int, body: bytes) -> None:
        """Send a notice once; raises NotDeliveredError unless it was answered with 2xx."""
        parts = check_url(self.url)
        headers = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": name,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self.secret, name, timestamp, body),
        }
        deadline = time.monotonic() + self.timeout
        context = ssl.create_default_context() if parts.scheme == "https" else None
        connection = _connection(parts, context)
        try:
            connection.sock = connected(connection, context, deadline)
            connection.request("POST", parts.path or "/", body, headers)
            answer = answer_of(connection.sock, deadline)
            answer.read(ANSWER_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotDeliveredError(f"{type(error).__name__}: {error}") from None
        finally:
            connection.close()
        if answer.status // 100 != 2:
            raise NotDeliveredError(f"answered with {answer.status}")


def _connection(parts: SplitResult, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    """Return a connection that is not open yet, with the port said: an IPv6 address has colons."""
    host = str(parts.hostname)
    if context is None:
        return http.client.HTTPConnection(host, parts.port or http.client.HTTP_PORT)
    return http.client.HTTPSConnection(host, parts.port or http.client.HTTPS_PORT, context=context)
