"""The SDK's client and reservations for several inferences, against the real server."""

from tollbook.client import Client

from tests.support.ledger import MODEL, USAGE
from tests.support.serving import Served


def test_one_hold_pays_for_several_inferences(served: Served, customer: str) -> None:
    with Client(served.url, key=served.key()) as client:
        one = client.reserve(customer, MODEL, USAGE)
        hold = client.reserve(customer, MODEL, USAGE, inferences=3)
        assert hold.held == one.held + one.held + one.held
        assert client.reservation(hold.id).inferences == 3
        assert client.reservation(one.id).inferences is None
        charged = [client.settle(hold.id, USAGE, final=False).charged for _ in range(2)]
        assert client.reservation(hold.id).status == "open"
        assert client.release(hold.id).released == hold.held + -(charged[0] + charged[1])
