"""Samples do not pile up: a gateway removes those of days long past, as it starts and each day."""

import asyncio
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest
from tollbook.times import SECOND, format_instant

from adapters.event_store.store import PostgresEventStore
from entrypoints.gateway import sampling
from entrypoints.gateway.config import GatewayConfig, config_from
from entrypoints.gateway.sampling import Sampler, counters_of
from tests.gateway.grpc_serving import wait
from tests.gateway.rig import METERS
from tests.support.databases import TestDatabase

POOL = {"name": "shared", "grpc": "127.0.0.1:1", "http": "127.0.0.1:1"}


def configured(**more: int) -> GatewayConfig:
    """Return the configuration of a gateway whose server is away."""
    return config_from({"pool": [POOL], "model": METERS[:1], **more})


def is_gone(path: Path) -> bool:
    """Say whether nothing is there."""
    return not path.exists()


async def removed(
    config: GatewayConfig, home: Path, store: PostgresEventStore, old: list[Path]
) -> None:
    """Run a sampler until the old files are gone, and as often as they come again."""
    sampler = Sampler(config, home, store, config.message_bytes)
    running = asyncio.create_task(sampler.run(1))
    try:
        for path in old:
            path.write_text("")
            await asyncio.to_thread(wait, partial(is_gone, path))
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await sampler.close()


@pytest.mark.parametrize(("days", "goes", "stays"), [(90, 91, 89), (2, 3, 1)])
def test_samples_of_days_long_past_are_removed_as_it_starts_and_again_each_day(
    *,
    embedded_database: TestDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    goes: int,
    stays: int,
) -> None:
    folder = counters_of(tmp_path / "gateway")
    folder.mkdir()

    def of_day(ago: int) -> Path:
        at = time.time_ns() // 1000 - ago * 86_400 * SECOND
        return folder / f"counters-{format_instant(at)[:10]}.jsonl"

    of_day(stays).write_text("")
    config = configured() if days == 90 else configured(sample_days=days)
    monkeypatch.setattr(sampling, "REMOVING_SECONDS", 0.1)
    with closing(PostgresEventStore(embedded_database.app_url)) as store:
        asyncio.run(removed(config, tmp_path / "gateway", store, [of_day(goes)] * 2))
    assert list(folder.iterdir()) == [of_day(stays)]
