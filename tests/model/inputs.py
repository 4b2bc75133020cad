"""What the model of the ledger is fed: prices, customers, and commands that are likely to collide.

Bodies are JSON as on the wire. Amounts and volumes are small, so that tiers, floors and expiries
meet within a few commands; ids are few, so that they are used twice.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.model.oracle_rules import Body, Rules
from tests.model.wire import SECOND, instant, written

START = instant("2026-03-31T23:50:00Z")
"""Ten minutes before a month ends in UTC; holds live for five."""

CUSTOMERS = ("acme", "bolt", "corp")
STRANGER = "nobody"

FLAT: Body = {
    "name": "flat",
    "prices": {"requests": "1", "pages": "0.5", "gpu_seconds": "0.25", "output_tokens": "1000"},
    "max_output_tokens": 2000,
}
TIERED: Body = {
    "name": "tiered",
    "max_output_tokens": 1500,
    "prices": {"requests": "0.25"},
    "tiers": [
        {"up_to": 1000, "input": "1000", "output": "2000"},
        {"up_to": 3000, "input": "3000", "cached_input": "500", "output": "1000"},
        {"input": "500", "output": "1500"},
    ],
}
DEARER: Body = {
    "name": "tiered",
    "tiers": [{"up_to": 2000, "input": "2000", "output": "2500"}, {"input": "1", "output": "1"}],
}


def book(name: str, effective_from: str, *models: Body, currency: str = "USD") -> Body:
    """Return a version of a price book."""
    return {
        "id": name,
        "currency": currency,
        "effective_from": effective_from,
        "models": list(models),
    }


OPENING: list[tuple[str, Body]] = [
    ("publish_prices", book("default", "2020-01-01T00:00:00.000000Z", FLAT, TIERED)),
    ("publish_prices", book("default", "2026-04-01T00:01:40.000000Z", FLAT, DEARER)),
    ("publish_prices", book("other", "2020-01-01T00:00:00.000000Z", TIERED)),
    ("publish_prices", book("euro", "2020-01-01T00:00:00.000000Z", FLAT, currency="EUR")),
    ("create_customer", {"id": "acme"}),
    ("create_customer", {"id": "bolt", "credit_limit": "3"}),
    (
        "create_customer",
        {"id": "corp", "time_zone": "Pacific/Auckland", "price_book": "other"},
    ),
]
"""How every example begins."""


def completed(kind: str, body: Body) -> tuple[str, Body]:
    """Add the fields that have to be there but say nothing."""
    if kind == "publish_prices":
        return kind, {"id": f"{body['id']}:{body['effective_from']}", "book": body}
    if kind == "create_customer":
        return kind, {"name_sealed": "", "currency": "USD", **body}
    return kind, body


def fields(draw: st.DrawFn, always: Body, **sometimes: st.SearchStrategy[Any]) -> Body:
    """Return a body with some of the fields that may be absent."""
    chosen = draw(st.sets(st.sampled_from(sorted(sometimes)))) if sometimes else set()
    return {**always, **{name: draw(sometimes[name]) for name in sorted(chosen)}}


REQUESTS = st.integers(0, 6).map(lambda count: {"requests": count})
TOKENS = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": st.integers(0, 5).map(lambda count: 300 * count),
        "cached_input_tokens": st.sampled_from([0, 1, 999]),
        "output_tokens": st.integers(0, 6).map(lambda count: 350 * count),
        "requests": st.integers(0, 1),
    },
)
ESTIMATES: st.SearchStrategy[Body] = REQUESTS | TOKENS | st.just({"pages": 1})
MEASURED = st.fixed_dictionaries({"gpu_seconds": st.sampled_from(["0", "0.000001", "3.25"])})
UNKNOWN = st.sampled_from([{"wishes": 1}, {"wishes": 0}])
USAGES: st.SearchStrategy[Body] = REQUESTS | TOKENS | MEASURED | UNKNOWN
MODELS = st.sampled_from(["flat", "flat", "tiered", "tiered", "unheard-of"])
AMOUNTS = st.sampled_from(["0.5", "1", "2", "3.25", "8", "0.000000000001"])
WHO = st.sampled_from((*CUSTOMERS, "acme", "acme", STRANGER))


class Inputs:
    """Draws commands that fit what the oracle knows at a time."""

    def __init__(self, rules: Rules, now: int, fresh: Callable[[str], str]) -> None:
        """Look at what was agreed; `fresh` makes an id that nobody has had."""
        self._rules = rules
        self._now = now
        self._fresh = fresh

    def commands(self, kinds: tuple[str, ...]) -> st.SearchStrategy[tuple[str, Body]]:
        """Return a strategy for one command of these kinds."""

        @st.composite
        def command(draw: st.DrawFn) -> tuple[str, Body]:
            kind = draw(st.sampled_from(kinds))
            return completed(kind, getattr(self, f"_{kind}")(draw))

        return command()

    def _id(self, draw: st.DrawFn, prefix: str) -> str:
        """Return a fresh id most of the time, else one of a few that meet each other."""
        used = draw(st.sampled_from([False] * 7 + [True]))
        return f"{prefix}{draw(st.integers(0, 1))}" if used else self._fresh(prefix)

    def _moment(self, draw: st.DrawFn, *offsets: int) -> str:
        return written(self._now + draw(st.sampled_from(offsets)))

    def _reservation(self, draw: st.DrawFn) -> str:
        holds = [hold for each in self._rules.accounts.values() for hold in each.holds]
        still_open = [hold.id for hold in holds if hold.outcome is None]
        names = still_open * 3 + [hold.id for hold in holds][-3:] or ["r-unheard-of"]
        return str(draw(st.sampled_from([*names, "r-unheard-of"])))

    def _create_customer(self, draw: st.DrawFn) -> Body:
        """Create someone again, someone new, or someone with a reservation's id."""
        name = draw(st.sampled_from(["acme", "dune", "r0", "r1"]))
        return fields(draw, {"id": name}, credit_limit=AMOUNTS)

    def _change_customer(self, draw: st.DrawFn) -> Body:
        return fields(
            draw,
            {"id": self._id(draw, "c"), "customer": draw(WHO)},
            credit_limit=AMOUNTS | st.just("0"),
            plan=st.sampled_from(["standard", "reserved_only"]),
            price_book=st.sampled_from(["default", "default", "other", "euro", "nowhere"]),
            time_zone=st.sampled_from(["UTC", "America/St_Johns"]),
        )

    def _issue_grant(self, draw: st.DrawFn) -> Body:
        ends = (1, 60 * SECOND, 300 * SECOND, 301 * SECOND, 3600 * SECOND)
        body = {
            "id": self._id(draw, "g"),
            "customer": draw(WHO),
            "amount": draw(AMOUNTS),
            "kind": draw(st.sampled_from(["paid", "promotional"])),
        }
        return fields(
            draw,
            body,
            priority=st.integers(0, 2),
            expires_at=st.sampled_from([written(self._now + offset) for offset in ends]),
            models=st.sampled_from([["flat"], ["tiered"], ["tiered", "flat"]]),
        )

    def _publish_prices(self, draw: st.DrawFn) -> Body:
        when = self._moment(draw, 0, 1, 100 * SECOND, 1000 * SECOND)
        models = draw(st.sampled_from([(FLAT, TIERED), (TIERED,), (FLAT, DEARER)]))
        return book(draw(st.sampled_from(["default", "other"])), when, *models)

    def _reserve(self, draw: st.DrawFn) -> Body:
        name = draw(st.sampled_from([None] * 12 + ["acme", "dune"])) or self._id(draw, "r")
        body = {"id": name, "customer": draw(WHO), "model": draw(MODELS)}
        body["estimate"] = draw(ESTIMATES)
        return fields(draw, body, ttl_seconds=st.sampled_from([1, 60, 300, 900, 86_400]))

    def _extend(self, draw: st.DrawFn) -> Body:
        body = {"id": self._id(draw, "e"), "reservation": self._reservation(draw)}
        ttl = st.sampled_from([1, 300, 900])
        return fields(draw, body, estimate=ESTIMATES, ttl_seconds=ttl)

    def _settle(self, draw: st.DrawFn) -> Body:
        body = {
            "id": self._id(draw, "s"),
            "reservation": self._reservation(draw),
            "usage": draw(USAGES),
        }
        offsets = (0, -SECOND, 5 * SECOND, 5 * SECOND + 1, -300 * SECOND, -600 * SECOND)
        return fields(
            draw,
            body,
            final=st.booleans(),
            occurred_at=st.sampled_from([written(self._now + offset) for offset in offsets]),
            source=st.sampled_from(["//a", "//b"]),
        )

    def _release(self, draw: st.DrawFn) -> Body:
        body = {"id": self._id(draw, "l"), "reservation": self._reservation(draw)}
        return fields(draw, body, reason=st.just("gone"))

    def _usage(self, draw: st.DrawFn) -> Body:
        return {
            "id": self._id(draw, "s"),
            "source": draw(st.sampled_from(["//a", "//b"])),
            "customer": draw(WHO),
            "model": draw(MODELS),
            "usage": draw(USAGES),
            "occurred_at": self._moment(draw, 0, 1, -SECOND, -700 * SECOND),
        }
