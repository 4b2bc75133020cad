"""Recovering allowances: what a killed process had set aside and handed out by itself goes back.

Nobody draws from it any more, and its folder says which it was. When the ledger has been told of
everything else in there, what is left of it is the customer's. With a Redis others may draw from
it, so nothing of it stands in the folder.
"""

import logging
from collections.abc import Sequence
from typing import Any

from tollbook.errors import Refused

from adapters.event_store.news import any_parked_since
from application.jobs import Item
from domain.commands import parse
from entrypoints.gateway.allowance_closing import REASON
from entrypoints.gateway.allowance_slices import SET_ASIDE
from entrypoints.gateway.core import Gateway
from entrypoints.http.readers import Reader

logger = logging.getLogger("tollbook.gateway")


async def give_back(gateway: Gateway, lines: Sequence[dict[str, Any]]) -> None:
    """Release what the lines of a dead process's folder say that it had set aside; may raise.

    Where the ledger parked anything of the customer since, it stays: that may need it.
    """
    now = await gateway.admission.readers.read(_now)
    for line in lines:
        if line["until"] <= now:
            continue
        reservation, customer = line["intent"], line["customer"]
        if await gateway.admission.readers.read(_is_parked, customer, line[SET_ASIDE]):
            logger.warning("%s stays until it expires: something was parked since", reservation)
            continue
        body = {"id": reservation, "reservation": reservation, "reason": REASON}
        item = Item(parse("release", body), gateway.admission.actor)
        (answer,) = await gateway.submitter.submit((item,))
        problem = answer.problem()
        if problem is not None and not isinstance(problem, Refused):
            raise problem  # a refusal says that it has ended already


def _now(reader: Reader) -> int:
    return reader.store.database_time()


def _is_parked(reader: Reader, customer: str, position: int) -> bool:
    return any_parked_since(reader.run, customer, position)
