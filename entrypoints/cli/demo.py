"""`tollbook demo`: the main job, end to end, on an embedded ledger."""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tollbook.cli_support import Subparsers, add_command, print_json
from tollbook.errors import EXIT_DIFFERENCES, EXIT_DONE, Invalid

if TYPE_CHECKING:
    from application.tollbook import Tollbook
    from entrypoints.bootstrap import Database
    from entrypoints.cli.options import Bars
    from entrypoints.demo.cluster import Cluster
    from entrypoints.demo.job import Outcome
    from entrypoints.demo.summary import Result
    from entrypoints.demo.through_triton import Ran
    from entrypoints.demo.trace import Row
    from entrypoints.gateway.config import GatewayConfig

Way = Literal["trace", "triton", "cluster"]
"""In the trace's time, through Triton, or through Triton and Kafka."""

CUSTOMERS_MAX = 100_000


def register(subparsers: Subparsers) -> None:
    """Add the command to the console script."""
    parser = add_command(
        subparsers,
        "demo",
        "Reserve and settle every inference of a trace on an embedded ledger, then audit it.",
        run,
        examples=(
            "tollbook demo",
            "tollbook demo --trace trace.csv --customers 50",
            "tollbook demo --data ./ledger --json",
            "tollbook demo --triton --limit 500",
            "tollbook demo --cluster --limit 500",
        ),
    )
    parser.add_argument(
        "--trace",
        metavar="FILE",
        help="CSV with the header TIMESTAMP,ContextTokens,GeneratedTokens (default: a seeded one)",
    )
    parser.add_argument(
        "--customers", type=_count, default=20, metavar="N", help="how many share it (default 20)"
    )
    parser.add_argument("--limit", type=_count, metavar="N", help="only the first N rows")
    parser.add_argument("--data", metavar="DIR", help="keep the ledger in this new folder")
    parser.add_argument(
        "--triton",
        action="store_true",
        help="run the inferences through the gateway and a real Triton (`make triton` installs "
        "one), in real time: only the first 2000 rows, unless --limit says more",
    )
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="the same with Kafka in between (`make kafka`), two workers that settle from it and a "
        "projector; then inferences of mixed kinds, with Redis beside their gateway (`make "
        "redis`), counted by their models' own logs; all of it reconciled with Triton's own "
        "counters",
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= 10**8:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text[:9])


def run(args: argparse.Namespace) -> int:
    """Carry the demo out and report; exit 1 when a check found differences."""
    from rich.console import Console

    from entrypoints.demo.summary import document, show

    if args.customers > CUSTOMERS_MAX:
        raise Invalid.because("customers", args.customers, f"at most {CUSTOMERS_MAX}")
    way: Way = "cluster" if args.cluster else "triton" if args.triton else "trace"
    _check_installed(way)
    rows, source = _rows(args, way)
    with _folder(args.data) as folder:
        result = _demo(folder, rows, args.customers, way)
    result = result._replace(source=source, data=args.data)
    if args.json:
        print_json(document(result))
    else:
        show(result, Console())
    return EXIT_DONE if result.is_clean else EXIT_DIFFERENCES


def _check_installed(way: "Way") -> None:
    """Raise Unavailable where a server is missing, before anything is made."""
    if way != "trace":
        from entrypoints.demo import serving

        serving.installed()
    if way == "cluster":
        from entrypoints.demo import cluster

        cluster.installed()


def _rows(args: argparse.Namespace, way: "Way") -> "tuple[list[Row], str]":
    """Return the inferences that are wanted, and where they come from."""
    from entrypoints.demo.trace import read_trace, seeded_trace

    limit, bound = args.limit, ""
    if way != "trace" and limit is None:
        from entrypoints.demo.through_triton import LIMIT

        limit, bound = LIMIT, f", at most {LIMIT:,} rows of it (--limit says how many)"
    if args.trace:
        return read_trace(Path(args.trace), limit), f"trace {Path(args.trace).name}{bound}"
    return seeded_trace(limit), f"seeded workload (no --trace given){bound}"


@contextmanager
def _folder(data: str | None) -> Iterator[Path]:
    """Use the folder that was named, if it holds no ledger yet, or a temporary one."""
    from adapters.embedded_postgres.server import is_ledger_dir

    if data is None:
        with tempfile.TemporaryDirectory(
            prefix="tollbook-demo-", ignore_cleanup_errors=True
        ) as name:
            yield Path(name) / "ledger"
        return
    if is_ledger_dir(Path(data)):
        raise Invalid(f"{data} already holds a ledger: name a new folder", field="data", value=data)
    yield Path(data)


