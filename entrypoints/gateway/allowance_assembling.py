"""Putting allowances together: slices, what hands them out, and what follows the ledger."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

from tollbook.client.ids import new_id

from adapters.event_store.news import ledger_name
from adapters.redis.allowances import RedisAllowances
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database
from entrypoints.gateway.admission import Admission
from entrypoints.gateway.allowance_closing import Closer
from entrypoints.gateway.allowance_drawing import Parts
from entrypoints.gateway.allowance_link import Link
from entrypoints.gateway.allowance_opening import Opener
from entrypoints.gateway.allowance_slices import Holding
from entrypoints.gateway.allowing import Allowing
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.following import following
from entrypoints.gateway.standings import Log
from entrypoints.http.readers import Readers

FOLLOWERS = 1
"""The ledger is followed through a connection of its own, so that no other read holds it up."""


@asynccontextmanager
async def allowing_on(
    database: Database,
    tollbook: Tollbook,
    config: GatewayConfig,
    admission: Admission,
    log: Log,
    redis: str,
) -> AsyncIterator[Allowing]:
    """Admit from slices that a Redis hands out, until the block ends; `close` gives them back."""
    with closing(Readers(database, tollbook.executor, FOLLOWERS)) as followers:
        # Each process tallies for itself alone: what one before it drew, it cannot know.
        name = new_id(config.name)
        ledger = await followers.read(lambda reader: ledger_name(reader.run))
        link = Link(RedisAllowances(redis, ledger, name))
        allowing = _made(config, admission, log, followers, link)
        works = (allowing.following.run(), allowing.closer.run(), link.watch())
        tasks = [asyncio.create_task(each) for each in works]
        try:
            yield allowing
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            await link.close()


def _made(
    config: GatewayConfig, admission: Admission, log: Log, followers: Readers, link: Link
) -> Allowing:
    """Put the parts together."""
    follow, holding = following(followers), Holding()
    opener = Opener(config, admission, follow, link, holding)
    closer = Closer(config, admission, follow, link, holding, log)
    return Allowing(config, admission, Parts(follow, link, holding), opener, closer)
