"""The feed: what comes while the ledger decides is settled without a pause, and nothing twice."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from tollbook.errors import Unavailable

from streams import feed as feeding
from streams import settlement as settling
from streams import worker
from streams.feed import Feed
from streams.ledger import OwnLedger
from streams.settlement import OutOfStepError, Record, Settlement
from tests.streams.records import raw, record, usage_event
from tests.streams.settling import CLUSTER, TOPIC, Stream
from tests.streams.test_worker import GaveUpError

NAMES = [f"i-{number}" for number in range(12)]


@pytest.fixture(autouse=True)
def _two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two events settled in each transaction."""
    monkeypatch.setattr(settling, "ITEMS_MAX", 2)


def told(first: int, last: int) -> list[Record]:
    """Return records of one event each."""
    return [record(at, usage_event(NAMES[at])) for at in range(first, last)]


class Busy(OwnLedger):
    """A ledger that writes down what is asked of it, and to which things happen meanwhile."""

    def __init__(self, executor: Any) -> None:
        """Have nothing happen yet."""
        super().__init__(executor)
        self.log: list[str] = []
        self.meanwhile: dict[int, Any] = {}
        """What is done as so many transactions have been begun."""

    def begin(self, *asked: Any) -> Any:
        """Let something happen, and begin."""
        self.meanwhile.pop(self.log.count("begun") + 1, lambda: None)()
        self.log.append("begun")
        return super().begin(*asked)

    def answers(self, begun: Any) -> Any:
        """Wait for one."""
        self.log.append("waited")
        return super().answers(begun)


def fed(stream: Stream) -> tuple[Settlement, Busy, Feed]:
    """Return a settlement that has a first offset, the ledger that it asks, and its feed."""
    stream.hold(*NAMES)
    ledger = Busy(stream.ledger.executor)
    made = Settlement(ledger, CLUSTER, TOPIC, stream.offsets, stream.bury)
    made.begin(0, 0)
    made.apply(told(0, 1))
    ledger.log.clear()
    return made, ledger, Feed(lambda: made.positions, lambda: None)


def test_what_comes_while_transactions_are_under_way_follows_them_at_once(stream: Stream) -> None:
    settlement, ledger, feed = fed(stream)
    feed.put(told(1, 5))
    ledger.meanwhile[1] = lambda: feed.put(told(5, 9))
    ledger.meanwhile[3] = lambda: feed.put(told(9, 12))
    settlement.apply(feed)
    assert (stream.charged, stream.offsets()) == (12, {0: 12})
    begun = [at for at, what in enumerate(ledger.log) if what == "begun"]
    under_way = [ledger.log[:at].count("begun") - ledger.log[:at].count("waited") for at in begun]
    assert under_way[:3] == [0, 1, 2]
    assert min(under_way[3:]) > 0, "it never stood still"
    assert settlement.repeated == 0


def test_what_failed_is_given_again_with_all_that_follows_it_and_nothing_else(
    stream: Stream,
) -> None:
    settlement, ledger, feed = fed(stream)
    feed.put(told(1, 5))

    def fail() -> None:
        feed.put(told(5, 8))
        raise Unavailable("away")

    ledger.meanwhile[2] = fail
    with pytest.raises(Unavailable):
        settlement.apply(feed)
    assert (stream.charged, settlement.positions) == (3, {0: 3})
    settlement.resume()
    settlement.apply(feed)
    assert (stream.charged, stream.offsets(), settlement.repeated) == (8, {0: 8}, 0)


def test_a_stop_lets_what_was_begun_be_settled_and_begins_nothing_else(stream: Stream) -> None:
    settlement, ledger, feed = fed(stream)
    feed.put(told(1, 9))
    ledger.meanwhile[2] = settlement.end
    with pytest.raises(OutOfStepError, match="stopping"):
        settlement.apply(feed)
    assert (stream.charged, stream.offsets()) == (5, {0: 5})


def test_what_is_buried_is_not_kept_in_mind_once_it_is_settled(stream: Stream) -> None:
    settlement, ledger, feed = fed(stream)
    feed.put([raw(at, b"no JSON") for at in range(1, 7)])
    ledger.meanwhile[2] = fails(Unavailable("away"))
    with pytest.raises(Unavailable):
        settlement.apply(feed)
    assert settlement._buried == {each for each in stream.buried if each.offset > 2}
    stream.another().apply([raw(at, b"no JSON") for at in range(3, 5)])
    settlement.resume()
    assert settlement._buried == set()
    settlement.apply(feed)
    assert [each.offset for each in stream.buried] == [1, 2, 3, 4, 3, 4, 5, 6]
    assert settlement._buried == set()


@pytest.mark.parametrize("value", [b"no JSON", b"[]", b"[1, 2]"])
def test_what_tells_nothing_is_settled_bit_by_bit_as_well(stream: Stream, value: bytes) -> None:
    settlement, ledger, feed = fed(stream)
    feed.put([raw(at, value) for at in range(1, 9)])
    settlement.apply(feed)
    assert stream.offsets() == {0: 9}
    assert ledger.log.count("begun") >= 4, "two at a time"


