"""Who is asking: the identity behind an API key, checked against keys kept in memory.

The keys are read from the database at most twice a second, whoever asks and however often: an
unknown key costs no query, and the same work as a wrong one. A key that was revoked works for one
second more at most.
"""

import asyncio
import hmac
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tollbook.errors import Unavailable

from adapters.api_keys import ApiKeys, StoredKey, key_id
from entrypoints.http.problems import Unauthorized

FRESH_SECONDS = 1.0
"""What was read longer ago than this decides nothing."""

RENEW_SECONDS = 0.5
"""What was read longer ago than this is read again, while it still decides."""

PATIENCE_SECONDS = 2.0
"""How long a request waits for the keys to be read."""

RETRY_SECONDS = 0.2
"""After a failure, how long until the keys are read again."""

TOUCH_SECONDS = 60.0
"""How often the database is told which keys were used."""

_NOBODY = StoredKey("", "", None, bytes(32), None, is_revoked=True, version=0)


class Identity(NamedTuple):
    """Who is asking: the id of the key, its role, and the customer of a customer's key."""

    key: str
    role: str
    customer: str | None


class Keyring:
    """Tells who is asking; used on one event loop."""

    def __init__(
        self,
        keys: ApiKeys,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read keys through `keys`, in a thread of its own; `close` ends it."""
        self._keys = keys
        self._clock = clock
        self._monotonic = monotonic
        self._known: dict[str, StoredKey] = {}
        self._version = 0
        self._read_at = self._failed_at = self._touched_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._used: set[str] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keyring")

    async def identify(self, authorization: str | None) -> Identity:
        """Return who presents this `Authorization` header.

        Raises Unauthorized for whatever is no valid key, and Unavailable when nobody can tell.
        """
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("send the header `Authorization: Bearer KEY` with an API key")
        text = text.strip(" ")
        name = key_id(text)
        if name is None:
            raise Unauthorized("this is no API key: was it cut or mistyped?")
        await self._be_fresh()
        stored = self._known.get(name, _NOBODY)
        # An unknown key is hashed and compared like a known one, so that time tells nothing.
        is_right = hmac.compare_digest(self._keys.hash(text), stored.hash)
        is_over = stored.expires_at is not None and self._clock() * 1_000_000 >= stored.expires_at
        if not is_right or stored.is_revoked or is_over:
            raise Unauthorized("this API key is unknown, revoked or expired")
        self._used.add(stored.id)
        return Identity(stored.id, stored.role, stored.customer)

    def close(self) -> None:
        """Stop reading; the last uses that were not yet noted are forgotten."""
        if self._reading is not None:
            self._reading.cancel()
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def renew(self) -> None:
        """Read the keys now, so that one made or revoked here is known before it is told."""
        if self._reading is not None:  # it may have asked before the change
            await asyncio.wait((self._reading,), timeout=PATIENCE_SECONDS)
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())
            self._reading.add_done_callback(self._noted)
        await asyncio.wait((self._reading,), timeout=PATIENCE_SECONDS)

    async def _be_fresh(self) -> None:
        """See to it that what is known was read within the last second."""
        now = self._monotonic()
        age = now - self._read_at
        if age < RENEW_SECONDS:
            return
        if self._reading is None and now - self._failed_at >= RETRY_SECONDS:
            self._reading = asyncio.get_running_loop().create_task(self._read())
            self._reading.add_done_callback(self._noted)
        if age < FRESH_SECONDS:
            return
        if self._reading is not None:
            await asyncio.wait((self._reading,), timeout=PATIENCE_SECONDS)
        if self._monotonic() - self._read_at >= FRESH_SECONDS:
            raise Unavailable("API keys cannot be checked: the database does not answer")

    async def _read(self) -> None:
        begin = self._monotonic()
        used: Collection[str] = ()
        if self._used and begin - self._touched_at >= TOUCH_SECONDS:
            used, self._used, self._touched_at = self._used, set(), begin
        loop = asyncio.get_running_loop()
        for stored in await loop.run_in_executor(self._thread, self._ask, used):
            self._version = stored.version
            if stored.is_revoked:
                self._known.pop(stored.id, None)
            else:
                self._known[stored.id] = stored
        # As of when the question was asked: an answer that took long is that much older.
        self._read_at = begin

    def _ask(self, used: Collection[str]) -> list[StoredKey]:
        """Read what has changed, in the keyring's thread."""
        changed = self._keys.changes(self._version)
        if used:
            self._keys.touch(used)
        return changed

    def _noted(self, reading: "asyncio.Task[None]") -> None:
        self._reading = None
        if not reading.cancelled() and reading.exception() is not None:
            self._failed_at = self._monotonic()
