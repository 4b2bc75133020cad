"""Extending: the holds of inferences that run long are held for longer, while they run."""

import asyncio
import logging

from tollbook.errors import TollbookError

from application.jobs import Item
from domain.values import SECOND
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.running import Running

logger = logging.getLogger("tollbook.gateway")

PAUSE_SECONDS = 1.0
"""So often it is asked which holds are due."""
RETRY_SECONDS = 5.0
"""So long after the ledger said no it is asked again, or a tenth of the hold's time if shorter."""


async def extend_holds(gateway: Gateway) -> None:
    """Extend the holds of inferences that run long, until cancelled."""
    while True:
        await asyncio.sleep(PAUSE_SECONDS)
        holding = [each for each in gateway.running.values() if each.admitted.slice is None]
        due = [each for each in holding if each.now() >= each.extend_at]
        for running in due:
            await _extend(gateway, running)


async def _extend(gateway: Gateway, running: Running) -> None:
    seconds = gateway.config.hold_seconds
    wanted = [Item(each, gateway.admission.actor) for each in running.extending(seconds)]
    try:
        for answer in await gateway.submitter.submit(wanted):
            answer.result()
    except TollbookError as error:
        # It goes on: what it uses is charged all the same, late where it must be (A10).
        logger.warning("the hold of %s is not extended: %s", running.id, error)
        running.extend_at = running.now() + int(min(seconds / 10, RETRY_SECONDS) * SECOND)
    else:
        running.extended(seconds)
