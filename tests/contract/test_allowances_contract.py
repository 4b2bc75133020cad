"""What everything that hands out places of slices promises, in this process and through Redis."""

import asyncio

import pytest

from adapters.redis.server import RedisServer
from application.allowing import (
    INFERENCES_MAX,
    TERMS_BYTES_MAX,
    Allowances,
    Drawn,
    NoDraw,
    Slice,
)
from tests.support.allowances import END, Opens, a_slice, in_one_memory, on_redis, told


@pytest.fixture(params=["local", "redis"])
def opens(request: pytest.FixtureRequest) -> Opens:
    """Open gateways that share what is handed out, of either kind."""
    if request.param == "local":
        return in_one_memory()
    server: RedisServer = request.getfixturevalue("redis")
    return on_redis(server.url)


def test_places_are_drawn_until_none_is_left(opens: Opens) -> None:
    async def story(one: Allowances) -> list[Drawn | NoDraw]:
        await one.publish("key", a_slice(inferences=10), 0)
        return [await one.draw("key", count, 1) for count in (1, 6, 6, 1)]

    assert told(opens, story, "one") == [
        Drawn("slice-1", 1, 9),
        Drawn("slice-1", 6, 3),
        Drawn("slice-1", 3, 0),
        NoDraw("spent"),
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_gateways_that_draw_at_once_get_each_place_once(opens: Opens, count: int) -> None:
    async def story(*gateways: Allowances) -> list[Drawn | NoDraw]:
        await gateways[0].publish("key", a_slice(inferences=100), 0)
        draws = [gateways[n % 3].draw("key", count, 1) for n in range(120)]
        return list(await asyncio.gather(*draws))

    answers = told(opens, story, "one", "two", "three")
    drawn = [answer for answer in answers if isinstance(answer, Drawn)]
    assert sum(answer.count for answer in drawn) == 100
    assert all(1 <= answer.count <= count for answer in drawn)
    assert {answer for answer in answers if isinstance(answer, NoDraw)} == {NoDraw("spent")}


def test_draws_of_several_questions_at_once_are_each_answered_by_its_own(opens: Opens) -> None:
    async def story(one: Allowances) -> list[Drawn | NoDraw]:
        for name in ("a", "b"):
            await one.publish(name, a_slice(f"slice-{name}", 1), 0)
        return list(await asyncio.gather(*(one.draw(name, 1, 1) for name in ("b", "c", "a", "b"))))

    assert told(opens, story, "one") == [
        Drawn("slice-b", 1, 0),
        NoDraw("none"),
        Drawn("slice-a", 1, 0),
        NoDraw("spent"),
    ]


@pytest.mark.parametrize(
    ("now", "answer"),
    [(END - 1, Drawn("slice-1", 1, 9)), (END, NoDraw("ending")), (END + 1, NoDraw("ending"))],
)
def test_nothing_is_drawn_from_the_end_on(opens: Opens, now: int, answer: Drawn | NoDraw) -> None:
    async def story(one: Allowances) -> Drawn | NoDraw:
        await one.publish("key", a_slice(), 0)
        return await one.draw("key", 1, now)

    assert told(opens, story, "one") == answer


def test_a_new_slice_takes_the_place_of_the_one_before_which_is_closed(opens: Opens) -> None:
    async def story(one: Allowances, two: Allowances) -> None:
        await one.publish("key", a_slice("old", 5), 0)
        assert await two.draw("key", 1, 1) == Drawn("old", 1, 4)
        assert not await two.tally("old")
        await one.publish("key", a_slice("new", 7), 1)
        assert await two.draw("key", 1, 1) == Drawn("new", 1, 6)
        assert not await one.is_tallied("old")
        assert await two.tally("old")
        assert await one.is_tallied("old")
        assert not await two.tally("new")

    told(opens, story, "one", "two")


def test_nothing_is_drawn_from_a_closed_slice_by_anybody(opens: Opens) -> None:
    async def story(one: Allowances, two: Allowances) -> list[Drawn | NoDraw]:
        await one.publish("key", a_slice(), 0)
        await two.close_slice("slice-1")
        await two.close_slice("slice-1")
        return [await each.draw("key", 1, 1) for each in (one, two)]

    assert told(opens, story, "one", "two") == [NoDraw("closed"), NoDraw("closed")]


def test_a_slice_is_tallied_when_each_gateway_that_drew_says_so(opens: Opens) -> None:
    async def story(one: Allowances, two: Allowances, other: Allowances) -> None:
        await one.publish("key", a_slice(), 0)
        await one.draw("key", 1, 1)
        await two.draw("key", 1, 1)
        assert not await one.tally("slice-1"), "it is open: there could be more"
        assert not await one.is_tallied("slice-1")
        await one.close_slice("slice-1")
        assert not await one.is_tallied("slice-1")
        assert await one.tally("slice-1")
        assert not await other.is_tallied("slice-1"), "the second has not told"
        assert await two.tally("slice-1")
        assert await two.tally("slice-1")
        assert await other.is_tallied("slice-1"), "the third drew nothing"

    told(opens, story, "one", "two", "other")


def test_a_closed_slice_of_which_nothing_was_drawn_is_tallied(opens: Opens) -> None:
    async def story(one: Allowances) -> bool:
        await one.publish("key", a_slice(), 0)
        await one.close_slice("slice-1")
        return await one.is_tallied("slice-1")

    assert told(opens, story, "one")


def test_of_a_slice_that_is_unknown_nothing_is_ever_tallied(opens: Opens) -> None:
    async def story(one: Allowances) -> list[bool]:
        before = [await one.tally("unknown"), await one.is_tallied("unknown")]
        await one.close_slice("unknown")
        return [*before, await one.tally("unknown"), await one.is_tallied("unknown")]

    assert told(opens, story, "one") == [False] * 4


def test_a_slice_that_was_closed_first_is_published_in_vain(opens: Opens) -> None:
    async def story(one: Allowances, two: Allowances) -> None:
        await one.publish("key", a_slice("old"), 0)
        await two.close_slice("late")
        await one.publish("key", a_slice("late"), 0)
        assert await one.draw("key", 1, 1) == Drawn("old", 1, 9)
        assert not await two.is_tallied("late")

    told(opens, story, "one", "two")


def test_asking_about_a_slice_before_it_is_published_does_no_harm(opens: Opens) -> None:
    async def story(one: Allowances) -> None:
        assert not await one.tally("slice-1")
        assert not await one.is_tallied("slice-1")
        assert await one.terms("slice-1") is None
        await one.forget("slice-1")
        await one.publish("key", a_slice(), 0)
        assert await one.draw("key", 1, 1) == Drawn("slice-1", 1, 9)
        await one.close_slice("closed-first")
        await one.publish("key", a_slice("closed-first"), 0)
        assert await one.draw("key", 1, 1) == Drawn("slice-1", 1, 8)

    told(opens, story, "one")


@pytest.mark.parametrize(
    "terms", ["", "{}", "wörds 🜚", "a\r\n\0b", "x" * TERMS_BYTES_MAX], ids=lambda text: text[:8]
)
def test_terms_come_back_as_they_were(opens: Opens, terms: str) -> None:
    async def story(one: Allowances, two: Allowances) -> None:
        await one.publish("key", a_slice(terms=terms), 0)
        assert await two.terms("slice-1") == terms
        assert await two.terms("slice-2") is None

    told(opens, story, "one", "two")


def test_what_is_forgotten_is_unknown_and_the_current_slice_stays(opens: Opens) -> None:
    async def story(one: Allowances) -> None:
        await one.publish("key", a_slice("old"), 0)
        await one.publish("key", a_slice("new"), 0)
        await one.forget("old")
        assert await one.terms("old") is None
        assert not await one.is_tallied("old")
        assert await one.draw("key", 1, 1) == Drawn("new", 1, 9)
        await one.forget("new")
        assert await one.draw("key", 1, 1) == NoDraw("none")
        await one.forget("new")

    told(opens, story, "one")


def test_a_slice_is_published_once(opens: Opens) -> None:
    async def story(one: Allowances) -> None:
        await one.publish("key", a_slice(inferences=2), 0)
        await one.draw("key", 2, 1)
        with pytest.raises(ValueError, match="published before"):
            await one.publish("key", a_slice(inferences=2), 0)
        assert await one.draw("key", 1, 1) == NoDraw("spent")

    told(opens, story, "one")


@pytest.mark.parametrize(
    "wrong",
    [
        a_slice(inferences=0),
        a_slice(inferences=INFERENCES_MAX + 1),
        a_slice(terms="é" * (TERMS_BYTES_MAX // 2 + 1)),
    ],
    ids=["none", "many", "long"],
)
def test_what_is_no_slice_is_not_published(opens: Opens, wrong: Slice) -> None:
    async def story(one: Allowances) -> Drawn | NoDraw:
        with pytest.raises(ValueError, match="a slice"):
            await one.publish("key", wrong, 0)
        return await one.draw("key", 1, 1)

    assert told(opens, story, "one") == NoDraw("none")


@pytest.mark.parametrize("count", [0, -1])
def test_at_least_one_place_is_drawn(opens: Opens, count: int) -> None:
    async def story(one: Allowances) -> None:
        await one.publish("key", a_slice(), 0)
        with pytest.raises(ValueError, match="at least one"):
            await one.draw("key", count, 1)
        assert await one.draw("key", 10, 1) == Drawn("slice-1", 10, 0)

    told(opens, story, "one")
