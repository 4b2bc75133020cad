"""The machine with licences: limits, seats and lives, at the edges of their windows."""

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from application.executor import Executor
from application.jobs import Item
from application.loading import load_balance
from domain.commands import parse
from domain.license_use import live, rooms
from tests.model.audited_machine import AuditedMachine
from tests.model.inputs import START
from tests.model.licensed_inputs import OPENING, TEMPLATE_COMMAND, LicensedInputs
from tests.model.machine import EVERYTHING, LATENESS, WRITERS, Backing, Command
from tests.model.oracle_license_life import LIFE
from tests.model.oracle_licensing import LicenseOracle
from tests.model.wire import SECOND, instant

EDGES = [
    instant(text)
    for text in (
        *("2026-04-01T00:00:00Z", "2026-04-01T11:00:00Z", "2026-04-02T00:00:00Z"),
        *("2026-04-01T02:30:00Z", "2026-04-05T12:00:00Z", "2026-05-01T00:00:00Z"),
    )
]
"""Where days and months end in the zones of the customers; one of these days has 25 hours."""


class LicensedMachine(AuditedMachine):
    """Drives a ledger whose customers have licences."""

    INPUTS = LicensedInputs
    KINDS = (*EVERYTHING, *sorted(LIFE))
    oracle: LicenseOracle

    def __init__(self, backing: Backing) -> None:
        super().__init__(backing)
        self.oracle = LicenseOracle()

    @initialize()
    def open_the_ledger(self) -> None:
        """Publish the template of every licence as well, and issue two."""
        super().open_the_ledger()
        (answer,) = self.executors[0].execute([Item(parse(*TEMPLATE_COMMAND), at=START)])
        answer.result()
        self.send(OPENING)

    @rule(before=st.sampled_from([0, 1, 1]), which=st.integers(0, 7))
    def go_to_an_edge(self, before: int, which: int) -> None:
        """Go to where a second, minute, day or month begins, or to the microsecond before."""
        steps = [self.now // length * length + length for length in (SECOND, 60 * SECOND)]
        steps += [edge for edge in EDGES if edge > self.now + before][:2]
        steps = [edge - before for edge in steps if edge - before > self.now]
        self.now = steps[which % len(steps)] if steps else self.now

    @rule(data=st.data(), writer=WRITERS, late=LATENESS, wild=st.booleans())
    def issue(self, data: st.DataObject, writer: int, late: int, wild: bool) -> None:
        """Issue a licence, and hold something under another one before."""
        before = self.draw(data, "reserve")
        self.send([before, self.draw(data, "issue_license", wild=wild)], writer, late)

    @rule(data=st.data(), writer=WRITERS, late=LATENESS, wild=st.booleans())
    def use_what_is_left(self, data: st.DataObject, writer: int, late: int, wild: bool) -> None:
        """Reserve and validate several times in one job."""
        kinds = ("reserve", "reserve", "validate_license")
        count = data.draw(st.integers(1, 4))
        self.send([self.draw(data, *kinds, wild=wild) for _ in range(count)], writer, late)

    @rule(data=st.data(), writer=WRITERS, late=LATENESS)
    def end_what_is_held(self, data: st.DataObject, writer: int, late: int) -> None:
        """End or extend reservations, and ask for more in the same job."""
        kinds = ("settle", "release", "extend", "usage")
        ends = [self.draw(data, *kinds) for _ in range(data.draw(st.integers(1, 2)))]
        self.send([*ends, self.draw(data, "reserve", "validate_license")], writer, late)

    @rule(data=st.data(), writer=WRITERS, late=LATENESS, wild=st.booleans())
    def change_the_terms(self, data: st.DataObject, writer: int, late: int, wild: bool) -> None:
        """Change a policy or a time zone between two uses."""
        kinds = ("upgrade_license", "upgrade_license", "change_customer")
        first, last = (self.draw(data, "reserve", "validate_license") for _ in range(2))
        self.send([first, self.draw(data, *kinds, wild=wild), last], writer, late)

    @rule(data=st.data(), writer=WRITERS, late=LATENESS, wild=st.booleans())
    def go_on_living(self, data: st.DataObject, writer: int, late: int, wild: bool) -> None:
        """Renew, suspend, reinstate, revoke, expire or rotate; the other writer uses it then."""
        kinds = ("renew_license", "suspend_license", "reinstate_license", "rotate_license_key")
        rare = ("expire_license", "revoke_license")
        some = kinds if data.draw(st.integers(0, 2)) else rare
        self.send([self.draw(data, *some, wild=wild)], writer, late)
        self.send([self.draw(data, "validate_license", "reserve")], 1 - writer)

    @rule(data=st.data(), writer=WRITERS, late=LATENESS, wild=st.booleans())
    def take_seats(self, data: st.DataObject, writer: int, late: int, wild: bool) -> None:
        """Take, renew and give back seats."""
        kinds = ("lease_seat", "lease_seat", "renew_lease", "return_lease")
        count = data.draw(st.integers(1, 3))
        self.send([self.draw(data, *kinds, wild=wild) for _ in range(count)], writer, late)

    @rule(data=st.data(), writer=WRITERS, fewer=st.integers(0, 2), pause=st.integers(0, 1))
    def lose_seats(self, data: st.DataObject, writer: int, fewer: int, pause: int) -> None:
        """Take three seats, then have fewer, and renew all leases in any order."""
        known = [each.body for each in self.oracle.rules.licenses.values()]
        license = data.draw(st.sampled_from(known))
        where = "api" if license["deployment"] == "saas" else "on_premise"
        asked = {"license": license["id"], "facts": {"channel": where}}
        holder = {"model": "flat", "holder": "0a" * 32}
        self.send([self._with_seats(license["id"], 3)], writer)
        for _ in range(3):
            self.now += pause
            self.send([("lease_seat", {"id": self._name("seat"), **asked, **holder})], writer)
        self.send([self._with_seats(license["id"], fewer)], 1 - writer)
        live = self.oracle.rules.licenses[license["id"]].live(self.now)
        names = data.draw(st.permutations([lease.id for lease in live]))
        renewals = [{"id": self._name("rl"), "lease": name, **asked} for name in names]
        self.send([("renew_lease", body) for body in renewals], writer)

    def _with_seats(self, license: str, seats: int) -> Command:
        body = {"id": self._name("up"), "license": license, "overrides": {"seats": seats}}
        return "upgrade_license", body

    def _name(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}"

    def compare_balances(self, executor: Executor) -> None:
        """Compare what counts against every limit, and who has seats."""
        super().compare_balances(executor)
        head = self.reading.head()
        now = max(self.now, head.recorded_at)
        for name, license in self.oracle.rules.licenses.items():
            account = self.oracle.rules.accounts[license.customer]
            zone = str(account.terms.get("time_zone", "UTC"))
            use = load_balance(self.reading, license.customer, head.position).uses.get(name)
            for model in ("flat", "tiered"):
                left = rooms(use, model, {}, now, zone, new=False)
                seen = [(limit.id, used) for limit, used, _, _ in left]
                wanted = [
                    (limit.body["id"], limit.used(now, zone))
                    for limit in self.oracle.rules.limits_for(license, model)
                ]
                assert seen == wanted, (name, model, seen, wanted)
            seats = [(lease.id, lease.expires_at) for lease in live(use, now)]
            assert seats == [(lease.id, lease.expires_at) for lease in license.live(now)], name

    def expiries(self) -> set[int]:
        """Return the instants at which licences and leases end as well."""
        found = super().expiries()
        for license in self.oracle.rules.licenses.values():
            ends = (license.body["expires_at"], license.ends_at())
            found |= {end for end in ends if end is not None}
            found |= {lease.expires_at for lease in license.leases}
        return found
