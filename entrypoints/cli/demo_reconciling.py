"""The demo's reconciliation: what was charged, against the counters of the Triton that ran it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entrypoints.bootstrap import Database
    from entrypoints.cli.options import Bars
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
    from entrypoints.cli.reconcile import sold
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
    return document_of(reconciled(counts, found, sold(config)), samples, counts, position)
