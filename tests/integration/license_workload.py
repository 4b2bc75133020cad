"""Random ledgers with licences: random policies, facts, windows, zones, devices and leases."""

from collections.abc import Callable
from typing import Any

from tollbook.times import format_instant

from application.jobs import Item
from tests.integration.audit_workload import DAY, MODELS, SECOND, Made, Workload

TEMPLATES = ("free", "professional", "enterprise", "gold", "gold", "silver")
PROVENANCES = ("declared", "observed", "observed", "signed", "attested")
HOUR = 3600 * SECOND

BINDINGS: dict[str, tuple[Any, ...]] = {
    "cloud_accounts": (["aws-1", "gcp-2"], []),
    "countries": ({}, {"allow": ["DE", "KP", "XK"]}, {"deny": ["IR"]}),
    "domains": (["*.example.com", "example.org"],),
    "gpus": (["gpu-0", "gpu-1"],),
    "hardware": ({"required": 1}, {"required": 2}, {"required": 2}),
    "networks": (["192.0.2.0/24", "2001:db8::/32"], ["0.0.0.0/0"]),
    "regions": ({"allow": ["eu-*", "us-east-1"]}, {"deny": ["cn-*"]}, {}),
    "versions": (
        {"rule": "rolling"},
        {"rule": "major", "major": 1},
        {"rule": "pinned", "version": "1.0.1"},
        {"rule": "maintenance", "months": 1},
    ),
    "watermark": ("required", "none"),
}
"""What a policy may bind to, each seldom."""

FACTS: dict[str, tuple[Any, ...]] = {
    "address": ("192.0.2.7", "::ffff:192.0.2.9", "2001:db8::1", "198.51.100.1", "here"),
    "channel": ("api", "api", "api", "on_premise"),
    "cloud_account": ("aws-1", "gcp-2", "azure-3"),
    "country": ("DE", "de", "IR", "KP", "XK", "ZZ", "Atlantis"),
    "domain": ("app.example.com", "A.B.EXAMPLE.COM.", "example.com", "example.org", "not a domain"),
    "environment": ("development", "development", "production"),
    "features": ([], ["batch"], ["streaming", "batch"], ["voice"]),
    "gpus": (["gpu-0"], ["gpu-1", "gpu-0"], ["gpu-7"], []),
    "model_version": ("1.0.0", "1.0.1", "1.1.2", "1.2.2", "2.0.0"),
    "region": ("eu-central-1", "EU-West-1", "us-east-1", "cn-north-1", "the moon"),
    "watermark": ("applied",),
}
"""Values of facts: the first ones fit most policies."""

Action = Callable[[], Made]


