"""What the oracle of licences is fed: policies, facts and requests of few names, mostly fitting.

Nothing but JSON. Each name stands in a handful of spellings, so that nearly equal ones meet.
"""

from typing import Any

from hypothesis import strategies as st

from tests.model.wire import SECOND, instant

Body = dict[str, Any]

NOW = instant("2028-02-29T12:00:00Z")
KEYED = ["1" * 32, "2" * 32, "3" * 32]
PROVENANCES = ["declared", "observed", "signed", "attested"]
BARS = [*["declared"] * 6, *PROVENANCES]
"""The least that a policy asks of a fact; mostly little."""

IDS = ["one", "two", "One"]
DOMAINS = ["example.com", "*.example.com", "*.b.example.com", "Example.COM.", "xn--e.com", "com"]
NETWORKS = ["192.0.2.0/24", "192.0.2.128/25", "0.0.0.0/0", "::/0", "2001:DB8::/32"]
NETWORKS += ["::ffff:192.0.2.0/120", "10.0.0.7/32"]
REGIONS = ["eu-*", "EU-west", "eu-north", "*", "us"]
COUNTRIES = ["DE", "FR", "KP", "SY", "XK", "XX"]
MODELS = ["*", "gpt-*", "gpt-4", "gpt-4*", "ocr"]
VERSIONS = ["4.0.0", "4.1.0", "4.1.0-rc", "40.0.0", "0.9.9"]
DOMAINS_GIVEN = ["example.com", "a.example.com", "A.b.EXAMPLE.com.", "xn--e.com", "a..com", ""]
ADDRESSES = ["192.0.2.7", "192.0.2.200", "::ffff:192.0.2.7", "2001:db8::1", "10.0.0.8", "10.0.0.7"]
ADDRESSES += ["192.0.2.07", "2001:db8::1%e", "nowhere"]

some = st.sampled_from


def _names(pool: list[str], least: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(some(pool), min_size=least, max_size=3)


def _bounds(pool: list[str]) -> st.SearchStrategy[Body]:
    return st.fixed_dictionaries({}, optional={"allow": _names(pool, 1), "deny": _names(pool)})


RULES = st.one_of(
    st.fixed_dictionaries({"rule": st.just("major"), "major": some([4, 40, 0])}),
    st.fixed_dictionaries({"rule": st.just("pinned"), "version": some(VERSIONS)}),
    st.fixed_dictionaries({"rule": st.just("maintenance"), "months": some([1, 12, 120])}),
    st.just({"rule": "rolling"}),
)

LIMITS = st.one_of(
    st.fixed_dictionaries(
        {
            "id": some(IDS),
            "unit": some(["requests", "output_tokens"]),
            "limit": some([0, 1, 10**15]),
            "per": some(["second", "minute", "day", "period", "total"]),
        },
        optional={"models": _names(MODELS, 1)},
    ),
    st.fixed_dictionaries(
        {
            "id": some(IDS),
            "unit": some(["gpu_seconds", "compute_units"]),
            "limit": some(["0", "1.5", "0.000001"]),
            "per": some(["second", "total"]),
        }
    ),
)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "features": _names(IDS),
    "priority": st.integers(1, 9),
    "pool": some(["shared", "big"]),
    "watermark": some(["none", "required"]),
    "limits": st.lists(LIMITS, max_size=3, unique_by=lambda limit: limit["id"]),
    "seats": some([0, 1, 1_000]),
    "devices": some([0, 1, 1_000]),
    "lease_seconds": some([60, 299, 300]),
    "borrow_seconds": some([0, 60, 2_678_400]),
    "grace_seconds": some([0, 1, 3600, 31_536_000]),
    "versions": RULES,
    "hardware": st.fixed_dictionaries({"required": some([1, 2, 3, 16])}),
    "gpus": _names(IDS),
    "cloud_accounts": _names(IDS),
    "domains": _names(DOMAINS),
    "networks": _names(NETWORKS),
    "regions": _bounds(REGIONS),
    "countries": _bounds(COUNTRIES),
    "provenance": st.dictionaries(
        some(["address", "channel", "device", "features", "model_version", "region", "watermark"]),
        some(BARS),
        max_size=2,
    ),
}


def policy_bodies() -> st.SearchStrategy[Body]:
    """Return policies of any fields, as they travel."""
    models = st.fixed_dictionaries({"models": _names(MODELS)}, optional=FIELDS)
    return models.flatmap(lambda body: st.permutations(list(body.items())).map(dict))


def override_bodies() -> st.SearchStrategy[Body]:
    """Return what licences change of their templates; null gives a field up."""
    fields = {name: st.one_of(st.none(), values) for name, values in FIELDS.items()}
    return st.fixed_dictionaries({}, optional={**fields, "models": _names(MODELS)})


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "channel": some(["api", "on_premise"]),
    "environment": some(["development", "production"]),
    "model_version": some([*VERSIONS, "7.7.7"]),
    "features": _names(IDS),
    "watermark": st.just("applied"),
    "hardware": st.dictionaries(some(["cpu", "disk", "from", "value"]), some(KEYED)),
    "device": some(IDS),
    "gpus": _names(IDS),
    "cloud_account": some(IDS),
    "domain": some([each for each in DOMAINS_GIVEN if each]),
    "address": some(ADDRESSES),
    "region": some(["eu-west", "EU-NORTH", "us", "asia", "eu west", "eu-w\u00e9st"]),
    "country": some(["DE", "de", "FR", "KP", "kp", "SY", "US", "XK", "XX", "UK", "T1", "Germany"]),
}


