"""The machine with guards: bursts that block, unblocking, caps."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from application.executor import Executor
from application.loading import load_balance
from domain.capping import view
from tests.model.credit_machine import CreditMachine
from tests.model.guard_inputs import BACK, BEFORE, BURSTING, BURSTS, GAPS
from tests.model.machine import LATENESS, WRITERS, Command
from tests.model.wire import written


class GuardedMachine(CreditMachine):
    """Drives a ledger whose accounts can be blocked and capped."""

    def _use(self, requests: int, back: int) -> Command:
        body = {
            "id": f"b{next(self._numbers)}",
            "source": "//burst",
            "customer": BURSTING,
            "model": "flat",
            "usage": {"requests": requests},
            "occurred_at": written(self.now - back),
        }
        return "usage", body

    @rule(before=BEFORE, gap=GAPS, burst=BURSTS, backs=st.tuples(BACK, BACK), writer=WRITERS)
    def use_in_a_burst(
        self, before: int, gap: int, burst: list[int], backs: tuple[int, int], writer: int
    ) -> None:
        """Use something, wait, and then use much at once; the two writers take turns."""
        self.send([self._use(before, 0)], writer)
        self.now += gap
        first, *rest = burst
        self.send([self._use(first, backs[0])], 1 - writer)
        self.send([self._use(requests, backs[1]) for requests in rest], writer)

    def any_blocked(self) -> bool:
        """Say whether an account is blocked."""
        accounts = self.oracle.rules.accounts.values()
        return any(each.guards.blocked_at is not None for each in accounts)

    @rule(back=BACK, requests=st.sampled_from([0, 1, 3, 1001]), writer=WRITERS)
    def use_a_little_more(self, back: int, requests: int, writer: int) -> None:
        """Use something near the edges of what is recent."""
        self.send([self._use(requests, back)], writer)

    @precondition(any_blocked)
    @rule(data=st.data(), writer=WRITERS, late=LATENESS)
    def unblock(self, data: st.DataObject, writer: int, late: int) -> None:
        """Unblock the account that a burst has blocked, and reserve on it."""
        kind, body = self.draw(data, "unblock", collide=False)
        self.send([self._reserving(), (kind, {**body, "customer": BURSTING})], writer, late)
        self.send([self._reserving()], 1 - writer)

    def _reserving(self) -> Command:
        name = f"r{next(self._numbers)}"
        body = {"id": name, "customer": BURSTING, "model": "flat", "estimate": {"requests": 1}}
        return "reserve", body

    @rule(data=st.data(), writer=WRITERS, late=LATENESS)
    def set_caps(self, data: st.DataObject, writer: int, late: int) -> None:
        """Replace the caps of somebody."""
        self.send([self.draw(data, "set_caps")], writer, late)

    def compare_balances(self, executor: Executor) -> None:
        """Compare what guards each account as well."""
        super().compare_balances(executor)
        head = self.reading.head()
        now = max(self.now, head.recorded_at)
        for name, account in self.oracle.rules.accounts.items():
            folded = load_balance(self.reading, name, head.position)
            assert (folded.block is not None) == (account.guards.blocked_at is not None), name
            zone = account.terms.get("time_zone", "UTC")
            wanted = [
                (
                    cap.body["id"],
                    cap.used(now, zone),
                    account.guards.held(cap, account.open_at(now)),
                )
                for cap in account.guards.caps
            ]
            seen = [(cap["id"], cap["used"], cap["held"]) for cap in view(folded, now)]
            assert seen == wanted, (name, seen, wanted)
