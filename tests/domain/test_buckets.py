"""A map of buckets is a map, however many ids it holds, and no version of it ever changes."""

from hypothesis import given
from hypothesis import strategies as st

from domain.buckets import Buckets

NAMES = st.integers(0, 60).map(lambda number: f"r{number}")
STEPS = st.lists(st.tuples(NAMES, st.none() | st.integers()), max_size=200)
"""Ids and their new values; None drops one."""


@given(STEPS)
def test_every_version_says_for_ever_what_a_dictionary_said_then(
    steps: list[tuple[str, int | None]],
) -> None:
    versions: list[tuple[Buckets[int], dict[str, int]]] = [(Buckets(), {})]
    for name, value in steps:
        buckets, known = versions[-1]
        rest = {each: known[each] for each in known if each != name}
        if value is None:
            versions.append((buckets.drop(name), rest))
        else:
            versions.append((buckets.put(name, value), {**rest, name: value}))
    for buckets, known in versions:
        assert dict(buckets.items()) == known
        assert len(buckets) == len(known)
        assert bool(buckets) == bool(known)
        assert all(buckets.get(name) == known.get(name) for name, _ in steps)


VALUES = st.dictionaries(NAMES, st.integers(), max_size=24)


@given(VALUES, VALUES)
def test_many_put_at_once_are_as_one_by_one(before: dict[str, int], values: dict[str, int]) -> None:
    buckets = Buckets[int]().put_all(before)
    together = one_by_one = buckets
    for name, value in values.items():
        one_by_one = one_by_one.put(name, value)
    together = together.put_all(values)
    assert together == one_by_one
    assert dict(together.items()) == {**before, **values}
    assert dict(buckets.items()) == before


@given(VALUES)
def test_a_map_of_values_is_as_one_that_they_were_put_into(values: dict[str, int]) -> None:
    made, put = Buckets.of(values), Buckets[int]().put_all(values)
    assert made == put
    assert len(made) == len(values)
    assert made.put("more", 7).get("more") == 7
    assert dict(made.items()) == values, "it stays what it was"
    assert dict(Buckets.of(values).put("more", 7).drop("more").items()) == {
        name: value for name, value in values.items() if name != "more"
    }


@given(st.dictionaries(NAMES, st.integers(), max_size=12))
def test_a_map_that_was_large_equals_one_that_never_was(values: dict[str, int]) -> None:
    large: Buckets[int] = Buckets()
    for number in range(100):
        large = large.put(f"other{number}", number)
    small: Buckets[int] = Buckets()
    for name, value in values.items():
        large, small = large.put(name, value), small.put(name, value)
    assert large != small
    for number in range(100):
        large = large.drop(f"other{number}")
    assert large == small
    assert bool(large) == bool(values)