def _known(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values, some of them with a provenance."""
    better = st.fixed_dictionaries({"value": values, "from": some([*PROVENANCES, "attested"])})
    return st.one_of(values, better)


def fact_bodies() -> st.SearchStrategy[Body]:
    """Return any facts, as they travel."""
    return st.fixed_dictionaries(
        {}, optional={name: _known(values) for name, values in VALUES.items()}
    )


GOOD_POLICY: Body = {
    "models": ["gpt-*"],
    "features": ["one"],
    "watermark": "required",
    "grace_seconds": 3600,
    "versions": {"rule": "major", "major": 4},
    "hardware": {"required": 1},
    "gpus": ["one", "two"],
    "cloud_accounts": ["one"],
    "domains": ["*.example.com"],
    "networks": ["192.0.2.0/24"],
    "regions": {"allow": ["eu-*"]},
    "countries": {"deny": ["KP"]},
}
GOOD_FACTS: Body = {
    "channel": "on_premise",
    "environment": "development",
    "model_version": "4.1.0",
    "features": ["one"],
    "watermark": "applied",
    "hardware": {"cpu": KEYED[0]},
    "gpus": ["one"],
    "cloud_account": "one",
    "domain": "a.example.com",
    "address": {"value": "192.0.2.7", "from": "observed"},
    "region": "eu-west",
    "country": "DE",
}
REGISTRY: Body = {
    "4.1.0": {"released_at": NOW, "yanked": False},
    "4.0.0": {"released_at": NOW - 1, "yanked": True},
    "40.0.0": {"released_at": NOW + 1, "yanked": False},
    "0.9.9": {"released_at": 0, "yanked": False},
}
MOMENTS = [NOW - 1, NOW, NOW + 1]
ENDS = [
    None,
    *MOMENTS,
    *(end - 3600 * SECOND for end in MOMENTS),
    *(end - SECOND for end in MOMENTS),
]

LICENSE: dict[str, st.SearchStrategy[Any]] = {
    "deployment": some(["saas", "on_premise", "hybrid"]),
    "starts_at": some(MOMENTS),
    "expires_at": some(ENDS),
    "maintenance_until": some(MOMENTS),
    "status": some(["revoked", "suspended", "expired"]),
    "keys": st.dictionaries(some(KEYED), some([None, *MOMENTS])),
    "devices": st.dictionaries(
        some(IDS), st.dictionaries(some(["cpu", "disk", "from"]), some(KEYED)), max_size=3
    ),
}
REQUEST: dict[str, st.SearchStrategy[Any]] = {
    "model": some(["gpt-4", "gpt-", "gpt", "ocr", "GPT-4"]),
    "key": some([None, *KEYED]),
    "channel": some(["api", "on_premise"]),
    "registry": some([None, {}, REGISTRY]),
    "export": st.lists(some(COUNTRIES), unique=True),
}


@st.composite
def situations(draw: st.DrawFn) -> tuple[Body, Body]:
    """Return a licence and a request that fit, but for a few changes."""
    license: Body = {
        "id": "lic",
        "policy_version": "enterprise:2:1",
        "deployment": draw(some(["on_premise", "hybrid"])),
        "policy": dict(GOOD_POLICY),
        "starts_at": NOW - 1,
        "expires_at": draw(some([None, NOW + 1, NOW - SECOND])),
        "maintenance_until": NOW,
        "status": "active",
        "since": NOW - 1,
        "reason": "unpaid",
        "keys": {KEYED[0]: None},
        "devices": {"one": {"cpu": KEYED[0], "disk": KEYED[1]}},
    }
    facts = dict(GOOD_FACTS)
    request: Body = {"model": "gpt-4", "facts": facts, "key": KEYED[0], "now": NOW}
    request |= {"channel": "on_premise", "registry": REGISTRY, "export": ["SY"]}
    changes = [
        *((license, name, values) for name, values in LICENSE.items()),
        *((request, name, values) for name, values in REQUEST.items()),
        *((license["policy"], name, values) for name, values in FIELDS.items()),
        *((facts, name, _known(values)) for name, values in VALUES.items()),
        (license["policy"], "models", _names(MODELS)),
    ]
    for _ in range(draw(st.integers(0, 4))):
        where, name, values = draw(some(changes))
        if (
            (where is license["policy"] or where is facts)
            and name != "models"
            and draw(st.booleans())
        ):
            where.pop(name, None)
        else:
            where[name] = draw(values)
    if license["status"] == "expired" and license["expires_at"] is None:
        license["expires_at"] = NOW - 1  # only an end can be booked
    return license, request