def test_a_transaction_has_so_many_bytes_of_records_at_most(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "ITEMS_MAX", 100)
    monkeypatch.setattr(settling, "BYTES_MAX", 2_000)
    settlement, ledger, feed = fed(stream)
    feed.put([*told(1, 3), raw(3, b" " * 3_000), raw(4, b" " * 900), raw(5, b" " * 900)])
    settlement.apply(feed)
    assert stream.offsets() == {0: 6}
    assert ledger.log.count("begun") == 3


def fails(error: Exception) -> Callable[[], None]:
    """Return what fails."""

    def fail() -> None:
        raise error

    return fail


def test_a_partition_that_is_given_in_the_middle_is_settled_from_where_it_stands(
    stream: Stream,
) -> None:
    settlement, ledger, feed = fed(stream)
    feed.put(told(1, 5))

    def given() -> None:
        settlement.begin(1, 0)
        feed.put([record(0, usage_event(NAMES[5]), partition=1)])

    ledger.meanwhile[1] = given
    settlement.apply(feed)
    assert (stream.charged, stream.offsets()) == (6, {0: 5, 1: 1})


class Counting:
    """Settles each record, slowly, and keeps the order in which they came."""

    def __init__(self) -> None:
        """Have settled none."""
        self.seen: list[int] = []
        self.turns = 0
        self.go_on = threading.Event()
        self.go_on.set()

    @property
    def positions(self) -> dict[int, int]:
        """Where it stands."""
        return {0: len(self.seen)}

    def apply(self, records: Iterable[Record]) -> None:
        """Settle all that there are."""
        self.turns += 1
        for each in records:
            self.go_on.wait()
            self.seen.append(each.offset)


def portion(first: int) -> list[Record]:
    """Return a few records in a row."""
    return [Record(0, at, None, b"[]") for at in range(first, first + 5)]


def test_no_record_is_left_over_or_settled_twice_however_the_two_meet() -> None:
    counting: Any = Counting()

    async def give() -> None:
        feeding = worker.Feeding(counting)
        for first in range(0, 5_000, 5):
            await feeding.give(portion(first))
            if first % 35 == 0:  # so that the feed runs dry now and then
                await asyncio.sleep(0.001)
        while len(counting.seen) < 5_000:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(give(), 60.0))
    assert (counting.seen, counting.turns > 1) == (list(range(5_000)), True)


def test_who_gives_waits_while_what_was_given_before_is_not_even_begun() -> None:
    counting: Any = Counting()
    counting.go_on.clear()

    async def give() -> int:
        feeding, given = worker.Feeding(counting), 0
        try:
            for first in range(0, 100, 5):
                await asyncio.wait_for(feeding.give(portion(first)), 0.5)
                given += 1
        except TimeoutError:
            return given
        finally:
            counting.go_on.set()
        return given

    assert asyncio.run(give()) == 1 + feeding.WAITING_MAX


def test_who_gives_large_records_waits_for_the_first_of_them() -> None:
    counting: Any = Counting()
    counting.go_on.clear()

    async def give() -> None:
        feeding = worker.Feeding(counting)
        await feeding.give([Record(0, 0, None, b"")])
        large = Record(0, 1, None, bytes(settling.BYTES_MAX + 1))
        await asyncio.sleep(0.1)  # the first is being settled now
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(feeding.give([large]), 0.3)
        finally:
            counting.go_on.set()

    asyncio.run(give())


class Failing(Counting):
    """Fails again and again, and gets on in between; so do others, in another partition."""

    def __init__(self, *stands: int) -> None:
        """Fail once at each of these, as often as it is named."""
        super().__init__()
        self._stands = list(stands)
        self.others = 0

    def apply(self, records: Iterable[Record]) -> None:
        """Settle a record and fail at the next."""
        for each in records:
            if each.offset < len(self.seen):
                continue
            if self._stands and self._stands[0] == each.offset:
                raise Unavailable(str(self._stands.pop(0)))
            self.seen.append(each.offset)

    @property
    def positions(self) -> dict[int, int]:
        """Where it stands, and where others do."""
        return {0: len(self.seen), 1: self.others}

    @property
    def transactions(self) -> int:
        """How much it has settled."""
        return len(self.seen)

    def resume(self) -> None:
        """Stand where it stood, and see that others get on."""
        self.others += 1


@pytest.mark.parametrize(("stands", "ends"), [((0, 0, 2, 2, 4, 4), False), ((0, 2, 2, 2), True)])
def test_whoever_gets_on_between_its_failures_has_all_its_tries_again(
    stands: tuple[int, ...], ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up() -> None:
        raise GaveUpError

    monkeypatch.setattr(worker, "give_up", give_up)
    monkeypatch.setattr(worker, "PAUSES", (0.0, 0.0))
    failing: Any = Failing(*stands)
    settled = worker.steadily(failing, portion(0))
    if ends:
        with pytest.raises(GaveUpError):
            asyncio.run(settled)
    else:
        asyncio.run(settled)
        assert failing.seen == [0, 1, 2, 3, 4]
