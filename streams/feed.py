"""The feed: records on their way to the settlement, which takes them as it gets on.

Kafka's records come in one thread and are settled in another. They are kept until the ledger has
them, so that what fails is tried again with all that comes after it, in order.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from streams.settlement import BYTES_MAX, Record

WAITING_MAX = 1
"""So many portions wait at most while others are settled."""


class Feed:
    """Records that one thread puts and another takes."""

    def __init__(
        self, positions: Callable[[], Mapping[int, int]], taken: Callable[[], None]
    ) -> None:
        """Keep records until `positions` has moved past them; `taken` is called as some leave."""
        self._positions, self._taken = positions, taken
        self._waiting: deque[Sequence[Record]] = deque()
        self._given: list[Record] = []
        """What the settlement was given since it began and may not have settled yet."""

    def put(self, records: Sequence[Record]) -> None:
        """Add records at the end."""
        self._waiting.append(records)

    @property
    def waiting(self) -> int:
        """How many portions wait, as they were put."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether no more should be put until some are taken."""
        portions = list(self._waiting)
        size = sum(len(each.value or b"") for portion in portions for each in portion)
        return len(portions) > WAITING_MAX or size > BYTES_MAX

    def __len__(self) -> int:
        """Return how many records are not settled yet, as far as is known."""
        return len(self._given) + sum(map(len, list(self._waiting)))

    def __iter__(self) -> Iterator[Record]:
        """Yield what was given before and is not settled, and then what comes, until none waits."""
        self._forget_settled()
        yield from self._given
        while self._waiting:
            self._forget_settled()
            portion = self._waiting.popleft()
            self._given += portion
            self._taken()
            yield from portion

    def _forget_settled(self) -> None:
        stands = self._positions()
        self._given = [each for each in self._given if each.offset >= stands.get(each.partition, 0)]
