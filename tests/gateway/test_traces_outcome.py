"""Whether an inference ran at all, as its traces and those of others tell, and what is kept."""

import asyncio
from pathlib import Path

import pytest

from entrypoints.gateway import trace_batches, trace_collector
from entrypoints.gateway.trace_collector import TraceCollector
from tests.gateway.collecting import collector, ran, run, share, shares
from tests.gateway.trace_files import MILLI, Boot
from tests.support.sizes import in_full_or


@pytest.mark.parametrize(
    ("spans", "answered", "told"),
    [([(0, MILLI)], True, True), ([], True, True), ([], False, False)],
    ids=["computed", "from the cache", "cancelled in its queue"],
)
def test_a_trace_tells_whether_an_inference_ran(
    tmp_path: Path, *, spans: list[tuple[int, int]], answered: bool, told: bool
) -> None:
    async def work() -> None:
        async with collector(tmp_path) as traces:
            traces.expect("a", "shared")
            boot = Boot(tmp_path)
            boot.write(boot.trace("a", *spans, answered=answered))
            assert await ran(traces, "a") is told
            assert await share(traces, "a") == (1_000 if spans else 0)

    run(work())


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        ("nothing", None),
        ("others", False),
        ("others, one still under way", None),
        ("others, after a restart", None),
        ("others, only before", None),
        ("others, but none before it was sent", None),
    ],
)
def test_an_inference_never_ran_only_where_the_traces_prove_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happens: str, told: bool | None
) -> None:
    monkeypatch.setattr(trace_batches, "MARGIN", 100 * MILLI)

    async def work() -> None:
        async with collector(tmp_path) as traces:
            boot = Boot(tmp_path)
            if "others" in happens and "none before" not in happens:
                boot.batch("before")
            await asyncio.sleep(0.3)
            traces.expect("lost", "shared")
            await asyncio.sleep(0.2)
            if "none before" in happens:
                boot.batch("between")
            await asyncio.sleep(0.2)
            asking = asyncio.create_task(ran(traces, "lost"))
            await asyncio.sleep(0.3)
            if "under way" in happens:
                next(boot.ids)
            if "restart" in happens:
                boot = Boot(tmp_path, "boot-0000000000000002")
            if "others" in happens and "only before" not in happens:
                boot.batch("after", start=MILLI)
            assert await asking is told

    run(work())


def reads(traces: TraceCollector) -> bool:
    """Say whether files are looked for."""
    return traces._task is not None


def test_files_are_read_only_while_somebody_waits(tmp_path: Path) -> None:
    async def work() -> None:
        async with collector(tmp_path) as traces:
            boot = Boot(tmp_path)
            traces.expect("a", "shared")
            boot.batch("a")
            await asyncio.sleep(0.2)
            assert not reads(traces)
            assert traces._pools["shared"].folder.boots == {}
            assert await share(traces, "a") == 6_000
            for _ in range(6_000):
                if not reads(traces):
                    return
                await asyncio.sleep(0.01)
            pytest.fail("it goes on reading")

    run(work())


TURNS = in_full_or(3, 20)
"""Of ten thousand inferences each: far more than are kept, and in CI two hundred thousand."""


def test_many_thousand_inferences_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_batches, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(trace_collector, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(trace_batches, "KEPT_MAX", 1_000)
    monkeypatch.setattr(trace_collector, "GONE_MAX", 1_000)

    async def work() -> None:
        async with collector(tmp_path) as traces:
            boot = Boot(tmp_path)
            for turn in range(TURNS):
                ids = [f"{turn}-{number}" for number in range(10_000)]
                for id in ids:
                    traces.expect(id, "shared")
                for id in ids[10:]:
                    traces.forget(id)
                boot.write(*(boot.trace(id, (turn, turn + 8 * MILLI)) for id in ids[:1_000]))
                found = await shares(traces, *ids[:10])
                assert found == [8] * 10
                for id in ids[:10]:
                    traces.forget(id)
            pool = traces._pools["shared"]
            assert traces.followed == len(traces._asking) == len(pool.untraced) == pool.waiting == 0
            assert len(pool._open) == 0
            assert len(pool._shared) <= 1_000
            assert len(pool._began[boot.folder.name]) <= 1_000
            assert len(traces._gone) <= 1_000
            assert traces.totals.charged == TURNS * 80
            totals = traces.totals
            assert totals.charged + totals.uncharged + totals.others == TURNS * 8_000

    run(work())


def test_no_more_are_followed_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_collector, "RECORDS_MAX", 2)

    async def work() -> None:
        async with collector(tmp_path) as traces:
            heard: list[object] = []
            traces.expect("a", "shared")
            traces.when_known("a", heard.append)
            for id in "bc":
                traces.expect(id, "shared")
            assert (heard, traces.followed) == ([None], 2)

    run(work())


def test_who_hears_and_fails_is_nobody_elses_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: object) -> None:
        raise OSError("no space")

    async def work() -> None:
        async with collector(tmp_path) as traces:
            for id in "ab":
                traces.expect(id, "shared")
            Boot(tmp_path).batch("a", "b")
            traces.when_known("a", fails)
            assert await share(traces, "b") == 3_000

    run(work())
    assert "was not taken" in caplog.text


def test_used_files_are_removed_where_the_setting_says_so(tmp_path: Path) -> None:
    async def work() -> None:
        async with collector(tmp_path, trace_files_seconds=3_600) as traces:
            boot = Boot(tmp_path)
            boot.write(boot.trace("old", (0, 1)), age=7_200)
            traces.expect("a", "shared")
            boot.batch("a")
            assert await share(traces, "a") == 6_000
            assert [path.name for path in boot.folder.iterdir()] == ["trace.json.1"]

    run(work())
