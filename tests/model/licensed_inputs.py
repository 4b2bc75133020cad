"""What the model is fed about licences: policies of few limits and seats, and short lives."""

from typing import Any

from hypothesis import strategies as st

from tests.model.guard_inputs import BURSTING
from tests.model.inputs import CUSTOMERS, ESTIMATES, Inputs, fields
from tests.model.oracle_license_life import TEMPLATE, License
from tests.model.oracle_licensing import LicenseRules
from tests.model.oracle_limits import Lease
from tests.model.oracle_rules import Body
from tests.model.wire import SECOND, written

A_FEW: list[Body] = [
    {"id": "a", "unit": "requests", "limit": 5, "per": "day"},
    {"id": "b", "unit": "requests", "limit": 2, "per": "minute", "models": ["flat"]},
]

TEMPLATE_COMMAND = ("publish_policy", {"id": "open", "name": "open", "policy": TEMPLATE})

OPENING: list[tuple[str, Body]] = [
    (
        "issue_license",
        {
            "id": name,
            "customer": customer,
            "template": "open",
            "deployment": "hybrid",
            "overrides": overrides,
            "key_hash": f"{number:032x}",
            "key_hint": "abcd",
        },
    )
    for number, (name, customer, overrides) in enumerate(
        [
            ("lic-a", BURSTING, {"limits": A_FEW, "seats": 1, "lease_seconds": 60}),
            ("lic-b", "corp", {"limits": A_FEW[:1], "seats": 2, "borrow_seconds": 1000}),
        ],
        900_000,
    )
]
"""Two licences that are there from the beginning."""

HOLDERS = ["0a" * 32, "f9" * 32]
NO_KEY = "f" * 32

PERS = ["second", "minute", "minute", "day", "day", "period", "total"]
BOUNDS: dict[str, list[int] | list[str]] = {
    "requests": [0, 1, 2, 5],
    "output_tokens": [350, 1400],
    "gpu_seconds": ["0.000001", "4"],
}
LIMITED: list[Body] = [{}, {}, {}, {"models": ["flat"]}, {"models": ["t*", "other"]}]
LIFE = [SECOND, 60 * SECOND, 300 * SECOND, 2000 * SECOND, 86_400 * SECOND]

FACTS = st.fixed_dictionaries(
    {},
    optional={
        "region": st.sampled_from(["eu-west", "us", {"value": "EU-north", "from": "signed"}]),
        "channel": st.sampled_from(["api", "on_premise"]),
        "environment": st.just("development"),
        "features": st.sampled_from([["batch"], ["video"]]),
    },
).filter(bool)


@st.composite
def limits(draw: st.DrawFn) -> list[Body]:
    """Return up to three limits, of few kinds so that they come again."""
    found = []
    for name in draw(st.sets(st.sampled_from(["a", "b", "c"]), max_size=3)):
        unit = draw(st.sampled_from(["requests", "requests", "output_tokens", "gpu_seconds"]))
        bound, per = draw(st.sampled_from(BOUNDS[unit])), draw(st.sampled_from(PERS))
        rule = {"id": name, "unit": unit, "limit": bound, "per": per}
        found.append({**rule, **draw(st.sampled_from(LIMITED))})
    return sorted(found, key=lambda limit: str(limit["id"]))


SOMETIMES: dict[str, st.SearchStrategy[Any]] = {
    "grace_seconds": st.sampled_from([1, 60]),
    "borrow_seconds": st.sampled_from([60, 1000]),
    "lease_seconds": st.sampled_from([60, 299]),
    "regions": st.just({"allow": ["eu-*"]}),
    "features": st.just(["batch"]),
}
USUAL = st.sampled_from([None, None, None, *SOMETIMES])
"""Most policies have one of these fields at most: else hardly anything would be admitted."""


