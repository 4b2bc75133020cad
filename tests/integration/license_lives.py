"""Random lives of licences: many are admitted, leased, rotated, settled with hashes, and ended."""

from collections.abc import Callable
from typing import Any

from tollbook.times import format_instant

from application.jobs import Item
from tests.integration.audit_workload import DAY, SECOND, Made, Rows, Workload

Action = tuple[Callable[[], Made], float]

HOUR = 3600 * SECOND
COUNTRIES = ("DE", "KP", "fr")

OVERRIDES: tuple[dict[str, Any] | None, ...] = (
    None,
    {"seats": 2, "devices": 2, "grace_seconds": 30, "borrow_seconds": 600},
    {"limits": [{"id": "few", "unit": "requests", "limit": 2, "per": "minute"}]},
    {"countries": {"deny": ["KP"]}, "seats": 1, "lease_seconds": 60},
)

NONE = ("license0", "customer0")
"""Stands for the licence where there is none yet."""


class LicenseLives(Workload):
    """Sends random commands about licences to a ledger in memory."""

    def __init__(self, seed: int) -> None:
        """Start an empty ledger without licences."""
        super().__init__(seed)
        self.licenses: list[tuple[str, str]] = []
        """Each licence, and its customer."""
        self.keys: dict[str, str] = {}
        """Each licence's newest key, as it is kept."""
        self.leases: list[tuple[str, str]] = []
        self.devices: list[tuple[str, str]] = []

    def _actions(self) -> list[Action]:
        return [
            *((self._reserve, 24), (self._settle, 18), (self._extend, 8), (self._release, 2)),
            *((self._grant, 8), (self._issue, 5), (self._activate, 5), (self._deactivate, 2)),
            *((self._renew, 3), (self._upgrade, 3), (self._stand, 4), (self._revoke, 0.7)),
            *((self._rotate, 3), (self._validate, 12), (self._lease, 14)),
            *((self._renew_lease, 12), (self._return_lease, 4)),
        ]

    def _let_time_pass(self) -> None:
        self.now += self.random.choice((0, 1, 1000, SECOND, 20 * SECOND))
        if self.random.random() < 0.02:
            self.now += self.random.choice((300 * SECOND, HOUR, DAY))

    def _hash(self, digits: int) -> str:
        return f"{self.random.getrandbits(4 * digits):0{digits}x}"

    def _later(self) -> str:
        return format_instant(
            self.now + self.random.choice((1, SECOND, 60 * SECOND, HOUR, 9 * DAY))
        )

    def _some(self, **fields: Any) -> dict[str, Any]:
        """Return about half of these fields."""
        return {name: fields[name] for name in fields if self.random.random() < 0.5}

    def _one_license(self) -> str:
        return self.random.choice(self.licenses[-6:] or [NONE])[0]

    def _new_key(self, license: str) -> dict[str, str]:
        self.keys[license] = self._hash(32)
        return {"key_hash": self.keys[license], "key_hint": self.random.choice(("abcd", "wxyz"))}

    def _facts(self) -> dict[str, Any]:
        environment = "production" if self.random.random() < 0.1 else "development"
        return {"environment": environment, **self._some(country=self.random.choice(COUNTRIES))}

    def _asked(self, license: str) -> dict[str, Any]:
        """Return facts, and perhaps a key: the newest one, mostly of the licence itself."""
        shown = license if self.random.random() < 0.9 else self._one_license()
        key = self.keys.get(shown, "0" * 32)
        more = self._some(license_key=key, request_hash=self._hash(64))
        return {"facts": self._facts(), **more}

    def _grant(self) -> Item | None:
        customer = self.random.choice(self.customers)
        terms = {"kind": "paid", "amount": "100000"}
        return self._item("issue_grant", id=self._id("grant"), customer=customer, **terms)

    def _issue(self) -> Item | None:
        self.licenses.append((self._id("license"), self.random.choice(self.customers)))
        license, customer = self.licenses[-1]
        return self._item(
            "issue_license",
            id=license,
            customer=customer,
            template=self.random.choice(("professional", "enterprise")),
            deployment=self.random.choice(("saas", "hybrid", "hybrid", "hybrid", "on_premise")),
            overrides=self.random.choice(OVERRIDES),
            **self._new_key(license),
            **self._some(expires_at=self._later(), reference='order \\ "7"'),
        )

    def _on(self, license: str, command: str, **body: Any) -> Item | None:
        return self._item(command, id=self._id(command), license=license, **body)

    def _activate(self) -> Item | None:
        license = self._one_license()
        self.devices.append((license, f"activate_license{self.number + 1}"))
        components = {"disk": self._hash(32), "board": self._hash(32)}
        more = self._some(components=components, holder=self._hash(64), facts=self._facts())
        return self._on(license, "activate_license", **more)

    def _deactivate(self) -> Item | None:
        license, device = self.random.choice(self.devices[-6:] or [NONE])
        return self._on(license, "deactivate_license", device=device)

    def _renew(self) -> Item | None:
        more = self._some(reference="order\t8")
        return self._on(self._one_license(), "renew_license", expires_at=self._later(), **more)

    def _upgrade(self) -> Item | None:
        overrides = self.random.choice(OVERRIDES)
        more = self._some(deployment="hybrid", template="enterprise")
        return self._on(self._one_license(), "upgrade_license", overrides=overrides, **more)

    def _stand(self) -> Item | None:
        """Suspend, reinstate or expire a licence."""
        kind = self.random.choice(("suspend", *["reinstate"] * 4, "expire"))
        reason = {} if kind == "expire" else {"reason": "a\tb"}
        return self._on(self._one_license(), f"{kind}_license", **reason)

    def _revoke(self) -> Item | None:
        return self._on(self._one_license(), "revoke_license", reason="not paid")

    def _rotate(self) -> Item | None:
        license, overlap = self._one_license(), self.random.choice((0, 60, 86_400))
        key = self._new_key(license)
        return self._on(license, "rotate_license_key", overlap_seconds=overlap, **key)

    def _validate(self) -> Item | None:
        license = self._one_license()
        return self._on(license, "validate_license", model="flat", **self._asked(license))

    def _reserve(self) -> Item | None:
        license, customer = self.random.choice(self.licenses[-6:] or [NONE])
        model = self.random.choice(("flat", "flat", "measured"))
        several = {"inferences": 2} if self.random.random() < 0.2 else {}
        self.reservations.append((self._id("reservation"), model, customer))
        return self._item(
            "reserve",
            id=self.reservations[-1][0],
            customer=customer,
            model=model,
            estimate=self._quantities(model),
            license=license,
            **self._asked(license),
            **self._time_to_live(),
            **several,
        )

    def _settle(self) -> Item | None:
        name, model, _ = self._one_of_the_last()
        hashes = self._some(request_hash=self._hash(64), response_hash=self._hash(64))
        body = {"usage": self._quantities(model), "final": self.random.random() < 0.6}
        return self._item("settle", id=self._id("settle"), reservation=name, **body, **hashes)

    def _lease(self) -> Item | None:
        license = self._one_license()
        self.leases.append((license, f"lease_seat{self.number + 1}"))
        body: dict[str, Any] = {"model": "flat", "holder": self._hash(64), "facts": self._facts()}
        if self.random.random() < 0.2:
            body["borrow_seconds"] = 600
        if self.random.random() < 0.5:
            body["license_key"] = self.keys.get(license, "0" * 32)
        return self._on(license, "lease_seat", **body)

    def _renew_lease(self) -> Item | None:
        license, lease = self.random.choice(self.leases[-6:] or [NONE])
        return self._on(license, "renew_lease", lease=lease, facts=self._facts())

    def _return_lease(self) -> Item | None:
        license, lease = self.random.choice(self.leases[-6:] or [NONE])
        return self._on(license, "return_lease", lease=lease)


def random_lives(seed: int, steps: int = 500) -> Rows:
    """Return the events of a random ledger of licences."""
    return LicenseLives(seed).run(steps)
