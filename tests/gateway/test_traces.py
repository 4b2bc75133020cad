"""What the traces tell of inferences: shares of whole batches, added up exactly."""

import asyncio
from pathlib import Path

import pytest

from entrypoints.gateway import trace_batches
from entrypoints.gateway.trace_collector import TraceCollector
from tests.gateway.collecting import collector, ran, run, share, shares
from tests.gateway.rig import configured
from tests.gateway.trace_files import MILLI, Boot


def test_the_shares_of_a_batch_add_up_to_its_time(tmp_path: Path) -> None:
    async def work() -> None:
        async with collector(tmp_path) as traces:
            boot = Boot(tmp_path)
            for id in "abc":
                traces.expect(id, "shared")
            boot.batch("a", "b", "c", end=10_000_500)
            assert sum(each or 0 for each in await shares(traces, *"abc")) == 10_001
            assert (traces.totals.batches, traces.totals.charged) == (1, 10_001)

    run(work())


def test_a_batch_is_shared_only_when_all_of_ours_have_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_batches, "QUIET_SECONDS", 30.0)  # however long the others take

    async def work() -> None:
        async with collector(tmp_path) as traces:
            boot = Boot(tmp_path)
            for id in "ab":
                traces.expect(id, "shared")
            boot.batch("a")
            first = asyncio.create_task(share(traces, "a"))
            await asyncio.sleep(trace_batches.SETTLE_SECONDS + 0.2)
            assert not first.done()  # the other one was under way, and may be of the batch
            boot.batch("b")
            assert await first == await share(traces, "b") == 3_000

    run(work())


def test_a_batch_does_not_wait_for_what_runs_long(tmp_path: Path) -> None:
    async def work() -> None:
        async with collector(tmp_path, seconds=30) as traces:
            boot = Boot(tmp_path)
            for id in ("long", "a"):
                traces.expect(id, "shared")
            boot.batch("a")
            assert await share(traces, "a") == 6_000
            boot.batch("long", start=MILLI, end=9 * MILLI)
            assert await share(traces, "long") == 8_000

    run(work())


def test_who_came_to_the_server_directly_takes_a_share_that_is_nobodys(tmp_path: Path) -> None:
    async def work() -> None:
        async with collector(tmp_path) as traces:
            boot = Boot(tmp_path)
            traces.expect("a", "shared")
            boot.batch("a", "somebody's", None)
            assert await share(traces, "a") == 2_000
            assert traces.totals.others == 4_000

    run(work())


def test_an_error_within_a_batch_keeps_its_share_and_is_not_charged(tmp_path: Path) -> None:
    async def work() -> None:
        async with collector(tmp_path) as traces:
            boot = Boot(tmp_path)
            for id in ("a", "failed", "failed_before"):
                traces.expect(id, "shared")
            traces.forget("failed_before")
            boot.batch("a", "failed", "failed_before")
            assert await share(traces, "a") == 2_000
            traces.forget("failed")
            assert (traces.totals.charged, traces.totals.uncharged) == (2_000, 4_000)
            assert traces.totals.others == 0

    run(work())


def test_an_ensemble_is_charged_its_stages_and_a_cached_answer_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        async with collector(tmp_path) as traces:
            boot = Boot(tmp_path)
            for id in ("e", "c"):
                traces.expect(id, "shared")
            root = boot.trace("e", model="pipeline")
            stages = [
                boot.trace("e", span, model=model, parent=1, answered=False)
                for model, span in (("retrieve", (0, MILLI)), ("textgen", (2 * MILLI, 5 * MILLI)))
            ]
            boot.write(*stages, root)
            boot.write(boot.trace("c"))
            assert await shares(traces, "e", "c") == [4_000, 0]

    run(work())


def test_what_encloses_other_work_is_charged_through_that_alone(tmp_path: Path) -> None:
    async def work() -> None:
        async with collector(tmp_path) as traces:
            boot = Boot(tmp_path)
            traces.expect("b", "shared")
            outer = boot.trace("b", (0, 9 * MILLI), model="caller")
            inner = boot.trace("b", (MILLI, 3 * MILLI), model="called", parent=1)
            boot.write(inner, outer)
            assert await share(traces, "b") == 2_000
            assert (traces.totals.batches, traces.totals.others) == (2, 9_000)

    run(work())


def test_a_trace_that_comes_too_late_is_told_and_its_time_is_not_shared_twice(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        async with collector(tmp_path) as traces:
            boot = Boot(tmp_path)
            for id in ("late", "a"):
                traces.expect(id, "shared")
            boot.batch("a")
            assert await share(traces, "a") == 6_000
            boot.batch("late")
            assert await share(traces, "late") is None
            assert (traces.totals.charged, traces.totals.late) == (6_000, 1)

    run(work())


def test_the_same_instant_after_a_restart_is_another_batch(tmp_path: Path) -> None:
    async def work() -> None:
        async with collector(tmp_path) as traces:
            for id in "ab":
                traces.expect(id, "shared")
            Boot(tmp_path).batch("a")
            Boot(tmp_path, "boot-0000000000000002").batch("b")
            assert await shares(traces, "a", "b") == [6_000, 6_000]

    run(work())


def test_an_id_of_ours_at_a_server_that_never_had_it_is_not_believed(tmp_path: Path) -> None:
    async def work() -> None:
        pools = [
            {"name": name, "grpc": "h:1", "http": "h:1", "traces": str(tmp_path / name)}
            for name in ("shared", "other")
        ]
        async with TraceCollector(configured(trace_seconds=1, pool=pools)) as traces:
            for id, pool in (("a", "shared"), ("b", "other")):
                traces.expect(id, pool)
            Boot(tmp_path / "other").batch("a", "b")
            Boot(tmp_path / "shared")
            assert await shares(traces, "a", "b") == [None, 3_000]

    run(work())


@pytest.mark.parametrize("has_traces", [True, False])
def test_what_never_comes_is_nothing_and_not_zero(tmp_path: Path, *, has_traces: bool) -> None:
    async def work() -> None:
        async with collector(tmp_path if has_traces else None, seconds=1) as traces:
            traces.expect("a", "shared")
            assert await share(traces, "a") is None
            assert await ran(traces, "a") is None
            assert await share(traces, "nobody's") is None

    run(work())
