"""How long a revoked licence is honoured at worst: the numbers of docs/licensing.md, held (C6)."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tollbook import lease
from tollbook.errors import Refused
from tollbook.tokens import TrustedKeys

from application.answers import Answer
from entrypoints.bootstrap import license_desk
from entrypoints.cli.acting import reading
from tests.integration.guarded_ledger import HOUR, MODEL, NOON, SECOND, Guarded, guarded
from tests.support.databases import TestDatabase

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "licensing.md").read_text("utf-8")
HOLDER = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()


def published(row: str, form: str) -> int:
    """Return the seconds that the page says in the row of its table that begins like this."""
    (found,) = re.findall(rf"^\| {row}[^|]*\| {form} \|$", PAGE, re.MULTILINE)
    return int(found)


AT_THE_LEDGER = published("the ledger", r"(\d+) seconds") * SECOND
ONLINE = published("nobody but the lease that a machine holds", r"(\d+) seconds") * SECOND
BORROWED = r"[^|]*`borrow_seconds`[^|]* (\d+) seconds[^|]*"
BEYOND = published("nobody but a lease that was borrowed", BORROWED) * SECOND

Step = tuple[str, int, int]
"""What is done, after how many microseconds, and a number that it may need."""

WHAT = ("lease", "lease", "borrow", "renew", "renew", "return", "upgrade")
steps = st.lists(
    st.tuples(
        st.sampled_from(WHAT),
        st.integers(0, 150 * SECOND) | st.sampled_from((0, 1, SECOND, 299 * SECOND, 300 * SECOND)),
        st.integers(60, 300),
    ),
    min_size=1,
    max_size=12,
)


class Token(NamedTuple):
    """A token that a machine was given, and when."""

    text: str
    borrowed: bool
    given_at: int


class Machine:
    """Takes seats of one licence, and keeps every token that it was given."""

    def __init__(self, acme: Guarded, database: TestDatabase, now: int, lent: int) -> None:
        """Issue the licence, which lends its seats for so many seconds."""
        self.acme = acme
        self.now = now
        self.lent = lent
        self.store = reading(acme.ledger)
        self.desk = license_desk(database.parts, self.store)
        keys = self.desk.public_keys()
        self.trusted = TrustedKeys(bytes.fromhex(each["public_key"]) for each in keys)
        self.license = acme.fresh("lic")
        self.leases: list[str] = []
        self.tokens: list[Token] = []
        terms = {"customer": "acme", "template": "professional", "deployment": "on_premise"}
        issued = {"id": self.license, "overrides": self._policy(300), **terms}
        self.send("issue_license", **issued).result()

    def _policy(self, lease_seconds: int) -> dict[str, Any]:
        return {"seats": 1000, "lease_seconds": lease_seconds, "borrow_seconds": self.lent}

    def send(self, kind: str, /, **body: Any) -> Answer:
        """Send a command as the edge does, and keep the token that its answer has."""
        prepared = self.desk.prepare(kind, {"id": self.acme.fresh(kind), **body}, self.store)
        (answer,) = self.acme.send(self.now, (kind, prepared.body))
        added = self.desk.complete(prepared, answer, self.store)
        if "token" in added:
            self.tokens.append(Token(added["token"], added["borrowed"], self.now))
        return answer

    def of_license(self, kind: str, /, **body: Any) -> Answer:
        """Send a command about the licence."""
        return self.send(kind, license=self.license, **body)

    def take(self, **more: Any) -> Answer:
        """Take a seat."""
        self.leases.append(self.acme.fresh("seat"))
        body = {"id": self.leases[-1], "model": MODEL, "holder": lease.thumbprint(HOLDER)}
        return self.of_license("lease_seat", **body, **more)

    def do(self, step: Step) -> Answer:
        """Take a step, whatever comes of it."""
        what, after, number = step
        self.now += after
        if what == "lease":
            return self.take()
        if what == "borrow":
            return self.take(borrow_seconds=max(60, number * self.lent // 300))
        if what == "upgrade":
            return self.of_license("upgrade_license", overrides=self._policy(number))
        name = self.leases[number % len(self.leases)] if self.leases else "none"
        return self.of_license("renew_lease" if what == "renew" else "return_lease", lease=name)

    def accepts(self, token: Token, now: int) -> bool:
        """Ask the verifier of the SDK, whose clock is right, about a token at an instant."""
        asked = {"license": self.license, "model": MODEL}
        try:
            lease.verify(token.text, self.trusted, HOLDER, now, **asked)
        except Refused as error:
            if error.code != "lease_expired":
                raise
            return False
        return True


def test_no_token_is_accepted_longer_after_a_revocation_than_the_page_says(
    embedded_database: TestDatabase,
) -> None:
    """Whatever was leased, borrowed, renewed, returned or upgraded before, and is tried after."""
    clock, outlived = [NOON], []
    with guarded(embedded_database) as acme:

        @given(before=steps, after=steps, lent=st.sampled_from((60, 3600)), late=st.integers(0))
        @settings(max_examples=60)
        def holds(before: list[Step], after: list[Step], lent: int, late: int) -> None:
            machine = Machine(acme, embedded_database, clock[0], lent)
            for step in before:
                machine.do(step)
            machine.of_license("revoke_license", reason="x").result()
            revoked, tokens = machine.now, list(machine.tokens)
            for step in (("lease", 0, 60), *after):
                assert not machine.do(step).done
            clock[0] = machine.now
            assert machine.tokens == tokens
            for token in tokens:
                assert machine.accepts(token, token.given_at)
                outlived.append(machine.accepts(token, revoked))
                worst = max(ONLINE, lent * SECOND + BEYOND) if token.borrowed else ONLINE
                assert not machine.accepts(token, revoked + worst + late)

        holds()
    assert any(outlived)


def test_the_published_delays_are_reached_and_the_ledger_has_none(
    embedded_database: TestDatabase,
) -> None:
    assert lease.WORST_REVOCATION_SECONDS * SECOND == ONLINE
    assert lease.SKEW_SECONDS * SECOND == BEYOND
    with guarded(embedded_database) as acme:
        machine = Machine(acme, embedded_database, NOON, HOUR // SECOND)
        machine.take().result()
        machine.take(borrow_seconds=HOUR // SECOND).result()
        machine.of_license("revoke_license", reason="x").result()
        online, borrowed = machine.tokens
        assert machine.accepts(online, NOON + ONLINE - 1)
        assert machine.accepts(borrowed, NOON + HOUR + BEYOND - 1)
        machine.now += AT_THE_LEDGER
        facts = {"channel": "on_premise"}
        asked = machine.of_license("validate_license", model=MODEL, facts=facts)
        assert asked.code == "license_revoked"
        assert acme.reserve(machine.now, license=machine.license).code == "license_revoked"