class LicensedInputs(Inputs):
    """Draws commands about licences too."""

    _rules: LicenseRules

    def _license(self, draw: st.DrawFn) -> License:
        """Return a licence, of those that are there; in a wild command also one that is not."""
        known = list(self._rules.licenses.values())
        nobody = License({"id": "lic", "expires_at": None}, BURSTING)
        usable = [each for each in known if each.body["status"] == "active"] or known or [nobody]
        found: License = self._either(draw, usable[-4:], [*known, nobody])
        return found

    def _named(self, draw: st.DrawFn, prefix: str) -> Body:
        return {"id": self._id(draw, prefix), "license": self._license(draw).body["id"]}

    def _fresh_key(self) -> Body:
        number = self._fresh("k").removeprefix("k")
        return {"key_hash": f"{int(number):032x}", "key_hint": "abcd"}

    def _overrides(self, draw: st.DrawFn) -> Body:
        policy = {"limits": draw(limits()), "seats": draw(st.sampled_from([0, 1, 1, 2]))}
        name = draw(USUAL)
        return policy if name is None else {**policy, name: draw(SOMETIMES[name])}

    def _issue_license(self, draw: st.DrawFn) -> Body:
        who = draw(st.sampled_from([BURSTING, BURSTING, self._who(draw)]))
        body = {
            "id": self._id(draw, "lic-"),
            "customer": who,
            "template": self._either(draw, ["open"], ["unheard-of"]),
            "deployment": draw(st.sampled_from(["saas", "hybrid", "on_premise"])),
            "overrides": self._overrides(draw),
            **self._fresh_key(),
        }
        begin = self._now + draw(st.sampled_from([-SECOND, 1, 60 * SECOND]))
        ends = written(self._now + draw(st.sampled_from([0, *LIFE])))
        body |= {"expires_at": ends} if draw(st.booleans()) else {}
        return body | ({} if draw(st.integers(0, 3)) else {"starts_at": written(begin)})

    def _upgrade_license(self, draw: st.DrawFn) -> Body:
        return {**self._named(draw, "up"), "overrides": self._overrides(draw)}

    def _renew_license(self, draw: st.DrawFn) -> Body:
        license = self._license(draw)
        known = license.body["expires_at"]
        base = max(self._now, self._now if known is None else known)
        later = base + draw(st.sampled_from([0, 1, 60 * SECOND, 86_400 * SECOND]))
        body = {"id": self._id(draw, "re"), "license": license.body["id"]}
        return {**body, "expires_at": written(later)}

    def _suspend_license(self, draw: st.DrawFn) -> Body:
        return {**self._named(draw, "su"), "reason": "not paid"}

    def _reinstate_license(self, draw: st.DrawFn) -> Body:
        known = self._rules.licenses.values()
        halted = [each.body["id"] for each in known if each.body["status"] == "suspended"]
        body = self._named(draw, "ri")
        return {**body, "license": draw(st.sampled_from(halted or [body["license"]]))}

    def _revoke_license(self, draw: st.DrawFn) -> Body:
        return {**self._named(draw, "rv"), "reason": "over"}

    def _expire_license(self, draw: st.DrawFn) -> Body:
        return self._named(draw, "ex")

    def _rotate_license_key(self, draw: st.DrawFn) -> Body:
        overlap = draw(st.sampled_from([0, 1, 60]))
        return {**self._named(draw, "ro"), "overlap_seconds": overlap, **self._fresh_key()}

    def _asked(self, draw: st.DrawFn, license: License) -> Body:
        """Return what is shown to a licence: facts that its policy needs, and maybe a key."""
        keys = [*license.body.get("keys", {})] * 4 + [NO_KEY]
        shown = {"license_key": draw(st.sampled_from(keys))} if draw(st.booleans()) else {}
        facts = {} if draw(st.integers(0, 3)) else draw(FACTS)
        if "regions" in license.body.get("policy", {}) and draw(st.integers(0, 3)):
            facts = {**facts, "region": "eu-west"}
        if draw(st.integers(0, 7)):
            where = "api" if license.body.get("deployment") == "saas" else "on_premise"
            facts = {**facts, "channel": where}
        return {**shown, "facts": facts} if facts else shown

    def _validate_license(self, draw: st.DrawFn) -> Body:
        license = self._license(draw)
        body = {"id": self._id(draw, "va"), "license": license.body["id"], "model": "flat"}
        usage = st.sampled_from([{}, {"requests": 2}, {"output_tokens": 350}, {"requests": 0}])
        return {**fields(draw, body, usage=usage), **self._asked(draw, license)}

    def _reserve(self, draw: st.DrawFn) -> Body:
        body = super()._reserve(draw)
        if not draw(st.integers(0, 3)):
            return body
        license = self._license(draw)
        customer = self._either(draw, [license.customer], [body["customer"]])
        named = {"customer": customer, "license": license.body["id"]}
        if customer == BURSTING and draw(st.integers(0, 7)):
            named |= {"model": "flat", "estimate": draw(ESTIMATES["flat"])}
        return {**body, **named, **self._asked(draw, license)}

    def _usage(self, draw: st.DrawFn) -> Body:
        body = super()._usage(draw)
        if "license" not in body:
            return body
        license = self._license(draw)
        body["license"] = license.body["id"]
        if "reservation" in body:
            use = self._rules.uses.get(body["reservation"])
            own = license.body["id"] if use is None else use.license
            return {**body, "license": self._either(draw, [own], [license.body["id"]])}
        return {**body, "customer": self._either(draw, [license.customer], [*CUSTOMERS])}

    def _lease_seat(self, draw: st.DrawFn) -> Body:
        license = self._license(draw)
        body = {"id": self._id(draw, "seat"), "license": license.body["id"], "model": "flat"}
        body["holder"] = draw(st.sampled_from(HOLDERS))
        return {
            **fields(draw, body, borrow_seconds=st.sampled_from([60, 1000, 1001])),
            **self._asked(draw, license),
        }

    def _lease(self, draw: st.DrawFn) -> tuple[License, Lease]:
        """Return a lease of a licence, live ones most of the time."""
        every = [(each, lease) for each in self._rules.licenses.values() for lease in each.leases]
        live = [(each, lease) for each, lease in every if lease.live(self._now)]
        nothing = self._license(draw), Lease("seat-none", "flat", 0, 0)
        found: tuple[License, Lease] = self._either(draw, live or [nothing], [*every, nothing])
        return found

    def _renew_lease(self, draw: st.DrawFn) -> Body:
        license, lease = self._lease(draw)
        body = {"id": self._id(draw, "rl"), "license": license.body["id"], "lease": lease.id}
        asked = self._asked(draw, license)
        return {**body, **({"facts": asked["facts"]} if "facts" in asked else {})}

    def _return_lease(self, draw: st.DrawFn) -> Body:
        license, lease = self._lease(draw)
        return {"id": self._id(draw, "gi"), "license": license.body["id"], "lease": lease.id}
