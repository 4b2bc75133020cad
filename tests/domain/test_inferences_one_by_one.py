"""Several inferences on one reservation count as the same ones, reserved and settled one by one."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.activity import Bucket
from domain.capping import view as caps_of
from domain.units import Quantities
from tests.domain.account import Account
from tests.domain.examples import DAY, MINUTE, NOON, SECOND, price_book, version_of
from tests.domain.licensee import LICENSE, MODEL, Licensee, admitted

UNITS = ("requests", "pages")
PERS = ("second", "minute", "day", "period", "total")
LIMITS = [
    {"id": f"{unit}.{per}", "unit": unit, "limit": 10**6, "per": per}
    for unit in UNITS
    for per in PERS
]
CAPS: list[dict[str, Any]] = [
    *({"id": f"{each}.day", "unit": each, "limit": 10**6, "calendar": "day"} for each in UNITS),
    *(
        {"id": f"{each}.roll", "unit": each, "limit": 10**6, "rolling_seconds": 60}
        for each in UNITS
    ),
]

Step = tuple[str, Any]

QUANTITIES: st.SearchStrategy[Quantities] = st.fixed_dictionaries(
    {}, optional={"requests": st.integers(0, 3), "pages": st.integers(0, 9)}
)
WAITS = st.sampled_from([0, 1, SECOND, 29 * SECOND, MINUTE, 5 * MINUTE])
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("part"), QUANTITIES),
    st.tuples(st.just("part"), QUANTITIES),
    st.tuples(st.just("wait"), WAITS),
    st.tuples(st.just("other"), QUANTITIES.filter(lambda units: units.get("requests") != 0)),
    st.tuples(st.just("zone"), st.sampled_from(["UTC", "Pacific/Auckland"])),
    st.tuples(st.just("policy"), st.sampled_from([LIMITS, LIMITS[::2]])),
)
ENDS: st.SearchStrategy[Step] = st.one_of(
    st.just(("release", None)), st.just(("expire", None)), st.tuples(st.just("final"), QUANTITIES)
)


class Seen(NamedTuple):
    """What counts for a customer now."""

    limits: dict[str, int]
    caps: list[dict[str, Any]]
    requests: list[tuple[int, int]]
    """(start, requests) of each bucket of the fraud rule."""
    spent: int


def seen(acme: Licensee) -> Seen:
    """Look at everything that counts use; booking what is due first, as each command does."""
    acme.change()
    known = acme.licensed().license.policy.limits
    activity = acme.balance.activity
    buckets: list[Bucket] = [*activity.windows, *activity.minutes]
    return Seen(
        {each.id: acme.used(each.id) for each in known},
        caps_of(acme.balance, acme.now),
        [(each.start, each.units) for each in buckets],
        acme.view().spent,
    )


class Together:
    """One reservation for all of them."""

    def __init__(self, acme: Licensee, estimate: Quantities, inferences: int) -> None:
        """Reserve."""
        self.acme = acme
        admitted(acme.hold("r", estimate, inferences=inferences))

    def part(self, usage: Quantities) -> None:
        """Tell of an inference."""
        self.acme.settle("r", usage, final=False)

    def final(self, usage: Quantities) -> None:
        """Tell of the last inference."""
        self.acme.settle("r", usage)

    def release(self) -> None:
        """Give the rest back."""
        self.acme.release("r")


class OneByOne:
    """A reservation for each of them; what is beyond has none."""

    def __init__(self, acme: Licensee, estimate: Quantities, inferences: int) -> None:
        """Reserve."""
        self.acme = acme
        self.open = [f"r{number}" for number in range(inferences)]
        for name in self.open:
            admitted(acme.hold(name, estimate))

    def part(self, usage: Quantities) -> None:
        """Tell of an inference."""
        if self.open:
            self.acme.settle(self.open.pop(), usage)
        else:
            self.acme.use(usage, model=MODEL, license=LICENSE)

    def final(self, usage: Quantities) -> None:
        """Tell of the last inference."""
        self.part(usage)
        self.release()

    def release(self) -> None:
        """Give the rest back."""
        while self.open:
            self.acme.release(self.open.pop())


def happen(how: Together | OneByOne, step: Step) -> None:
    """Let a step happen."""
    acme, (what, value) = how.acme, step
    if what == "part":
        how.part(value)
    elif what == "final":
        how.final(value)
    elif what == "release":
        how.release()
    elif what == "wait":
        acme.now += value
    elif what == "expire":
        acme.now += 5 * MINUTE
    elif what == "other":
        acme.valid(value)
    elif what == "zone":
        acme.change(time_zone=value)
    else:
        acme.upgrade(limits=value)


@pytest.mark.parametrize("begun", [NOON, NOON + DAY // 2 - 30 * SECOND])
@settings(max_examples=150)
@given(
    estimate=QUANTITIES,
    inferences=st.integers(2, 5),
    steps=st.lists(STEPS, max_size=12),
    end=ENDS,
    late=st.lists(st.tuples(st.just("wait"), WAITS), max_size=2),
)
def test_limits_caps_and_the_fraud_rule_count_them_as_one_by_one(
    begun: int,
    estimate: Quantities,
    inferences: int,
    steps: list[Step],
    end: Step,
    late: list[Step],
) -> None:
    ways: list[Together | OneByOne] = []
    for kind in (Together, OneByOne):
        acme = Licensee(now=begun)
        acme.issue(limits=LIMITS)
        acme.cap(*CAPS)
        ways.append(kind(acme, estimate, inferences))
    for step in [*steps, end, *late]:
        for how in ways:
            happen(how, step)
        assert seen(ways[0].acme) == seen(ways[1].acme), step


TIERED: dict[str, Any] = {
    "name": MODEL,
    "max_output_tokens": 300,
    "tiers": [
        {"up_to": 500, "input": "2", "output": "3"},
        {"up_to": 2_000, "input": "4", "cached_input": "1", "output": "1"},
        {"input": "1", "output": "2"},
    ],
}
TOKENS: st.SearchStrategy[Quantities] = st.fixed_dictionaries(
    {}, optional={"input_tokens": st.integers(0, 900), "output_tokens": st.integers(0, 300)}
)


@given(
    estimate=TOKENS,
    share=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=5),
    spare=st.integers(0, 2),
    others=st.lists(TOKENS, max_size=3),
)
def test_whoever_stays_within_the_estimate_is_paid_by_the_hold_alone(
    estimate: Quantities, share: list[tuple[int, int]], spare: int, others: list[Quantities]
) -> None:
    account = Account(price_book(version_of("2020-01-01T00:00:00Z", TIERED)), credit_limit=10**14)
    inferences = max(2, len(share) + spare)
    held = account.reserve("r", model=MODEL, estimate=estimate, inferences=inferences).held
    account.change(credit_limit=held)  # nothing else is left to take
    bounds = {"output_tokens": 300, **estimate}
    charged = 0
    for (input_share, output_share), other in zip(share, [*others, *[{}] * 5], strict=False):
        usage = {
            "input_tokens": bounds.get("input_tokens", 0) * input_share // 100,
            "output_tokens": bounds["output_tokens"] * output_share // 100,
        }
        part = account.settle("r", usage, final=False)
        assert part.receivable == 0
        charged += part.charged
        assert account.view().held == held - charged
        account.use(other, model=MODEL)  # reaches other tiers; it has no money and takes none
    assert account.view().available == 0
    assert account.release("r").released == held - charged
