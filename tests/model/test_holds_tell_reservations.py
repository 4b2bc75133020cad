"""A hold that is untouched tells its whole reservation, as the ledger would load it."""

from collections import Counter
from collections.abc import Iterator

import pytest

from adapters.event_store.recorder import snapshot_from
from adapters.event_store.snapshot_text import snapshot_text
from application import committing
from application.jobs import Item
from application.loading import load_balance, load_reservation
from application.ports import Snapshot
from application.prefetching import prefetch
from application.world import World
from domain.balance import Balance
from domain.commands import parse
from domain.folding import evolve
from domain.reservation import Reservation, of_hold
from tests.integration.audit_workload import Workload
from tests.integration.license_workload import LicensedWorkload

ROUNDS = {Workload: 6, LicensedWorkload: 30}
"""So many ledgers of each kind; those with licences do more things that hold no money."""
KINDS = list(ROUNDS)


def loaded(workload: Workload, name: str, position: int) -> Reservation | None:
    """Load a reservation from its own events."""
    return load_reservation(workload.store, name, position)


def balances(workload: Workload, *, kept: bool) -> Iterator[tuple[int, str, Balance]]:
    """Yield the balances of all customers at many positions, some by way of a snapshot."""
    store = workload.store
    last = store.head().position
    for position in range(1, last, 7):
        for customer in workload.customers:
            balance = load_balance(store, customer, position)
            if not kept or balance.customer is None:
                yield position, customer, balance
                continue
            balance = snapshot_from(snapshot_text(Snapshot(balance, position))).balance
            later = min(last, position + 20)
            for recorded in store.customer_events(customer, balance.sequence, later):
                balance = evolve(balance, recorded.event, recorded.recorded_at)
            yield later, customer, balance


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_an_untouched_hold_tells_is_what_its_reservations_events_come_to(
    kind: type[Workload], kept: bool, seed: int
) -> None:
    seen: Counter[str] = Counter()
    for round_number in range(ROUNDS[kind]):
        workload = kind(seed + round_number)
        workload.run(200)
        for position, customer, balance in balances(workload, kept=kept):
            for name, hold in balance.holds.items():
                expected = loaded(workload, name, position)
                found = of_hold(name, customer, hold)
                assert expected is not None
                if found is None:
                    assert expected.version > 1 or expected.inferences is not None
                    seen["read"] += 1
                else:
                    assert found == expected
                    seen["told"] += 1
                    seen["licensed"] += expected.license is not None
    assert min(seen["told"], seen["read"]) > 0, seen
    assert (seen["licensed"] > 0) == (kind is LicensedWorkload)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_charges_finds_its_reservations_however_they_came_into_memory(
    kind: type[Workload], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "SNAPSHOT_EVERY", 7)
    for round_number in range(8):
        workload = kind(seed + round_number)
        workload.run(200)
        names = [name for name, *_ in workload.reservations]
        # Whose it is may be said wrong; some name a reservation that there is not.
        charges = [
            charge(name, workload.random.choice(workload.customers))
            for name in [*names, *names, "r-unheard-of"]
        ]
        world = World(workload.store)
        prefetch(world, workload.store, charges)
        found = {name: world.reservations[name] for name in (*names, "r-unheard-of")}
        head = workload.store.head().position
        assert found == {name: loaded(workload, name, head) for name in found}


def charge(reservation: str, customer: str) -> Item:
    """Return the usage of an inference that a reservation is for."""
    about = {"source": "s", "model": "flat", "occurred_at": "2024-01-01T00:00:00Z"}
    whose = {"id": reservation, "reservation": reservation, "customer": customer}
    return Item(parse("usage", {**about, **whose, "usage": {"requests": 1}}))
