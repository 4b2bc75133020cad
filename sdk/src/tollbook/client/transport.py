"""What both clients need of httpx: where to connect, with which key, and what a failure means."""

import ipaddress
import os
import re
import ssl
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from tollbook import __version__
from tollbook.client.calls import Request
from tollbook.client.retrying import Lost
from tollbook.errors import Invalid

if TYPE_CHECKING:
    import httpx

URL_VARIABLE = "TOLLBOOK_URL"
KEY_VARIABLE = "TOLLBOOK_KEY"
CONNECTIONS = 100

_KEY_TEXT = re.compile(r"[\x21-\x7e]{1,512}")


class Target:
    """The server to talk to and the key to talk with; the key shows nowhere."""

    __slots__ = ("_key", "trusted_environment", "url")

    def __init__(self, url: str | None, key: str | None, *, allow_insecure: bool) -> None:
        """Check both, or take them from the environment."""
        address = url or os.environ.get(URL_VARIABLE)
        secret = key or os.environ.get(KEY_VARIABLE)
        if not address:
            raise Invalid(f"give a URL, or set {URL_VARIABLE}", field="url", rule="given")
        if not secret:
            raise Invalid(f"give a key, or set {KEY_VARIABLE}", field="key", rule="given")
        # The value is told to nobody, not even in an error.
        if _KEY_TEXT.fullmatch(secret) is None:
            raise Invalid(
                "the key is not of visible ASCII characters", field="key", rule="visible ASCII"
            )
        parts = _checked(address, allow_insecure=allow_insecure)
        self.url = address.rstrip("/")
        self._key = secret
        # A proxy of the environment would see what travels in the clear, the key included.
        self.trusted_environment = parts.scheme == "https"

    def __repr__(self) -> str:
        """Show the server alone."""
        return f"Target({self.url!r})"

    def options(self) -> dict[str, Any]:
        """Return the arguments that make either client of httpx."""
        httpx = load_httpx()
        return {
            "headers": {
                "Authorization": f"Bearer {self._key}",
                "Accept": "application/json, application/problem+json",
                "User-Agent": f"tollbook/{__version__}",
            },
            "limits": httpx.Limits(
                max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS
            ),
            # A redirect is never followed: it would take the key elsewhere.
            "follow_redirects": False,
            "trust_env": self.trusted_environment,
        }

    def arguments(self, request: Request, timeout: float) -> dict[str, Any]:
        """Return the arguments that build one request of httpx."""
        return {
            "method": request.method,
            "url": self.url + request.path,
            "content": request.body,
            "headers": {} if request.body is None else {"Content-Type": request.content_type},
            "timeout": timeout,
        }


def load_httpx() -> ModuleType:
    """Import httpx, which only the client needs."""
    try:
        import httpx
    except ImportError as error:
        raise ImportError(
            "tollbook.client needs httpx, which comes with an extra: pip install 'tollbook[http]'"
        ) from error
    return httpx


def lost(error: "httpx.RequestError", target: Target) -> Lost:
    """Say what a failure of httpx means: whether the request was sent, and whether it can be."""
    httpx = load_httpx()
    unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
    lasting = any(isinstance(each, ssl.SSLCertVerificationError) for each in _causes(error))
    detail = str(error) or type(error).__name__
    return Lost(f"{target.url}: {detail}", sent=not isinstance(error, unsent), lasting=lasting)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _checked(url: str, *, allow_insecure: bool) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid("the URL must begin with https:// or http:// and a host", field="url")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise Invalid("the URL must be an address alone: no user, query or fragment", field="url")
    if parts.scheme == "http" and not (allow_insecure or _is_loopback(parts.hostname)):
        raise Invalid(
            f"http://{parts.hostname} would send the key in the clear: use https, or allow it with "
            "allow_insecure=True",
            field="url",
            rule="https, or this machine",
        )
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
