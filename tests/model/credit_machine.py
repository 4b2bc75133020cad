"""The machine with credit: limits that are lowered below their use, and grants that come later."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.model.inputs import CUSTOMERS
from tests.model.machine import WRITERS, Command
from tests.model.oracle_rules import Body
from tests.model.priced_machine import PricedMachine
from tests.model.wire import written

REQUESTS = st.integers(0, 5)
ENDS = st.sampled_from(["settle", "part", "extend", "none"])
LATER = st.lists(
    st.fixed_dictionaries(
        {
            "amount": st.sampled_from(["0.5", "2", "4", "7"]),
            "kind": st.sampled_from(["promotional", "promotional", "paid"]),
            "priority": st.integers(0, 2),
        },
        optional={"models": st.sampled_from([["flat"], ["tiered"]])},
    ),
    min_size=1,
    max_size=3,
)


class CreditMachine(PricedMachine):
    """Drives a ledger whose customers live on credit."""

    @rule(
        who=st.sampled_from(CUSTOMERS),
        early=st.sampled_from([None, "1", "3"]),
        counts=st.tuples(REQUESTS, REQUESTS),
        lowered=st.sampled_from(["0", "0", "1", "3"]),
        later=LATER,
        ends=st.tuples(ENDS, st.integers(0, 12), REQUESTS),
        writer=WRITERS,
    )
    def lower_a_limit_below_its_use(
        self,
        who: str,
        early: str | None,
        counts: tuple[int, int],
        lowered: str,
        later: list[Body],
        ends: tuple[str, int, int],
        writer: int,
    ) -> None:
        """Hold and use on credit, lower the limit, grant, and then take more in every way."""
        held, used = counts
        mine = [] if early is None else [self._grant(who, amount=early, kind="promotional")]
        hold = self._make("reserve", who, model="flat", estimate={"requests": held})
        self.send([self._limit(who, "12"), *mine, hold, self._used(who, used)], writer)
        self.send([self._limit(who, lowered), *(self._grant(who, **each) for each in later)])
        how, on_hold, beside = ends
        more = {"requests": on_hold}
        settling = ("settle", {"final": how == "settle", "usage": more})
        kind, body = ("extend", {"estimate": more}) if how == "extend" else settling
        named = {"id": self._name(), "reservation": hold[1]["id"], **body}
        last = [] if how == "none" else [(kind, named)]
        another = self._make("reserve", who, model="flat", estimate={"requests": beside})
        self.send([*last, another, self._used(who, beside)], writer)

    def _name(self) -> str:
        return f"o{next(self._numbers)}"

    def _make(self, kind: str, who: str, /, **body: object) -> Command:
        return kind, {"id": self._name(), "customer": who, **body}

    def _limit(self, who: str, limit: str) -> Command:
        return self._make("change_customer", who, credit_limit=limit)

    def _grant(self, who: str, /, **body: object) -> Command:
        return self._make("issue_grant", who, **body)

    def _used(self, who: str, requests: int) -> Command:
        about = {"source": "//credit", "model": "flat", "occurred_at": written(self.now)}
        return self._make("usage", who, usage={"requests": requests}, **about)
