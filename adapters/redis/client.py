"""A connection to a Redis that somebody else runs: scripts, and an answer in time or none.

Nothing is ever tried again by itself, as a draw that is made twice wastes places. An address may
hold a password, so no message repeats it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from tollbook.errors import Invalid

from adapters.redis.errors import RedisUnavailable
from adapters.redis.scripts import Script

CONNECTIONS_MAX = 8
_TURNS = 4
"""Of the loop, until what its sockets have is read and whoever waits for it goes on."""
_SCHEMES = ("redis://", "rediss://", "unix://")


def holds_password(url: str) -> bool:
    """Say whether an address, or what stands in for one, holds a password."""
    try:
        found: dict[str, Any] = {**parse_url(url)}
    except (ValueError, TypeError):
        return "@" in url or "password" in url  # `ScriptClient` will say that it cannot be read
    return any(found.get(name) for name in ("password", "ssl_password"))


class ScriptClient:
    """Runs scripts on the Redis at an address; connects when it is first asked."""

    def __init__(self, url: str) -> None:
        """Read an address: redis://, rediss:// or unix://; without a host it is this machine."""
        rule = "redis://[[user]:password@]host[:port][/number], rediss:// or unix://"
        refused = Invalid.because("redis", "not shown", rule)
        if not url.startswith(_SCHEMES):
            raise refused
        try:
            self._redis: Any = Redis.from_url(
                url,
                decode_responses=True,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
                max_connections=CONNECTIONS_MAX,
                socket_timeout=None,
                socket_connect_timeout=None,
            )
        except (ValueError, TypeError):
            raise refused from None
        self._questions = 0

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[str | int], seconds: float
    ) -> Any:
        """Run a script; raises RedisUnavailable in that time, whatever is wrong."""
        self._questions += 1
        number = str(self._questions)
        try:
            async with _heard_within(seconds):
                rest = (len(keys), *keys, *args, number)
                try:
                    answer = await self._redis.execute_command("EVALSHA", script.sha, *rest)
                except NoScriptError:
                    answer = await self._redis.execute_command("EVAL", script.text, *rest)
            told, result = answer
        except TimeoutError:
            raise RedisUnavailable("Redis did not answer in time") from None
        except Exception as error:  # whatever it is, there is no answer
            raise RedisUnavailable(f"Redis cannot be used: {error}") from error
        if told != number:
            raise RedisUnavailable("Redis answered another question")
        return result

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()


@asynccontextmanager
async def _heard_within(seconds: float) -> AsyncIterator[None]:
    """End a wait as `asyncio.timeout` does, once the loop has looked at its sockets since.

    A loop that was busy with something else hears of the time before it hears of the answer, which
    may have come long ago: that is no fault of Redis.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.Handle
    async with asyncio.timeout(None) as limit:

        def over(turns: int) -> None:
            nonlocal timer
            if turns == 0:
                limit.reschedule(loop.time())
            else:
                timer = loop.call_soon(over, turns - 1)

        timer = loop.call_later(seconds, over, _TURNS)
        try:
            yield
        finally:
            timer.cancel()
