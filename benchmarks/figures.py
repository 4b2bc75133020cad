"""Figures: what is measured, in which unit, beside which baseline, and what it must reach."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; conditions that are None are not asked for."""

    name: str
    unit: str
    says: str
    """What is measured, in a few words."""
    baseline: str | None = None
    """The figure that this one is divided by."""
    same_as: str | None = None
    """The figure whose value this one repeats, to compare it with another baseline."""
    least: float | None = None
    most: float | None = None
    least_ratio: float | None = None

    def target(self) -> str:
        """Return what the figure must reach, in words; empty for a baseline."""
        parts = []
        if self.least is not None:
            parts.append(f"≥ {self.least:,g}")
        if self.most is not None:
            parts.append(f"≤ {self.most:,g}")
        if self.least_ratio is not None:
            parts.append(f"≥ {self.least_ratio:g}x {self.baseline}")
        return ", ".join(parts)

    def reached(self, value: float, ratio: float | None) -> float | None:
        """Return the share of the target that is reached (1 or more: met), by its worst condition.

        None when there is no target, or when its baseline was not measured.
        """
        shares = []
        if self.least is not None:
            shares.append(value / self.least)
        if self.most is not None:
            shares.append(self.most / value)
        if self.least_ratio is not None and ratio is not None:
            shares.append(ratio / self.least_ratio)
        return min(shares, default=None)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work each measurement does per round."""

    rounds: int = 3
    copied_pairs: int = 40_000
    library_pairs: int = 1_000
    single_pairs: int = 2_000
    pairs: int = 40_000
    customers: int = 10_000
    ledger_events: int = 1_000_000
    grown_events: int = 20_000_000
    http_pairs: int = 10_000
    sustained_seconds: float = 60.0
    licenses: int = 100_000
    validations: int = 20_000
    tokens: int = 2_000
    inferences: int = 8_000
    remembered: int = 200_000
    streamed: int = 200_000
    stream_seconds: float = 20.0
    stream_remembered: int = 1_000_000
    admitted: int = 40_000


QUICK = Sizes(
    rounds=1,
    copied_pairs=1_000,
    library_pairs=50,
    single_pairs=100,
    pairs=2_000,
    customers=200,
    ledger_events=10_000,
    grown_events=100_000,
    http_pairs=1_280,
    sustained_seconds=2.0,
    licenses=1_000,
    validations=500,
    tokens=50,
    inferences=64,
    remembered=400,
    streamed=2_000,
    stream_seconds=0.5,
    stream_remembered=4_000,
    admitted=2_000,
)


@dataclass(frozen=True, slots=True)
class Result:
    """A figure with the values its rounds gave."""

    figure: Figure
    value: float
    baseline: float | None
    values: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float | None:
        """Return the value as a multiple of the baseline's."""
        return self.value / self.baseline if self.baseline else None

    @property
    def reached(self) -> float | None:
        """Return the share of the target that is reached."""
        return self.figure.reached(self.value, self.ratio)

    @property
    def met(self) -> bool | None:
        """Say whether the target is met; None when there is none."""
        return None if self.reached is None else self.reached >= 1


COPY = "raw_copy"
LIBRARY = "library_pairs"
HOT = "pairs_hot_512"
HTTP = "http_bare_64"
FOLDED = "balance_as_of_folded_p95"
COPY_OUT = "export_copy"


def _gateway_figures(protocol: str, added: float) -> tuple[Figure, ...]:
    """Return what is measured of the gateway in one protocol, beside Triton itself."""
    one, many = f"triton_{protocol}_1_p50", f"triton_{protocol}_16"
    return (
        Figure(one, "ms", f"Triton alone over {protocol}, one request after another"),
        Figure(f"gateway_{protocol}_1_p50", "ms", "the same through the gateway, held and settled",
               one),
        Figure(f"gateway_{protocol}_added", "ms", "what the gateway adds to the median",
               most=added),
        Figure(many, "requests/s", f"Triton alone over {protocol}, 16 in flight"),
        Figure(f"gateway_{protocol}_16", "requests/s", "the same through the gateway", many,
               least_ratio=0.35),
        Figure(f"local_{protocol}_1_p50", "ms", "one after another, from its own allowance", one),
        Figure(f"local_{protocol}_added", "ms", "what the gateway adds to the median then",
               most=added),
        Figure(f"local_{protocol}_16", "requests/s", "16 in flight, from its own allowance", many,
               least_ratio=0.35),
        Figure(f"allowed_{protocol}_1_p50", "ms", "one after another, from one by Redis", one),
        Figure(f"allowed_{protocol}_added", "ms", "what the gateway adds to the median then",
               most=added),
        Figure(f"allowed_{protocol}_16", "requests/s", "16 in flight, from one by Redis", many,
               least_ratio=0.35),
        Figure(f"crew_{protocol}_16", "requests/s", "the same through two processes", many,
               least_ratio=0.35),
    )  # fmt: skip


