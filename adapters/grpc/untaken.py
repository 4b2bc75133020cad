"""Ends of calls that their clients do not take: for how long they are kept, and how many."""

import asyncio

from adapters.grpc.connection import Connection

UNTAKEN_SECONDS = 60.0
"""How long a client may take nothing of what is left of an answer."""
UNTAKEN_MAX = 20_000
UNTAKEN_BYTES_MAX = 256 * 2**20
"""Of more in the process, in number or in bytes, the oldest are left."""


class Untaken:
    """What calls that are over still have to say."""

    def __init__(self) -> None:
        """Begin without any."""
        self._kept: dict[tuple[Connection, int], tuple[int, asyncio.TimerHandle]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        """Return of how many calls there is something left."""
        return len(self._kept)

    def keep(self, connection: Connection, stream: int) -> None:
        """Wait for a client to take the rest of an answer, while it takes some of it."""
        waiting = connection.h2.queued_body_size(stream)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(UNTAKEN_SECONDS, self._look, connection, stream)
        self._kept[connection, stream] = waiting, timer
        self._bytes += waiting
        while len(self._kept) > UNTAKEN_MAX or self._bytes > UNTAKEN_BYTES_MAX:
            oldest = next(iter(self._kept))
            self.drop(*oldest)
            oldest[0].leave(oldest[1])

    def drop(self, connection: Connection, stream: int) -> int:
        """Return how much was waiting of what is taken now, or will not be."""
        waiting, timer = self._kept.pop((connection, stream), (0, None))
        if timer is not None:
            timer.cancel()
        self._bytes -= waiting
        return waiting

    def _look(self, connection: Connection, stream: int) -> None:
        waited = self.drop(connection, stream)
        if connection.h2.queued_body_size(stream) < waited:
            self.keep(connection, stream)
        else:
            connection.leave(stream)
