"""Health: whether the process lives, whether it can serve, and what its metrics say.

What is asked of the database is kept for a second, so that nobody can flood it through here.
"""

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST
from tollbook.errors import TollbookError

from application.ports import ConnectionLostError, StoreFailedError
from entrypoints.http.metrics import Metrics
from entrypoints.http.problems import document
from entrypoints.http.service import Probe
from projections import checkpoint, fraud_cases, parked
from projections.model import Run

FRESH_SECONDS = 1.0
"""How long an answer of the database is kept."""

PATIENCE_SECONDS = 1.0
"""How long the database may take to answer."""

CLOCK_AHEAD_MAX = 250_000
"""How far the ledger's newest event may be ahead of the database's clock, in microseconds."""

_HEAD = "SELECT position, recorded_at, clock, clock_us() FROM ledger_head"

_WAITING: dict[str, Callable[[Run], int]] = {
    "parked_usage": parked.waiting,
    "fraud_cases": fraud_cases.waiting,
}
"""Gauges of what waits for people, each from a view."""


class Seen(NamedTuple):
    """What was seen: what is wrong (nothing, when ready), facts for people, values for gauges."""

    wrong: tuple[str, ...]
    facts: dict[str, Any]
    gauges: dict[str, float]


class Health:
    """Answers `/healthz`, `/readyz` and `/metrics`; implements `service.Health`."""

    def __init__(
        self,
        run: Run,
        metrics: Metrics,
        projector_lives: Callable[[], bool] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask through `run`, which nobody else uses, in a thread of its own.

        `projector_lives` says whether this process's projector goes on; None without one.
        """
        self._run = run
        self._metrics = metrics
        self._projector_lives = projector_lives
        self._monotonic = monotonic
        self._thread = ThreadPoolExecutor(1, "health")
        self._asking: asyncio.Future[Seen] | None = None
        self._seen: Seen | None = None
        self._seen_at = float("-inf")

    async def healthz(self) -> Probe:
        """Say that the process is alive."""
        return _json(200, {"status": "ok"})

    async def readyz(self) -> Probe:
        """Say whether requests can be served, and if not, why."""
        seen = await self._look()
        if not seen.wrong:
            return _json(200, {"status": "ready", **seen.facts})
        error = TollbookError("; ".join(seen.wrong), code="unavailable", **seen.facts)
        problem = {**document(error), "title": "Not ready"}
        return Probe(503, json.dumps(problem).encode(), "application/problem+json")

    async def metrics(self) -> Probe:
        """Return the metrics as Prometheus reads them."""
        seen = await self._look()
        self._metrics.ledger.values = {**seen.gauges, "ready": float(not seen.wrong)}
        return Probe(200, self._metrics.text(), CONTENT_TYPE_LATEST)

    def close(self) -> None:
        """Ask nothing any more."""
        self._thread.shutdown(cancel_futures=True)

    async def _look(self) -> Seen:
        """Return what was seen within the last second, looking again when that is longer ago."""
        if self._seen is not None and self._monotonic() - self._seen_at < FRESH_SECONDS:
            return self._seen
        if self._asking is None:
            loop = asyncio.get_running_loop()
            self._asking = loop.run_in_executor(self._thread, self._ask)
            self._asking.add_done_callback(self._answered)
        await asyncio.wait((self._asking,), timeout=PATIENCE_SECONDS)
        if self._seen is None or self._monotonic() - self._seen_at >= FRESH_SECONDS:
            silent = f"the database did not answer within {PATIENCE_SECONDS:.0f} s"
            self._keep(Seen((silent,), {}, {}))
        assert self._seen is not None
        return self._seen

    def _answered(self, asking: "asyncio.Future[Seen]") -> None:
        self._asking = None
        if not asking.cancelled():
            self._keep(asking.result())

    def _keep(self, seen: Seen) -> None:
        self._seen, self._seen_at = seen, self._monotonic()

    def _ask(self) -> Seen:
        """Ask the database, in the thread."""
        try:
            ((position, recorded_at, clock, database_time),) = self._run(_HEAD, ())
            lag = checkpoint.lag(self._run)
            counts = self._counts()
        except (ConnectionLostError, StoreFailedError, TollbookError) as error:
            first = str(error).strip().split("\n")[0]
            return Seen((f"the database does not answer: {first}",), {}, {})
        wrong = []
        ahead = recorded_at - database_time
        if clock == "database" and ahead > CLOCK_AHEAD_MAX:
            wrong.append(f"the database's clock is {ahead // 1000} ms behind the newest event")
        if self._projector_lives is not None and not self._projector_lives():
            wrong.append("the projector has stopped: the log says why")
        facts = {"position": position, "events_behind": lag["events_behind"]}
        gauges = {
            "ledger_position": position,
            "projection_position": lag["position"],
            "projection_lag_events": lag["events_behind"],
            "projection_lag_seconds": float(lag["seconds_behind"]),
            "parked_events": lag["parked"],
            **counts,
        }
        return Seen(tuple(wrong), facts, {name: float(value) for name, value in gauges.items()})

    def _counts(self) -> dict[str, int]:
        """Count what waits for people, less what is in no view yet: an older program built them."""
        found = {}
        for name, waiting in _WAITING.items():
            with suppress(StoreFailedError):
                found[name] = waiting(self._run)
        return found


def _json(status: int, found: dict[str, Any]) -> Probe:
    return Probe(status, json.dumps(found).encode(), "application/json")
