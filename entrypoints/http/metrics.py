"""Metrics: what Prometheus reads, counted here while requests are served and batches committed.

No label names a customer, a key or anything that a sender can make up.
"""

from collections.abc import Iterable
from typing import Any

import tollbook
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from application.executor import Executor

LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5, 10)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)

_LABELS = ("method", "route", "status")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self, executor: Executor) -> None:
        """Begin to count; what the executor commits is counted as well."""
        # They only tell when a label was first seen.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "tollbook_http_requests", "Requests answered.", _LABELS, registry=registry
        )
        self._seconds = Histogram(
            "tollbook_http_request_seconds",
            "How long requests took.",
            ("method", "route"),
            buckets=LATENCIES,
            registry=registry,
        )
        self.under_way = Gauge(
            "tollbook_http_requests_under_way", "Requests being served.", registry=registry
        )
        self._refused = Counter(
            "tollbook_keys_refused", "Requests without a valid key.", registry=registry
        )
        self._limited = Counter(
            "tollbook_rate_limited", "Requests refused for their rate.", registry=registry
        )
        self._batch_size = Histogram(
            "tollbook_batch_commands",
            "Commands in one transaction.",
            buckets=BATCHES,
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "tollbook_commit_seconds",
            "From a batch's decision to its commit.",
            buckets=LATENCIES,
            registry=registry,
        )
        waiting = Gauge(
            "tollbook_commands_waiting", "Commands in the executor's queue.", registry=registry
        )
        waiting.set_function(lambda: float(executor.waiting))
        build = Gauge("tollbook_build_info", "This program.", ("version",), registry=registry)
        build.labels(tollbook.__version__).set(1)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self.ledger = LedgerState()
        registry.register(self.ledger)
        self._kept: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        executor.watch(self._committed)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        children = self._kept.get((method, route, status))
        if children is None:
            known = method if method in _METHODS else "other"
            children = (
                self._requests.labels(known, route, f"{status // 100}xx"),
                self._seconds.labels(known, route),
            )
            if known == method:  # what a sender makes up is not kept
                self._kept[method, route, status] = children
        children[0].inc()
        children[1].observe(seconds)
        if status == 401:
            self._refused.inc()
        elif status == 429:
            self._limited.inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _committed(self, commands: int, seconds: float) -> None:
        """Count one batch, in the thread that committed it."""
        self._batch_size.observe(commands)
        self._batch_seconds.observe(seconds)


class LedgerState(Collector):
    """What was last read of the ledger; gauges that could not be read are left out."""

    def __init__(self) -> None:
        """Begin without knowing anything."""
        self.values: dict[str, float] = {}

    def collect(self) -> Iterable[Metric]:
        """Yield a gauge for each known value."""
        for name, help_text in GAUGES.items():
            if name in self.values:
                yield GaugeMetricFamily(f"tollbook_{name}", help_text, value=self.values[name])


GAUGES = {
    "ready": "Whether requests can be served.",
    "ledger_position": "The position of the newest event.",
    "projection_position": "The position up to which the views hold everything.",
    "projection_lag_events": "How many events the views are behind.",
    "projection_lag_seconds": "How old the newest event in the views is, against the ledger's.",
    "parked_events": "Events that a view could not take in.",
    "parked_usage": "Usage records that wait for an operator.",
    "fraud_cases": "Fraud cases that wait for a reviewer.",
}
