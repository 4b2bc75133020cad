"""What the demo on a cluster asks of other commands: to run mixed kinds, reconcile and audit."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entrypoints.bootstrap import Database
    from entrypoints.cli.options import Bars
    from entrypoints.demo.cluster import Cluster
    from entrypoints.demo.mixed_summary import Mixed
    from entrypoints.gateway.config import GatewayConfig


def reconciled_document(
    database: "Database", config: "GatewayConfig", home: Path, bars: "Bars"
) -> dict[str, Any]:
    """Return what `tollbook reconcile triton` would say of a gateway's whole life."""
    from contextlib import closing

    from adapters import sample_log
    from adapters.event_store.store import PostgresEventStore
    from domain.reconciliation import reconciled
    from domain.server_counters import counted
    from entrypoints.cli.reconcile import noted, sold
    from entrypoints.cli.reconcile_tables import document_of
    from entrypoints.gateway.sampling import counters_of
    from entrypoints.projecting import catch_up
    from projections.checkpoint import lag
    from projections.inferences import ended

    samples = list(sample_log.read(counters_of(home)))
    counts = counted(samples)
    with closing(PostgresEventStore(database.app_url)) as store:
        position = store.head().position
        behind = lag(store.run)["events_behind"]
        catch_up(database, position, bars.start("Project", behind))
        found = ended(store.run, (config.name,), samples[0], samples[-1], counts.unseen)
    found += noted(home.parent, (config.name,), samples[0], samples[-1])
    return document_of(reconciled(counts, found, sold(config)), samples, counts, position)


def mixed_on(database: "Database", cluster: "Cluster", bars: "Bars") -> "Mixed":
    """Have inferences of mixed kinds run, reconcile them, and audit all that the ledger has."""
    from entrypoints.bootstrap import license_desk, tollbook_on
    from entrypoints.cli.acting import reading
    from entrypoints.cli.audit import run_audit
    from entrypoints.demo import kinds, mixed
    from entrypoints.demo.mixed_summary import Mixed
    from entrypoints.demo.through_triton import model_log_of

    advance = bars.start("Ask in mixed ways", mixed.EACH * len(kinds.KINDS))
    with tollbook_on(database) as tollbook:
        desk = license_desk(database, reading(tollbook))
        ran = mixed.run(tollbook, desk, cluster, model_log_of(cluster.ledger), advance)
    told = reconciled_document(database, ran.config, ran.home, bars)
    report = run_audit(database, bars=bars)
    return Mixed(
        ran.kinds,
        ran.unclaimed,
        ran.from_allowances,
        told,
        report.position,
        report.root,
        report.state_hash,
        report.document(),
    )
