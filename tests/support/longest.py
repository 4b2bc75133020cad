"""The longest files: they come first, and a developer's run of everything takes a part of them."""

from pathlib import Path

import pytest

from tests.support.sizes import all_or

LONGEST = (
    *("faults/test_stream_outages.py", "faults/test_hostile_values.py"),
    *("http/test_schemathesis.py", "e2e/test_stream_trace.py", "faults/test_gateway_kills.py"),
    *("model/test_licensed_model.py", "model/test_ledger_model.py"),
    *("gateway/test_gateway_memory.py", "faults/test_stream_failing_batches.py"),
    *("streams/test_scoring_beside.py", "gateway/test_reconciliation.py", "e2e/test_serve.py"),
    *("integration/test_triton_server.py", "faults/test_allowances.py"),
    *("e2e/test_demo.py", "e2e/test_demo_cluster.py", "e2e/test_secured_stream.py"),
    *("e2e/test_licensing_page.py", "gateway/test_allowances_redis.py"),
    *("faults/test_gateway_pipeline_kills.py", "faults/test_allowances_kills.py"),
    *("e2e/test_stream_cluster.py", "e2e/test_demo_triton.py"),
    "gateway/test_mixed_inferences.py",
    *("../sdk/tests/test_recompute.py", "faults/test_serve_without_postgres.py"),
    *("integration/test_embedded_postgres.py", "faults/test_gateway_without_its_ledger.py"),
    *("gateway/test_recovery.py", "faults/test_stream_kills.py", "faults/test_outage_policy.py"),
    *("integration/test_kafka_server.py", "http/test_hostile_connections.py"),
    *("gateway/test_allowances_recovered.py", "faults/test_stream_rebalances.py"),
    *("integration/test_bench_quick.py", "faults/test_kill_the_writer.py"),
    *("model/test_admission_oracle.py", "domain/test_fraud_page.py"),
    *("integration/test_passwords_in_options.py", "faults/test_redis_faults.py"),
    *("integration/test_projector_shares.py", "e2e/test_cli_prices.py"),
    *("gateway/test_http_connections.py", "gateway/test_http_hostile.py"),
    *("faults/test_lost_acknowledgements.py", "e2e/test_gateway_page.py"),
    *("e2e/test_cli_processes.py", "integration/test_third_party_deaths.py"),
    *("e2e/test_cli_license.py", "faults/test_overload_and_deadlines.py"),
    *("faults/test_disk_full.py", "e2e/test_api_tour.py", "e2e/test_pipelines_page.py"),
)
"""Files that come first: if a long one began last, one process would work and all others wait."""

PART = 8
"""So many of them are in a run of everything that is not in full."""
_TESTS = Path(__file__).parents[1]


def taken() -> list[str]:
    """Return the files that a run of everything takes: all in CI, else some by the run's seed."""
    return all_or(PART, LONGEST)


def said() -> list[str]:
    """Say for the head of a run which of them a run of everything takes, unless it is all."""
    some = taken()
    if len(some) == len(LONGEST):
        return []
    return [f"of the {len(LONGEST)} longest files, by chance (CI takes all): {', '.join(some)}"]


def order(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first, in their order, and leave out those that are not taken.

    Nothing is left out of a run that was asked for some of them alone.
    """
    places = {(_TESTS / name).resolve(): place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    found = places.keys() & {item.path for item in items}
    if len(found) < len(places):
        return
    kept = {(_TESTS / name).resolve() for name in taken()}
    config.hook.pytest_deselected(
        items=[item for item in items if item.path in places.keys() - kept]
    )
    items[:] = [item for item in items if item.path not in places or item.path in kept]
