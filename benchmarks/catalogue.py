"""The measurements in the order of a round, and which of them a choice of figures needs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.allowance_bytes import allowance_bytes
from benchmarks.allowances import allowance_admit
from benchmarks.bench import Bench
from benchmarks.exporting import copied_out, exports
from benchmarks.figures import BY_NAME
from benchmarks.gateway import PROTOCOLS, gateway, gateway_memory
from benchmarks.growth import pairs_at_20m
from benchmarks.http_pairs import http_bare, http_pairs
from benchmarks.library import library_pairs
from benchmarks.licensed import lease_verify, licensed_512, validate_cold
from benchmarks.long_ledger import bytes_per_inference
from benchmarks.pairs import alone, hot_64, hot_512, spread_512
from benchmarks.projecting import balances_as_of, project
from benchmarks.raw_copy import raw_copy
from benchmarks.reading import open_1m, replay, verify
from benchmarks.streaming import stream
from benchmarks.streaming_allowed import stream_allowed
from benchmarks.streaming_memory import stream_memory
from benchmarks.streaming_paced import stream_latency
from benchmarks.sustained import pairs_sustained
from benchmarks.two_writers import two_writers


@dataclass(frozen=True, slots=True)
class Measurement:
    """A function that measures once, and the figures that it yields."""

    run: Callable[[Bench], dict[str, float]]
    figures: tuple[str, ...]
    once: bool = False
    """Measured in the first round alone: it takes long, or is the same every time."""


_PAID = ("1_p50", "added", "16")
FRONTS = {
    "triton": ("1_p50", "16"),
    "gateway": _PAID,
    "local": _PAID,
    "allowed": _PAID,
    "crew": ("16",),
}

# Each stage has all its rounds before the next begins: a long ledger must not lie about while
# short ones are measured, since the server would tidy it up in the background.
STAGES = (
    (
        Measurement(raw_copy, ("raw_copy",)),
        Measurement(library_pairs, ("library_pairs",)),
        Measurement(alone, ("pairs_1", "pairs_1_p50")),
        Measurement(hot_64, ("pairs_hot_64", "pairs_hot_64_reserve_p99")),
        Measurement(hot_512, ("pairs_hot_512", "pairs_hot_512_events_vs_copy")),
        Measurement(licensed_512, ("licensed_pairs_512",)),
        Measurement(spread_512, ("pairs_spread_512",)),
        Measurement(two_writers, ("pairs_2writers",)),
        Measurement(http_bare, ("http_bare_64",)),
        Measurement(http_pairs, ("http_pairs_64", "http_pairs_64_p99", "http_commands_batch")),
        Measurement(pairs_sustained, ("pairs_sustained", "pairs_sustained_lag"), once=True),
        Measurement(
            gateway,
            tuple(
                f"{name}_{protocol}_{kind}"
                for protocol in PROTOCOLS
                for name, kinds in FRONTS.items()
                for kind in kinds
            ),
        ),
        Measurement(gateway_memory, ("gateway_memory_growth",), once=True),
        Measurement(
            allowance_admit, ("allowance_admit_8", "allowance_admit_8_p99", "allowance_admit_64")
        ),
        Measurement(allowance_bytes, ("allowance_bytes",), once=True),
        Measurement(
            stream,
            tuple(
                f"stream_{kind}_{count}"
                for count in (1, 2)
                for kind in ("settled", "cpu", "cpu_steady")
            ),
            once=True,
        ),
        Measurement(
            stream_allowed, ("stream_settled_allowed_1", "stream_cpu_allowed_1"), once=True
        ),
        Measurement(
            stream_latency,
            ("stream_latency_p50", "stream_latency_p99", "stream_latency_offered"),
        ),
        Measurement(stream_memory, ("stream_memory_growth",), once=True),
        Measurement(pairs_at_20m, ("pairs_at_20m",)),
    ),
    (
        Measurement(
            bytes_per_inference,
            tuple(name for name in BY_NAME if name.startswith("bytes_per_inference")),
            once=True,
        ),
        Measurement(replay, ("replay",)),
        Measurement(verify, ("verify",), once=True),
        Measurement(project, ("project",)),
        Measurement(balances_as_of, ("balance_as_of_p95", "balance_as_of_folded_p95")),
        Measurement(copied_out, ("export_copy",)),
        Measurement(exports, ("export_csv", "export_parquet")),
        Measurement(open_1m, ("open_1m", "open_1m_memory")),
        Measurement(lease_verify, ("lease_verify",)),
        Measurement(validate_cold, ("license_validate_cold",), once=True),
    ),
)
LARGE = "pairs_at_20m"
"""Needs much time and disk, so it is measured only when it is asked for."""


def with_baselines(names: Iterable[str]) -> set[str]:
    """Return these figures with all that they are compared with."""
    wanted: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            figure = BY_NAME[name]
            waiting += [other for other in (figure.baseline, figure.same_as) if other]
    return wanted


def stages_for(wanted: set[str]) -> list[list[Measurement]]:
    """Return the measurements that yield any of these figures, by stage."""
    return [[each for each in stage if not wanted.isdisjoint(each.figures)] for stage in STAGES]
