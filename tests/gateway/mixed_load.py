"""Mixed clients of one gateway, several at once, in an order that a seed decides."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from random import Random

from tests.gateway.mixed_grpc import MixedGrpc
from tests.gateway.mixed_http import MixedHttp
from tests.gateway.mixed_seen import Seen
from tests.gateway.rig import Licensee

AT_ONCE = 16


class Mixture:
    """All clients together; used on one event loop."""

    def __init__(
        self, grpc: str, http: str, licensees: Sequence[Licensee], seed: str, pause: float = 0
    ) -> None:
        """Ask at two addresses, as these customers; each client pauses after each step."""
        self.seen = Seen()
        self._chance = Random(seed)
        self._grpc_address, self._http_address = grpc, http
        self._licensees = licensees
        self._pause = pause

    async def run(self, steps: Iterator[int]) -> Seen:
        """Take steps, each an inference or a few, until there are none left."""
        over_grpc = MixedGrpc(self._grpc_address, self.seen, self._chance)
        over_http = MixedHttp(self._http_address, self.seen, self._chance)
        kinds, weights = zip(*_kinds(over_grpc, over_http), strict=True)

        async def one_after_another() -> None:
            for _ in steps:
                (ask,) = self._chance.choices(kinds, weights)
                await ask(self._chance.choice(self._licensees))
                await asyncio.sleep(self._pause)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(one_after_another())
        finally:
            await over_grpc.close()
            await over_http.close()
        return self.seen


def _kinds(
    over_grpc: MixedGrpc, over_http: MixedHttp
) -> list[tuple[Callable[[Licensee], Awaitable[None]], int]]:
    return [
        (over_grpc.texts, 22),
        (over_grpc.others, 8),
        (over_grpc.failing, 4),
        (over_grpc.hurried, 3),
        (over_grpc.streams, 10),
        (lambda who: over_grpc.streams(who, leaves=True), 6),
        (over_http.texts, 18),
        (over_http.others, 8),
        (over_http.generate, 8),
        (over_http.failing, 2),
        (over_http.hurried, 3),
        (over_http.streams, 8),
        (lambda who: over_http.streams(who, leaves=True), 6),
    ]
