"""Parkings: whether the ledger kept anything uncharged of what ran in part of a slice.

Whoever releases such a record needs its reservation open, so that slice is not given back.
"""

from collections.abc import Collection

from adapters.event_store.news import any_begun
from domain.parking import parked_stream
from entrypoints.http.readers import Reader, Readers


async def any_parked(readers: Readers, source: str, ids: Collection[str]) -> bool:
    """Say whether the ledger, which knows of these inferences, has parked any; may raise."""

    def look(reader: Reader, source: str, ids: Collection[str]) -> bool:
        return any_begun(reader.run, [parked_stream(source, id) for id in ids])

    return bool(ids) and await readers.read(look, source, list(ids))
