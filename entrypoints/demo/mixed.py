"""Inferences of mixed kinds on the demo's cluster, through a gateway that is a process of its own.

It runs the configuration that docker-compose.yml gives to its gateway, with another address.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import uvloop

from adapters import sample_log
from application.license_desk import LicenseDesk
from application.tollbook import Tollbook
from domain.command import Command
from domain.commands import CreateCustomer, IssueGrant, PublishPrices
from domain.pricebook import publication_id
from domain.pricebook_format import PriceBookBody
from domain.values import PICO
from entrypoints.demo import job, licenses
from entrypoints.demo.cluster import Cluster
from entrypoints.demo.kinds import KINDS, PRICES, Kind
from entrypoints.demo.mixed_asking import ask_all
from entrypoints.demo.mixed_counting import (
    Counted,
    all_ended,
    counted,
    ledgered,
    read_logs,
    unclaimed,
)
from entrypoints.gateway.config import GatewayConfig, read_config
from entrypoints.gateway.sampling import counters_of

EACH = 40
"""So many inferences of each kind."""
GRANT = 100 * PICO

_CONFIG = Path(__file__).with_name("gateway.toml")
_GRPC, _HTTP = '"triton:8001"', '"triton:8000"'


class Ran(NamedTuple):
    """What came of it, and through which gateway."""

    kinds: list[Counted]
    unclaimed: int
    """Inferences that models ran and nobody had been asked for."""
    from_allowances: int
    """Inferences that a slice paid for, which Redis had handed out."""
    config: GatewayConfig
    home: Path
    """Where the gateway has written down what it did."""


def run(
    tollbook: Tollbook,
    desk: LicenseDesk,
    cluster: Cluster,
    log: Path,
    advance: Callable[[int], None],
) -> Ran:
    """Have every kind of inference run and settled, and count what the models say they did."""
    keys = _set_up(tollbook, desk)
    path = cluster.ledger / "gateway.toml"
    path.write_text(_configuration(cluster), "utf-8")
    config = read_config(path)
    before, began = read_logs(log), time.time_ns() // 1000
    with cluster.gateway(path) as found:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            answered_as = runner.run(ask_all(found, keys, EACH, advance))
        cluster.wait(lambda: all_ended(tollbook))
    # The gateway has stopped by now, and has taken its last sample of Triton's counters.
    home = cluster.ledger / "gateway" / config.name
    notes = sample_log.notes(counters_of(home), began, time.time_ns() // 1000)
    ledger = {kind: ledgered(tollbook, kind, notes) for kind in KINDS}
    logs = read_logs(log)
    return Ran(
        counted(ledger, logs, EACH, answered_as),
        unclaimed(ledger, logs, before),
        sum(len(each.in_parts) + len(each.free) for each in ledger.values()),
        config,
        home,
    )


def _set_up(tollbook: Tollbook, desk: LicenseDesk) -> dict[Kind, str]:
    """Price the models, and give each kind a customer with money and a licence; return its key."""
    # The book of the trace, and more models: what was in force stays as it is.
    models = [*job.BOOK["models"], *({"name": name, "prices": PRICES[name]} for name in PRICES)]
    later = {"effective_from": "2000-01-02T00:00:00Z", "models": models}
    book = PriceBookBody.model_validate({**job.BOOK, **later})
    name = publication_id(book.id, book.effective_from)
    job.carry_out(tollbook, [PublishPrices(id=name, book=book)], None)
    commands: list[Command] = []
    for kind in KINDS:
        body = {"id": kind.customer, "name": f"Asks for {kind.told}", "currency": job.CURRENCY}
        sealed = tollbook.sealed("create_customer", body)["name_sealed"]
        made = CreateCustomer(id=kind.customer, name_sealed=sealed, currency=job.CURRENCY)
        grant = IssueGrant(id=f"grant-{kind.id}", customer=kind.customer, amount=GRANT, kind="paid")
        commands += (made, grant)
    issued = {
        kind: licenses.issue(tollbook, desk, f"lic-{kind.id}", kind.customer) for kind in KINDS
    }
    commands += (command for command, _ in issued.values())
    job.carry_out(tollbook, commands, None)
    return {kind: key for kind, (_, key) in issued.items()}


def _configuration(cluster: Cluster) -> str:
    """Return the gateway's configuration, with the address of this cluster's Triton."""
    text = _CONFIG.read_text("utf-8")
    assert text.count(_GRPC) == text.count(_HTTP) == 1
    text = text.replace(_GRPC, f'"{cluster.triton.grpc_address}"')
    return text.replace(_HTTP, f'"{cluster.triton.http_address}"')
