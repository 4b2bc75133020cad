"""Recompute a ledger from its events alone, by rules written a second time from the documents.

Nothing here is shared with the program that wrote the ledger, so a mistake in one is seen by the
other. Give it all events of a ledger, or only a customer's own events and the price books that
priced them, in order of position (docs/formats/events.md):

    report = recompute(events)
    for difference in report.differences:
        print(difference)
"""

from tollbook.recompute.envelope import Envelope
from tollbook.recompute.fact import Difference
from tollbook.recompute.ledger import Recomputation
from tollbook.recompute.report import Report, Totals, recompute

__all__ = ["Difference", "Envelope", "Recomputation", "Report", "Totals", "recompute"]