class LicensedWorkload(Workload):
    """Sends random commands, most of them about licences or under one."""

    def __init__(self, seed: int) -> None:
        """Start an empty ledger."""
        super().__init__(seed)
        self.licences: list[tuple[str, str]] = []
        self.binds = self.random.choice((0, 0.1))
        """How often a policy binds to something; a ledger without that meets more limits."""
        self.deployments: dict[str, str] = {}
        self.keys: dict[str, list[str]] = {}
        self.devices: dict[str, list[str]] = {}
        self.leases: dict[str, list[str]] = {}

    def _actions(self) -> list[tuple[Action, float]]:
        """Return what may be sent, with how often it is."""
        ours: list[tuple[Action, float]] = [
            *((self._issue, 5), (self._upgrade, 5), (self._renew, 4), (self._rotate, 3)),
            *((self._activate, 10), (self._deactivate, 3), (self._stand, 8), (self._policy, 1)),
            *((self._validate, 30), (self._lease, 20), (self._renew_lease, 16)),
            *((self._return_lease, 5), (self._of_registry, 8)),
        ]
        return [*super()._actions(), *ours]

    def _licence(self, customer: str | None = None) -> str:
        """Return one of the oldest or latest licences, mostly of the customer."""
        own = [name for name, owner in self.licences if customer in (None, owner)]
        if self.random.random() < 0.04:
            own = [name for name, _ in self.licences]
        return self.random.choice([*own[:1], *own[-2:]] or ["licence-none"])

    def _maybe(self, chance: float, **body: Any) -> dict[str, Any]:
        return body if self.random.random() < chance else {}

    def _later(self) -> str:
        near = (-DAY, 1, SECOND, 60 * SECOND, HOUR, DAY)
        away = self.random.choice((*near, *[40 * DAY] * 3, *[400 * DAY] * 3))
        return format_instant(self.now + away)

    def _models(self) -> list[str]:
        return self.random.choice((["*"], ["*"], ["tier*", "flat"], ["measured", "tiered"]))

    def _limit(self, number: int) -> dict[str, Any]:
        chosen = self.random
        unit, limits = chosen.choice(
            (
                ("requests", (0, 1, 3, 10)),
                ("output_tokens", (200, 1000)),
                ("gpu_seconds", ("1.5", "20.000001")),
                ("pages", (2, 5)),
            )
        )
        per = chosen.choice(("second", "minute", "day", "period", "total"))
        limit = {"id": f"limit-{number}", "unit": unit, "limit": chosen.choice(limits), "per": per}
        return {**limit, **self._maybe(0.3, models=self._models())}

    def _overrides(self) -> dict[str, Any]:
        """Return random fields of a policy; seldom one that binds."""
        chosen = self.random
        fields: dict[str, Any] = {
            name: chosen.choice(values)
            for name, values in BINDINGS.items()
            if chosen.random() < self.binds
        }
        plain: dict[str, tuple[Any, ...]] = {
            "borrow_seconds": (None, 0, 3600),
            "devices": (1, 2, 20),
            "features": (["batch"], ["batch", "voice"], None),
            "grace_seconds": (0, 60, 86_400),
            "lease_seconds": (60, 300),
            "priority": (1, 5, None),
            "seats": (1, 2, 20),
        }
        fields |= self._maybe(2 * self.binds, hardware=chosen.choice(BINDINGS["hardware"]))
        for name, values in plain.items():
            fields |= self._maybe(0.3, **{name: chosen.choice(values)})
        fields |= self._maybe(0.8, limits=[self._limit(n) for n in range(chosen.randint(0, 3))])
        fields |= self._maybe(0.3, models=self._models())
        if chosen.random() < 2 * self.binds:
            name = chosen.choice(("address", "channel", "features", "region", "watermark"))
            fields["provenance"] = {name: chosen.choice(PROVENANCES)}
        return fields

    def _policy(self) -> Item | None:
        """Publish a template; one of them has the name of a tier."""
        policy = {"models": self._models(), **self._overrides()}
        name = self.random.choice(("gold", "gold", "silver", "free"))
        return self._item("publish_policy", id=self._id("policy"), name=name, policy=policy)

    def _key(self, licence: str) -> dict[str, str]:
        """Make a new key for a licence."""
        made = f"{self.random.getrandbits(128):032x}"
        self.keys.setdefault(licence, []).append(made)
        return {"key_hash": made, "key_hint": "abcd"}

    def _issue(self) -> Item | None:
        chosen = self.random
        name, customer = self._id("licence"), chosen.choice(self.customers)
        ways = (
            ("saas", "on_premise", "hybrid", "hybrid") if self.binds else ("saas", "saas", "hybrid")
        )
        deployment = chosen.choice(ways)
        self.licences.append((name, customer))
        self.deployments[name] = deployment
        body = {
            **self._maybe(0.7, overrides=self._overrides()),
            **self._maybe(0.4, expires_at=self._later()),
            **self._maybe(0.1, starts_at=self._later()),
            **self._maybe(0.3, reference="offer 1"),
            "deployment": deployment,
            "template": chosen.choice(TEMPLATES),
        }
        return self._item("issue_license", id=name, customer=customer, **body, **self._key(name))

    def _of(self, kind: str, licence: str | None = None, **body: Any) -> Item | None:
        return self._item(kind, id=self._id(kind), license=licence or self._licence(), **body)

    def _upgrade(self) -> Item | None:
        return self._of(
            "upgrade_license",
            **self._maybe(0.5, template=self.random.choice(TEMPLATES)),
            **self._maybe(0.8, overrides=self._overrides()),
            **self._maybe(0.2, deployment=self.random.choice(("saas", "hybrid"))),
        )

    def _renew(self) -> Item | None:
        until = self._maybe(0.2, maintenance_until=self._later())
        return self._of("renew_license", expires_at=self._later(), **until)

    def _rotate(self) -> Item | None:
        licence = self._licence()
        overlap = self.random.choice((0, 1, 60, 86_400))
        key = self._key(licence)
        return self._of("rotate_license_key", licence, overlap_seconds=overlap, **key)

    def _components(self) -> dict[str, str]:
        names = self.random.sample(("board", "cpu", "disk"), self.random.randint(0, 3))
        return {name: self.random.choice("aaab") * 32 for name in names}

    def _activate(self) -> Item | None:
        licence, name = self._for_machines(), self._id("device")
        self.devices.setdefault(licence, []).append(name)
        body = self._maybe(0.8, components=self._components())
        return self._item("activate_license", id=name, license=licence, **body)

    def _device(self, licence: str) -> str:
        return self.random.choice(self.devices.get(licence, [])[-3:] or ["device-none"])

    def _deactivate(self) -> Item | None:
        licence = self._licence()
        return self._of("deactivate_license", licence, device=self._device(licence))

    def _stand(self) -> Item | None:
        """Change the standing of a licence, seldom for ever."""
        kind = self.random.choice(
            ("suspend", "reinstate", "reinstate", "reinstate", "expire", "expire", "expire")
        )
        if self.random.random() < 0.04:
            kind = "revoke"
        reason = {"reason": "so"} if kind in ("suspend", "revoke") else {}
        return self._of(f"{kind}_license", **reason)

    def _facts(self, licence: str) -> dict[str, Any]:
        """Return random facts, most of them such as most policies like."""
        there = self.deployments.get(licence) == "on_premise"
        chosen, facts = self.random, dict[str, Any]()
        for name, values in FACTS.items():
            if chosen.random() < (0.1 if name == "channel" else 0.6):
                fits = chosen.random() < 0.85
                facts[name] = values[0] if fits else chosen.choice(values)
        if there and chosen.random() < 0.9:
            facts["channel"] = "on_premise"
        if chosen.random() < 0.6:
            facts["hardware"] = self._components()
        if chosen.random() < 0.1:
            facts["device"] = self._device(licence)
        for name, value in facts.items():
            if chosen.random() < 0.4 or (name == "address" and chosen.random() < 0.9):
                facts[name] = {"value": value, "from": chosen.choice(PROVENANCES)}
        return {"facts": facts}

    def _shown(self, licence: str) -> dict[str, Any]:
        """Return facts and a key, where they are given."""
        keys = self.keys.get(licence, [])[-3:] or ["0" * 32]
        facts = self._facts(licence) if self.random.random() < 0.85 else {}
        return {**facts, **self._maybe(0.2, license_key=self.random.choice(keys))}

    def _licence_of_use(self, customer: str) -> dict[str, Any]:
        if self.random.random() < 0.25:
            return {}
        licence = self._licence(customer)
        return {"license": licence, **self._shown(licence)}

    def _licence_of_record(self, customer: str) -> dict[str, Any]:
        return self._maybe(0.4, license=self._licence(customer))

    def _validate(self) -> Item | None:
        model, licence = self.random.choice(MODELS), self._licence()
        usage = self._maybe(0.5, usage=self._quantities(model))
        return self._of("validate_license", licence, model=model, **usage, **self._shown(licence))

    def _let_time_pass(self) -> None:
        """Go on in small steps, that leases may live."""
        if self.random.random() < 0.3:
            super()._let_time_pass()
        else:
            self.now += self.random.choice((0, 1, 1000, SECOND, 10 * SECOND))

    def _for_machines(self) -> str:
        """Return a licence that is mostly for customers' machines too."""
        licence = self._licence()
        return self._licence() if self.deployments.get(licence) == "saas" else licence

    def _lease(self) -> Item | None:
        licence, name = self._for_machines(), self._id("lease")
        self.leases.setdefault(licence, []).append(name)
        body = self._maybe(0.3, borrow_seconds=self.random.choice((60, 3600, 86_400)))
        body |= {"model": self.random.choice(MODELS), "holder": "ab" * 32}
        return self._item("lease_seat", id=name, license=licence, **body, **self._shown(licence))

    def _lease_of(self, licence: str) -> str:
        return self.random.choice(self.leases.get(licence, [])[-3:] or ["lease-none"])

    def _renew_lease(self) -> Item | None:
        licence = self._for_machines()
        facts = self._facts(licence) if self.random.random() < 0.7 else {}
        return self._of("renew_lease", licence, lease=self._lease_of(licence), **facts)

    def _return_lease(self) -> Item | None:
        licence = self._licence()
        return self._of("return_lease", licence, lease=self._lease_of(licence))
