"""The machine with an audit: every history that it makes is recomputed from its stored events."""

from tollbook.recompute import Difference, Envelope, Recomputation

from adapters.event_store.mapper import encode
from application.loading import load_balance
from domain.state import balance_to_wire
from tests.model.machine import LedgerMachine


class AuditedMachine(LedgerMachine):
    """Drives a ledger, and has it audited in the end."""

    def teardown(self) -> None:
        """Recompute the whole ledger from its stored events, then drop it."""
        try:
            self.audit()
        finally:
            super().teardown()

    def audit(self) -> None:
        """See that the recomputation finds no difference and comes to the same states."""
        found: list[Difference] = []
        recomputation = Recomputation(found.append, whole=True)
        position = self.reading.head().position
        for recorded in self.reading.since(0, position):
            row = Envelope(*recorded[:13], encode(recorded.event).decode())
            recomputation.add(row)
        recomputation.finish()
        assert found == []
        for name, state in recomputation.customer_states():
            assert state == balance_to_wire(load_balance(self.reading, name, position)), name
