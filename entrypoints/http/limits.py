"""Limits: how often a key may ask, how large and slow a body may be, how many are served at once.

Rates are token buckets in this process, two for each key: requests, and commands. Whoever shows no
valid key is limited by address; a valid key from the same address is not.
"""

import asyncio
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tollbook.errors import Invalid, Unavailable

from entrypoints.http.problems import RateLimited, TimedOut, TooLarge, problem_response
from entrypoints.http.service import Caller
from entrypoints.settings import ServeSettings

BURST_SECONDS = 2
"""A bucket holds what flows into it in so many seconds."""

PEERS_MAX = 10_000
"""So many addresses are remembered; the one that was seen least recently is forgotten."""

SMALL_BODY = 65_536
"""A body of so many bytes is read even when nobody wants it, for the sake of the connection."""

DRAIN_SECONDS = 0.1
"""How long the rest of a small body may take then."""

_CLOSE = (b"connection", b"close")


class Bucket:
    """Tokens that flow in steadily; taking more than there are is refused, and costs nothing."""

    __slots__ = ("_at", "_most", "_rate", "_tokens")

    def __init__(self, rate: int, now: float) -> None:
        """Begin full."""
        self._rate = rate
        self._most = self._tokens = float(rate * BURST_SECONDS)
        self._at = now

    def take(self, count: int, now: float) -> float:
        """Take tokens; returns 0, or how many seconds are missing.

        More than a bucket ever holds is taken from a full one, and is paid off before the next.
        """
        tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        missing = min(count, self._most) - tokens
        self._tokens = tokens if missing > 0 else tokens - count
        return max(0.0, missing / self._rate)


class RateLimits:
    """Bounds what each key may ask for in a second; implements `service.Limits`."""

    def __init__(
        self, settings: ServeSettings, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the rates from the settings; keys are few, since each was made by an admin."""
        self._settings = settings
        self._monotonic = monotonic
        self._keys: dict[str, tuple[Bucket, Bucket]] = {}

    def spend(self, caller: Caller, commands: int) -> None:
        """Count one request, and so many commands in it; raises RateLimited."""
        now = self._monotonic()
        buckets = self._keys.get(caller.key)
        if buckets is None:
            rate = self._settings.rate(caller.role)
            buckets = Bucket(rate.requests, now), Bucket(rate.commands, now)
            self._keys[caller.key] = buckets
        wait = buckets[0].take(1, now)
        what = "requests"
        if not wait and commands:
            wait = buckets[1].take(commands, now)
            what = "commands"
        if wait:
            raise rate_limited(f"this key sends too many {what}", wait)


def rate_limited(why: str, wait: float) -> RateLimited:
    """Return the error that says when to come back."""
    seconds = max(1, math.ceil(wait))
    return RateLimited(f"{why}: try again in {seconds} s", retry_after=seconds)


class PeerLimits:
    """An ASGI middleware: answers 429 in place of 401 to an address that has had too many of them.

    A valid key from that address is served as ever, since many may share one address.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServeSettings,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wrap an app."""
        self._app = app
        self._rate = settings.rate_refused
        self._monotonic = monotonic
        self._peers: OrderedDict[str, Bucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass answers on, but for the 401 that is one too many."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        replaced = False

        async def passing(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] == 401:
                wait = self._take(network_of(scope.get("client")))
                if wait:
                    replaced = True
                    error = rate_limited("too many requests without a valid key", wait)
                    await problem_response(error)(scope, receive, send)
            if not replaced:
                await send(message)

        await self._app(scope, receive, passing)

    def _take(self, peer: str) -> float:
        now = self._monotonic()
        bucket = self._peers.get(peer)
        if bucket is None:
            bucket = self._peers[peer] = Bucket(self._rate, now)
            if len(self._peers) > PEERS_MAX:
                self._peers.popitem(last=False)
        else:
            self._peers.move_to_end(peer)
        return bucket.take(1, now)


def network_of(client: tuple[str, int] | None) -> str:
    """Return whom an address stands for: itself, or with IPv6 the network that one line gets."""
    if client is None:
        return ""
    try:
        address = ipaddress.ip_address(client[0].partition("%")[0])
    except ValueError:
        return client[0]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Crowd:
    """An ASGI middleware: serves so many requests at once, and refuses more as `overloaded`."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        """Wrap an app."""
        self._app = app
        self._most = settings.requests_at_once
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse at once."""
        if scope["type"] == "http" and self._inside >= self._most:
            error = Unavailable(
                f"{self._inside} requests are being served: try again later", code="overloaded"
            )
            await problem_response(error)(scope, receive, send)
            return
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1


class BodyLimits:
    """An ASGI middleware: a body is neither too long nor too slow, whoever reads it.

    An answer that is given before the body has been read closes the connection, because what is
    still to come would otherwise have to be read in vain.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        """Wrap an app."""
        self._app = app
        self._most = settings.body_bytes
        self._seconds = settings.body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve with a bounded body; requests without one pass untouched."""
        if scope["type"] == "http":
            size = _announced(scope)
            if size != 0:
                small = isinstance(size, int) and size <= SMALL_BODY
                body = _Body(receive, send, self._most, self._seconds, is_small=small)
                if isinstance(size, Invalid):
                    await problem_response(size)(scope, body.receive, body.send)
                    return
                if size is not None and size > self._most:
                    await problem_response(body.too_large())(scope, body.receive, body.send)
                    return
                receive, send = body.receive, body.send
        await self._app(scope, receive, send)


def _announced(scope: Scope) -> int | Invalid | None:
    """Return how long a body says it is; 0 without one, None when it does not say."""
    size: int | None = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            if not value.isdigit() or len(value) > 18:
                return Invalid.because("Content-Length", value.decode("latin-1"), "a number")
            size = int(value)
    return size


class _Body:
    """The body of one request, counted and timed while it arrives."""

    __slots__ = ("_most", "_read", "_receive", "_seconds", "_send", "_small", "_until", "_whole")

    def __init__(
        self, receive: Receive, send: Send, most: int, seconds: int, *, is_small: bool
    ) -> None:
        self._receive = receive
        self._small = is_small
        self._send = send
        self._most = most
        self._seconds = seconds
        self._read = 0
        self._until: float | None = None
        self._whole = False

    async def receive(self) -> Message:
        """Receive the next piece; raises TooLarge or TimedOut."""
        if self._whole:
            return await self._receive()
        message = await self._in_time(self._receive())
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            raise self.too_large()
        self._whole = not message.get("more_body", False)
        return message

    async def _in_time(self, receiving: Awaitable[Message]) -> Message:
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(self._until):
                return await receiving
        except TimeoutError:
            raise TimedOut(f"the body did not arrive within {self._seconds} s") from None

    async def send(self, message: Message) -> None:
        """Send, and close the connection when the body was not read to its end."""
        if message["type"] == "http.response.start" and not self._whole:
            self._whole = await self._drained()
            if not self._whole:
                message = {**message, "headers": [*message.get("headers", []), _CLOSE]}
        await self._send(message)

    async def _drained(self) -> bool:
        """Read a small body that nobody wanted, if it is there already: the connection can stay."""
        if not self._small:
            return False
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while (await self._receive()).get("more_body", False):
                    pass
        except TimeoutError:
            return False
        return True

    def too_large(self) -> TooLarge:
        """Return the error for a body that is too long."""
        rule = f"at most {self._most} bytes"
        return TooLarge(f"the body must be {rule} long", field="body", rule=rule)
