"""The machine with prices: versions that begin later, and versions that add to the past."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.model import price_inputs
from tests.model.audited_machine import AuditedMachine
from tests.model.inputs import completed
from tests.model.machine import WRITERS
from tests.model.oracle_records import parked_id
from tests.model.price_inputs import UNHEARD


class PricedMachine(AuditedMachine):
    """Drives a ledger whose price books grow."""

    @rule(data=st.data(), writer=WRITERS, wild=st.booleans())
    def publish_prices(self, data: st.DataObject, writer: int, wild: bool) -> None:
        """Publish a version that begins later, or one that adds to what was in force."""
        self.send([self.draw(data, "publish_prices", wild=wild)], writer)

    @rule(data=st.data(), writer=WRITERS)
    def forget_a_price(self, data: st.DataObject, writer: int) -> None:
        """Use what may have no price, add one to the past, and release what was parked."""
        kind, used = self.draw(data, "usage")
        used.pop("reservation", None)
        used.pop("final", None)
        used |= {"model": data.draw(st.sampled_from(["tiered", UNHEARD])), "usage": {"pages": 1}}
        self.send([(kind, used)], writer)
        rules = self.oracle.rules
        book = data.draw(st.composite(price_inputs.missing)(rules, used))
        self.send([completed("publish_prices", book)], writer)
        if parked_id(used) in rules.parked:
            release = {"id": f"v{next(self._numbers)}", "parked": parked_id(used)}
            self.send([("release_usage", release)], 1 - writer)
