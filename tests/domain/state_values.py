"""Any values of the state format: balances with all that hangs on them, and licences."""

from hypothesis import strategies as st

from domain.activity import Activity, counted
from domain.allocation import NEVER, Grant, in_burn_order
from domain.balance import Balance, Block, earliest_expiry
from domain.cap import Cap
from domain.customer import Customer
from domain.fraud_case import STATUSES, FraudCase
from domain.holds import Hold, Holds
from domain.license import Device, License, LicenseKey
from domain.license_use import Count, Lease, Use, Uses
from domain.metering import set_up
from domain.policy import policy_from_wire
from tests.model.license_inputs import policy_bodies

ids = st.text("abcXYZ019._:-", min_size=1, max_size=12)
amounts = st.integers(0, 10**27)
instants = st.integers(0, 253_402_300_799_999_999)
parts = st.lists(st.tuples(ids, amounts), max_size=3).map(tuple)

grants = st.builds(
    Grant,
    ids,
    st.sampled_from(["paid", "promotional"]),
    st.integers(0, 1_000_000),
    instants | st.just(NEVER),
    st.none() | st.lists(ids, min_size=1, max_size=3).map(tuple),
    amounts,
    amounts,
)
quantities = st.dictionaries(st.sampled_from(["requests", "gpu_seconds"]), st.integers(0, 2**60))
_money = (amounts, instants, parts, amounts, ids, quantities)
_each = st.none() | quantities
holds = (
    st.builds(Hold, *_money, st.none(), st.just(0), _each, st.just(False))
    | st.builds(Hold, *_money, ids, instants, _each, st.booleans())
    | st.builds(Hold, *_money, st.none(), instants, _each, st.just(True))
)
"""Only a hold under a licence says when it was opened, or one that stands as it was opened."""

customers = st.builds(
    Customer,
    ids,
    st.just("USD"),
    amounts,
    st.just("Europe/Berlin"),
    ids,
    st.just("standard"),
    st.text("abc=", max_size=8),
)
requests = st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**18)), max_size=9)
figures = st.integers(0, 2**53 - 1)
blocks = st.builds(Block, instants, instants, figures, figures, figures)
models = st.none() | st.lists(ids, min_size=1, max_size=2).map(tuple)
bounds = st.integers(0, 10**15)
units = st.sampled_from(["requests", "gpu_seconds"])
caps = st.builds(Cap, ids, units, bounds, models, st.just("day"), st.none()) | st.builds(
    Cap, ids, units, bounds, models, st.none(), st.just(3600)
)
counts = st.lists(st.tuples(instants, st.integers(1, 2**70)), max_size=3).map(tuple)
capped = st.lists(st.tuples(caps, counts), max_size=3, unique_by=lambda pair: pair[0].id)

policies = policy_bodies().map(policy_from_wire)
versions = st.integers(0, 2**30)
hexes = st.text("0123456789abcdef", min_size=32, max_size=32)
cases = st.builds(FraudCase, versions, st.sampled_from(STATUSES), instants, instants)
holders = st.text("0123456789abcdef", min_size=64, max_size=64)
leases = st.builds(Lease, ids, ids, holders, instants, instants, st.booleans(), versions)


@st.composite
def licensed_uses(draw: st.DrawFn) -> Use:
    """Make the use of a licence, with any counts and leases."""
    limits = draw(policies).limits
    return Use(
        tuple(Count(limit, draw(instants), draw(st.integers(0, 2**70))) for limit in limits),
        tuple(draw(st.lists(leases, max_size=3))),
    )


uses = st.dictionaries(ids, licensed_uses(), max_size=3)


def put_in_order(held: list[tuple[str, Hold]]) -> Holds:
    """Build a map of holds by putting one after another."""
    every = Holds()
    for name, hold in held:
        every = every.put(name, hold)
    return every


def used(by_license: dict[str, Use]) -> Uses:
    """Build a map of the uses of licences."""
    every = Uses()
    for name, use in by_license.items():
        every = every.put(name, use)
    return every


@st.composite
def balances(draw: st.DrawFn) -> Balance:
    """Make any balance."""
    totals = {
        name: draw(amounts)
        for name in (
            *("held", "credit_held", "overdraft", "granted", "breakage", "spent", "receivable"),
        )
    }
    held = put_in_order(draw(st.lists(st.tuples(ids, holds), max_size=4)))
    limited = draw(capped)
    activity = Activity()
    for number, (at, count) in enumerate(draw(requests), 1):
        activity = counted(activity, at, count, number)
    balance = Balance(
        customer=draw(st.none() | customers),
        grants=in_burn_order(draw(st.lists(grants, max_size=4))),
        holds=held,
        activity=activity,
        block=draw(st.none() | blocks),
        cleared_at=draw(instants),
        case=draw(st.none() | cases),
        meters=set_up([cap for cap, _ in limited], (), held),
        uses=used(draw(uses)),
        volumes=draw(st.dictionaries(ids, st.integers(0, 2**70), max_size=3)),
        sequence=draw(st.integers(0, 2**40)),
        own_version=draw(versions),
        **totals,
    )
    metered = zip(balance.meters, limited, strict=True)
    meters = tuple(meter._replace(used=counted_so_far) for meter, (_, counted_so_far) in metered)
    balance = balance._replace(meters=meters)
    return balance._replace(next_expiry=earliest_expiry(balance))


keys = st.builds(LicenseKey, hexes, st.text("abc237", min_size=4, max_size=4), instants)
devices = st.builds(Device, ids, st.dictionaries(ids, hexes, max_size=3), st.none() | holders)


@st.composite
def licenses(draw: st.DrawFn) -> License:
    """Make any licence; all of its keys but the newest come to an end."""
    newest = draw(keys)._replace(ends_at=NEVER)
    return License(
        id=draw(ids),
        customer=draw(ids),
        deployment=draw(st.sampled_from(["saas", "on_premise", "hybrid"])),
        template=draw(ids),
        template_version=draw(versions),
        revision=draw(versions),
        policy=draw(policies),
        reference=draw(st.none() | st.text(max_size=8)),
        issued_at=draw(instants),
        starts_at=draw(instants),
        expires_at=draw(instants | st.just(NEVER)),
        maintenance_until=draw(instants),
        status=draw(st.sampled_from(["active", "suspended", "expired", "revoked"])),
        since=draw(instants),
        reason=draw(st.text(max_size=8)),
        keys=(*draw(st.lists(keys, max_size=2)), newest),
        devices=tuple(draw(st.lists(devices, max_size=2))),
        provenance=draw(st.dictionaries(ids, holders, max_size=2)),
        version=draw(versions),
    )