def _demo(folder: Path, rows: "list[Row]", customers: int, way: "Way") -> "Result":
    from entrypoints.bootstrap import open_database
    from entrypoints.cli.options import progress
    from entrypoints.settings import Settings

    with (
        open_database(Settings(data=folder)) as database,
        progress() as bars,
        _cluster(folder, way, bars) as cluster,
    ):
        label = "Reserve and settle" if way == "trace" else "Ask through Triton"
        advance = bars.start(label, len(rows))
        found, config = _main_job(database, rows, customers, advance, folder, way, cluster)
        if cluster is None:
            return _audited(database, found, bars)
        from entrypoints.cli.demo_cluster import mixed_on, reconciled_document
        from entrypoints.demo.through_triton import home_of

        assert config is not None
        told = reconciled_document(database, config, home_of(folder), bars)
        found = _audited(database, found._replace(reconciled=told), bars)
        return found._replace(mixed=mixed_on(database, cluster, bars))


@contextmanager
def _cluster(folder: Path, way: "Way", bars: "Bars") -> "Iterator[Cluster | None]":
    """Run the servers beside the ledger, where the demo is to have any."""
    if way != "cluster":
        yield None
        return
    from entrypoints.demo import cluster, kinds, through_triton
    from entrypoints.demo.processes import interruptible

    advance = bars.start("Start the cluster", cluster.STEPS)
    log = through_triton.model_log_of(folder)
    with interruptible(), cluster.running(folder, kinds.MODELS, log, advance) as running:
        yield running


def _main_job(
    database: "Database",
    rows: "list[Row]",
    customers: int,
    advance: Callable[[int], None],
    folder: Path,
    way: "Way",
    cluster: "Cluster | None",
) -> "tuple[Result, GatewayConfig | None]":
    """Run the job in the trace's time, or in real time through Triton and its gateway."""
    from entrypoints.bootstrap import license_desk, tollbook_on
    from entrypoints.cli.acting import reading
    from entrypoints.demo import job, licenses
    from entrypoints.demo.summary import Result
    from entrypoints.demo.trace import duration_seconds

    begin, end = (rows[0].at, rows[-1].at) if way == "trace" else (None, None)
    with tollbook_on(database, "trace" if way == "trace" else "database") as tollbook:
        desk = license_desk(database, reading(tollbook))
        keys = job.set_up(tollbook, desk, customers, begin)
        if way == "trace":
            ran: Ran | tuple[Outcome, None, float, None]
            ran = _in_its_time(tollbook, rows, customers, advance)
        else:
            from entrypoints.demo.through_triton import run as run_through

            ran = run_through(database, tollbook, rows, keys, folder, advance, cluster)
        outcome, counted, seconds, config = ran
        first = job.customer_id(0)
        revoked = licenses.revoke_one(tollbook, desk, first, job.MODEL, end)
        balances = {name: tollbook.balance(name) for name in outcome.customers}
        blocked = [name for name in balances if tollbook.balance_state(name).block is not None]
        position = tollbook.executor.position
    found = Result(
        inferences=len(rows),
        outcome=outcome,
        balances=balances,
        blocked=blocked,
        position=position,
        state_hash="",
        root="",
        audit={},
        seconds=seconds,
        trace_seconds=duration_seconds(rows),
        source="",
        revoked=revoked,
        data=None,
        counted=counted,
    )
    return found, config


def _in_its_time(
    tollbook: "Tollbook", rows: "list[Row]", customers: int, advance: Callable[[int], None]
) -> "tuple[Outcome, None, float, None]":
    """Run the job in the trace's time; no model counts anything, and there is no gateway."""
    from entrypoints.demo import job

    started = time.monotonic()
    outcome = job.run(tollbook, rows, customers, advance)
    return outcome, None, time.monotonic() - started, None


def _audited(database: "Database", found: "Result", bars: "Bars") -> "Result":
    from entrypoints.cli.audit import run_audit

    report = run_audit(database, bars=bars)
    return found._replace(audit=report.document(), root=report.root, state_hash=report.state_hash)