FIGURES = (
    Figure(COPY, "events/s", "COPY of equal rows into equal tables, 500 events per commit"),
    Figure(LIBRARY, "pairs/s", "the eventsourcing library's own load, decide, save"),
    Figure("pairs_1", "pairs/s", "one command after another", LIBRARY, least=1_000),
    Figure("pairs_1_p50", "ms", "median time of one such command", most=0.6),
    Figure("pairs_hot_64", "pairs/s", "64 in flight, one customer", LIBRARY, least=6_000),
    Figure("pairs_hot_64_reserve_p99", "ms", "99 of 100 reserves answer within", most=15),
    Figure(HOT, "pairs/s", "512 in flight, one customer", LIBRARY, least=10_000, least_ratio=8),
    Figure("pairs_hot_512_events_vs_copy", "events/s", "the same, in events", COPY,
           least_ratio=0.15),
    Figure("licensed_pairs_512", "pairs/s", "the same, each reserve under a licence with limits",
           HOT, least_ratio=0.8),
    Figure("pairs_spread_512", "pairs/s", "512 in flight, 10,000 customers", LIBRARY),
    Figure("pairs_spread_512_vs_hot", "pairs/s", "the same, beside one customer", HOT,
           same_as="pairs_spread_512", least_ratio=0.7),
    Figure("pairs_2writers", "pairs/s", "one process reserves, another settles", LIBRARY),
    Figure("pairs_2writers_vs_hot", "pairs/s", "the same, beside one process", HOT,
           same_as="pairs_2writers", least_ratio=0.6),
    Figure(HTTP, "pairs/s", "the server and framework alone, the same requests, no ledger"),
    Figure("http_pairs_64", "pairs/s", "64 keep-alive connections, projector on", HTTP,
           least=1_000),
    Figure("http_pairs_64_p99", "ms", "99 of 100 of these requests answer within", most=80),
    Figure("http_commands_batch", "pairs/s", "POST /v1/commands with 1,000 commands each", HOT,
           least=4_000),
    Figure("pairs_sustained", "pairs/s", "4,500 begin each second for a minute, projector on",
           HOT, least=4_000),
    Figure("pairs_sustained_lag", "s", "how far the views are behind when it ends", most=2),
    Figure("bytes_per_inference", "bytes", "events, ids and snapshots with all indexes",
           most=2_000),
    Figure("bytes_per_inference_events", "bytes", "of these: the table of events"),
    Figure("bytes_per_inference_event_indexes", "bytes", "of these: the indexes of events"),
    Figure("bytes_per_inference_ids", "bytes", "of these: ids, with their index"),
    Figure("bytes_per_inference_snapshots", "bytes", "of these: snapshots, with their index"),
    Figure("replay", "events/s", "audit replay of 1,000,000 events, no snapshots", least=100_000),
    Figure("verify", "events/s", "audit verify of the same ledger"),
    Figure("project", "events/s", "every read model built from the first event", COPY,
           least=40_000),
    Figure(FOLDED, "ms", "95 of 100 balances in the past, folded from the first event"),
    Figure("balance_as_of_p95", "ms", "the same, from the nearest kept state", FOLDED, most=20),
    Figure(COPY_OUT, "rows/s", "COPY of the charges of the same ledger, thrown away"),
    Figure("export_csv", "rows/s", "export of these charges", COPY_OUT, least=100_000),
    Figure("export_parquet", "rows/s", "the same as Parquet", COPY_OUT, least=200_000),
    Figure("open_1m", "s", "a new process, to its first answer on the same ledger", most=3),
    Figure("open_1m_memory", "MB", "its resident memory, every customer touched", most=400),
    Figure("lease_verify", "ms", "the SDK verifies the token of a lease", most=0.3),
    Figure("license_validate_cold", "ms", "99 of 100 of 64 in flight answer within, by a new "
           "process on 100,000 licences", most=15),
    *(
        figure
        for protocol, added in (("grpc", 1.5), ("http", 1.2))
        for figure in _gateway_figures(protocol, added)
    ),
    Figure("gateway_memory_growth", "MB", "the gateway's memory after 200,000 requests, beside "
           "60,000", most=16),
    *(
        figure
        for workers, least in ((1, 8_000), (2, None))
        for figure in (
            Figure(f"stream_settled_{workers}", "events/s", "usage from Kafka, settled into "
                   f"PostgreSQL by {workers} of Faust's workers", HOT, least=least),
            Figure(f"stream_cpu_{workers}", "us", "what they compute for each event"),
            Figure(f"stream_cpu_steady_{workers}", "us", "the same of the second half of them",
                   "stream_cpu_steady_1" if workers > 1 else None),
        )
    ),
    Figure("stream_settled_allowed_1", "events/s", "the same of inferences that are parts of "
           "slices of allowances, by one worker", HOT, least=8_000),
    Figure("stream_cpu_allowed_1", "us", "what it computes for each"),
    Figure("stream_latency_p50", "ms", "from an event to its settled charge, 1,000 a second"),
    Figure("stream_latency_p99", "ms", "99 of 100 of these are settled within", most=250),
    Figure("stream_latency_offered", "events/s", "what was offered meanwhile"),
    Figure("stream_memory_growth", "MB", "a worker's memory after 1,000,000 events, beside "
           "200,000", most=16),
    Figure("allowance_admit_8", "admitted/s", "inferences admitted from allowances, 8 in flight"),
    Figure("allowance_admit_8_p99", "ms", "how long the slowest hundredth of them waits", most=2),
    Figure("allowance_admit_64", "admitted/s", "the same, 64 in flight", least=6_000),
    Figure("allowance_bytes", "bytes", "as bytes_per_inference, of an allowance's inferences",
           most=500),
    Figure("pairs_at_20m", "pairs/s", "512 in flight on 20,000,000 events", HOT,
           least_ratio=0.8),
)  # fmt: skip
BY_NAME = {figure.name: figure for figure in FIGURES}
