"""What the model of the ledger is fed: prices, customers, and commands that are likely to collide.

Bodies are JSON as on the wire. Amounts and volumes are small, so that tiers, floors and expiries
meet within a few commands; ids are few, so that they are used twice.
"""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from tests.model import guard_inputs, price_inputs
from tests.model.guard_inputs import BURSTING
from tests.model.oracle_accounts import Hold
from tests.model.oracle_records import UsageRules
from tests.model.oracle_rules import Body
from tests.model.price_inputs import UNHEARD
from tests.model.wire import SECOND, instant, written

START = instant("2026-03-31T23:50:00Z")
"""Ten minutes before a month ends in UTC; holds live for five."""

CUSTOMERS = ("acme", "bolt", "corp", BURSTING)
STRANGER = "dune"
"""Nobody at first, who may be created later."""

OPENING: list[tuple[str, Body]] = [
    *price_inputs.OPENING,
    *guard_inputs.OPENING,
    ("create_customer", {"id": "acme"}),
    ("create_customer", {"id": "bolt", "credit_limit": "3"}),
    (
        "create_customer",
        {"id": "corp", "time_zone": "Pacific/Auckland", "price_book": "other"},
    ),
    ("issue_grant", {"id": "g-a", "customer": "acme", "amount": "12", "kind": "paid"}),
    (
        "issue_grant",
        {
            "id": "g-b",
            "customer": "acme",
            "amount": "6",
            "kind": "promotional",
            "expires_at": "2026-03-31T23:56:40.000000Z",
        },
    ),
    (
        "issue_grant",
        {
            "id": "g-c",
            "customer": "corp",
            "amount": "15",
            "kind": "paid",
            "models": ["tiered"],
        },
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
        "cached_input_tokens": st.sampled_from([0, 1, 400]),
        "output_tokens": st.integers(0, 6).map(lambda count: 350 * count),
        "requests": st.integers(0, 1),
    },
)
MEASURED = st.fixed_dictionaries({"gpu_seconds": st.sampled_from(["0", "0.000001", "3.25"])})
UNKNOWN = st.sampled_from([{"wishes": 1}, {"wishes": 0}, {"pages": 1}])
ESTIMATES: dict[str, st.SearchStrategy[Body]] = {"flat": REQUESTS, "tiered": TOKENS}
USAGES: dict[str, st.SearchStrategy[Body]] = {"flat": REQUESTS | MEASURED, "tiered": TOKENS}
AMOUNTS = st.sampled_from(["0.5", "1", "2", "3.25", "8", "20", "0.000000000001"])


class Inputs:
    """Draws commands that fit what the oracle knows at a time."""

    def __init__(
        self, rules: UsageRules, now: int, fresh: Callable[[str], str], *, wild: bool, collide: bool
    ) -> None:
        """Look at what was agreed; `fresh` makes an id that nobody has had.

        Only `wild` commands name what is unknown; only those that `collide` have an id that
        another might have had.
        """
        self._rules = rules
        self._now = now
        self._fresh = fresh
        self._wild = wild
        self._collide = collide

    def commands(self, kinds: tuple[str, ...]) -> st.SearchStrategy[tuple[str, Body]]:
        """Return a strategy for one command of these kinds."""

        @st.composite
        def command(draw: st.DrawFn) -> tuple[str, Body]:
            kind = draw(st.sampled_from(kinds))
            return completed(kind, getattr(self, f"_{kind}")(draw))

        return command()

    def _id(self, draw: st.DrawFn, prefix: str) -> str:
        """Return a fresh id most of the time, else one of a few that meet each other."""
        used = self._collide and draw(st.sampled_from([False] * 7 + [True]))
        return f"{prefix}{draw(st.integers(0, 1))}" if used else self._fresh(prefix)

    def _either(self, draw: st.DrawFn, usual: Sequence[Any], wild: Sequence[Any]) -> Any:
        """Return something usual, or in a wild command now and then something wild."""
        odd = self._wild and draw(st.integers(0, 3)) == 3
        return draw(st.sampled_from(wild if odd else usual))

    def _who(self, draw: st.DrawFn) -> Any:
        return self._either(draw, CUSTOMERS, [STRANGER])

    def _model(self, draw: st.DrawFn) -> Any:
        return self._either(draw, ["flat", "tiered"], [UNHEARD])

    def _units(self, draw: st.DrawFn, model: str, of: dict[str, st.SearchStrategy[Body]]) -> Body:
        odd = model not in of or (self._wild and draw(st.integers(0, 3)) == 3)
        return draw(UNKNOWN if odd else of[model])

    def _reservation(self, draw: st.DrawFn) -> Hold:
        """Return a reservation that is open, in a wild command also a closed or unknown one."""
        holds = [hold for each in self._rules.accounts.values() for hold in each.holds]
        unknown = Hold("r-unheard-of", "flat", {}, self._now, self._now, [])
        still_open = [hold for hold in holds if hold.outcome is None] or [unknown]
        found: Hold = self._either(draw, still_open, [*holds[-3:], unknown])
        return found

    def _create_customer(self, draw: st.DrawFn) -> Body:
        """Create someone again, someone new, or someone with a reservation's id."""
        name = draw(st.sampled_from(["acme", "dune", "r0", "r1"]))
        return fields(draw, {"id": name}, credit_limit=AMOUNTS)

    def _change_customer(self, draw: st.DrawFn) -> Body:
        sometimes = {
            "credit_limit": AMOUNTS | st.just("0"),
            "time_zone": st.sampled_from(["UTC", "America/St_Johns"]),
        }
        if self._wild:
            sometimes["plan"] = st.sampled_from(["standard", "reserved_only"])
            sometimes["price_book"] = st.sampled_from(
                ["default", "other", "euro", "late", "nowhere"]
            )
        return fields(draw, {"id": self._id(draw, "c"), "customer": self._who(draw)}, **sometimes)

    def _issue_grant(self, draw: st.DrawFn) -> Body:
        ends = (1, 60 * SECOND, 300 * SECOND, 301 * SECOND, 3600 * SECOND)
        body = {
            "id": self._id(draw, "g"),
            "customer": self._who(draw),
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
        odd = self._either(draw, [False], [True])
        return price_inputs.publishing(draw, self._rules, self._now, odd=odd)

    def _reserve(self, draw: st.DrawFn) -> Body:
        name = self._id(draw, "r")
        if self._collide:
            name = draw(st.sampled_from([name] * 12 + ["acme", "dune"]))
        model = self._model(draw)
        body = {"id": name, "customer": self._who(draw), "model": model}
        body["estimate"] = self._units(draw, model, ESTIMATES)
        if draw(st.integers(0, 3)) == 0:
            body["inferences"] = draw(st.integers(2, 4))
        return fields(draw, body, ttl_seconds=st.sampled_from([1, 60, 300, 900, 86_400]))

    def _extend(self, draw: st.DrawFn) -> Body:
        hold = self._reservation(draw)
        body = {"id": self._id(draw, "e"), "reservation": hold.id}
        ttl = st.sampled_from([1, 300, 900, 86_400])
        estimate = ESTIMATES.get(hold.model, UNKNOWN)  # any model, once its prices are published
        return fields(draw, body, estimate=estimate, ttl_seconds=ttl)

    def _settle(self, draw: st.DrawFn) -> Body:
        hold = self._reservation(draw)
        body = {
            "id": self._id(draw, "s"),
            "reservation": hold.id,
            "usage": self._units(draw, hold.model, USAGES),
        }
        around = [hold.opened_at, hold.opened_at - 5 * SECOND, self._now, self._now + 5 * SECOND]
        beyond = [hold.opened_at - 5 * SECOND - 1, self._now + 5 * SECOND + 1]
        when = self._either(draw, around, beyond)
        return fields(
            draw,
            body,
            final=st.booleans(),
            occurred_at=st.just(written(when)),
        )

    def _release(self, draw: st.DrawFn) -> Body:
        body = {"id": self._id(draw, "l"), "reservation": self._reservation(draw).id}
        return fields(draw, body, reason=st.just("gone"))

    def _usage(self, draw: st.DrawFn) -> Body:
        model, who = self._model(draw), self._who(draw)
        usual = [self._now, self._now - 700 * SECOND, self._now + 5 * SECOND]
        when = self._either(draw, usual, [self._now + 5 * SECOND + 1])
        about: Body = {}
        if draw(st.booleans()):
            hold = self._reservation(draw)
            around = [hold.opened_at - 5 * SECOND, self._now, self._now + 5 * SECOND]
            beyond = [hold.opened_at - 5 * SECOND - 1, self._now + 5 * SECOND + 1]
            when = self._either(draw, around, beyond)
            model = self._either(draw, [hold.model], [model])
            who = self._either(draw, [self._owner(hold)], [who])
            about = {"reservation": self._either(draw, [hold.id], ["r0", "r1"])}
        body = {
            "id": self._id(draw, "s"),
            "source": draw(st.sampled_from(["//a", "//b"])),
            "customer": who,
            "model": model,
            "usage": self._units(draw, model, USAGES),
            "occurred_at": written(when),
            **about,
        }
        digest = st.sampled_from(["0a" * 32, "f9" * 32])
        hashes = {"request_hash": digest, "response_hash": digest}
        wild = about or draw(st.integers(0, 9)) == 0  # a part of nothing is refused
        part = {"final": st.just(False)} if wild else {}
        return fields(draw, body, license=st.just("lic"), **hashes, **part)

    def _unblock(self, draw: st.DrawFn) -> Body:
        return guard_inputs.unblocking(draw, self._id(draw, "n"), self._who(draw))

    def _set_caps(self, draw: st.DrawFn) -> Body:
        return guard_inputs.capping(draw, self._id(draw, "k"), self._who(draw))

    def _owner(self, hold: Hold) -> str:
        accounts = self._rules.accounts.values()
        return next((each.id for each in accounts if hold in each.holds), STRANGER)

    def _park_usage(self, draw: st.DrawFn) -> Body:
        return {**self._usage(draw), "reason": draw(st.sampled_from(["odd", "doubled"]))}

    def _release_usage(self, draw: st.DrawFn) -> Body:
        known = list(self._rules.parked)[-6:] or ["0" * 32]
        parked = self._either(draw, known, ["f" * 32])
        return {"id": self._id(draw, "v"), "parked": parked}
