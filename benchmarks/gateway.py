"""The gateway beside Triton itself: a model that does no work, everything on the same cores."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from adapters.event_store.store import PostgresEventStore
from adapters.redis.server import RedisServer
from adapters.triton.server import TritonServer
from benchmarks.bench import Bench
from benchmarks.gateway_load import MODEL
from benchmarks.machine import resident
from benchmarks.pairs import HOT
from entrypoints.bootstrap import license_desk, open_database, tollbook_on
from entrypoints.settings import Settings

AT_ONCE = 16
KINDS = {"1_p50": "p50_ms", f"{AT_ONCE}": "rate"}
"""What is measured: the median of one request after another, and how many there are at once."""
PROTOCOLS = ("grpc", "http")
CREW = 2
"""So many processes a gateway has where the cores bound how many inferences pass: one on each."""
BOOK = {
    "id": "default",
    "currency": "USD",
    "effective_from": "2020-01-01T00:00:00Z",
    "models": [{"name": MODEL, "prices": {"requests": "0.000001"}}],
}
CONFIG = """
[[pool]]
name = "shared"
grpc = "{grpc}"
http = "{http}"

[[model]]
name = "{model}"

[model.usage]
requests = {{ constant = 1 }}
"""
IN_PROCESS = """
[allowances]
in_process = true
"""


class Served(NamedTuple):
    """A Triton, the gateway in front of it, and the key to that."""

    triton: dict[str, str]
    gateway: dict[str, str]
    key: str
    process: int
    """The gateway's process id."""


def gateway(bench: Bench) -> dict[str, float]:
    """Measure both protocols, one request at a time and 16 at once, with and without.

    `gateway` holds money for each inference before it runs, `local` and `allowed` for many of them
    at once, by one process, without a Redis and with one; `crew` is the latter by several.
    """
    found: dict[str, float] = {}
    with serving() as served:
        for protocol in PROTOCOLS:
            for name, kind in KINDS.items():
                bare = driven(protocol, served.triton[protocol], "none", *_load(bench, name))
                found[f"triton_{protocol}_{name}"] = bare[kind]
        found |= _added(bench, served, "gateway") | _at_once(bench, served, "gateway")
    with serving(more=IN_PROCESS) as served:
        found |= _added(bench, served, "local") | _at_once(bench, served, "local")
    with (
        tempfile.TemporaryDirectory(prefix="tollbook-bench-redis-") as name,
        RedisServer(Path(name)) as redis,
    ):
        with serving("--redis", redis.url) as served:
            found |= _added(bench, served, "allowed") | _at_once(bench, served, "allowed")
        with serving("--redis", redis.url, "--processes", str(CREW)) as served:
            found |= _at_once(bench, served, "crew")
    return found


def _load(bench: Bench, name: str) -> tuple[int, int]:
    """Return how many requests are sent for a figure, and how many at once."""
    if name == "1_p50":
        return bench.sizes.inferences // 4, 1
    return bench.sizes.inferences, AT_ONCE


def _added(bench: Bench, served: Served, way: str) -> dict[str, float]:
    """Measure one request after another through a gateway, and what that adds to Triton alone.

    The same Triton is asked directly just before and just after: what is added is less than what
    a machine's minutes differ by.
    """
    found: dict[str, float] = {}
    load = _load(bench, "1_p50")
    for protocol in PROTOCOLS:
        direct, through = served.triton[protocol], served.gateway[protocol]
        asked = ((direct, "none"), (through, served.key), (direct, "none"))
        before, median, after = (driven(protocol, *each, *load)["p50_ms"] for each in asked)
        found[f"{way}_{protocol}_1_p50"] = median
        found[f"{way}_{protocol}_added"] = median - (before + after) / 2
    return found


def _at_once(bench: Bench, served: Served, way: str) -> dict[str, float]:
    """Measure many requests at once through a gateway."""
    found: dict[str, float] = {}
    for protocol in PROTOCOLS:
        load = _load(bench, f"{AT_ONCE}")
        rate = driven(protocol, served.gateway[protocol], served.key, *load)["rate"]
        found[f"{way}_{protocol}_{AT_ONCE}"] = rate
    return found


def gateway_memory(bench: Bench) -> dict[str, float]:
    """Measure how much memory many requests leave behind, once the ledger's caches are full.

    Those are bounded, and three tenths of the requests fill them.
    """
    count = bench.sizes.remembered
    with serving() as served:
        driven("grpc", served.gateway["grpc"], served.key, count * 3 // 10, AT_ONCE)
        before = resident(served.process)
        for protocol in PROTOCOLS:
            driven(protocol, served.gateway[protocol], served.key, count * 35 // 100, AT_ONCE)
        return {"gateway_memory_growth": (resident(served.process) - before) / 1e6}


@contextmanager
def serving(*options: str, more: str = "") -> Iterator[Served]:
    """Start a Triton with one model, and a gateway with a ledger of its own in front of it.

    `more` is what its file says besides.
    """
    with tempfile.TemporaryDirectory(prefix="tollbook-bench-gateway-") as name:
        folder = Path(name)
        (folder / "triton").mkdir()
        data = folder / "ledger"
        key = licensed_ledger(data)
        with TritonServer(folder / "triton", models=(MODEL,)) as triton:
            config = folder / "gateway.toml"
            addresses = {"grpc": triton.grpc_address, "http": triton.http_address}
            config.write_text(CONFIG.format(**addresses, model=MODEL) + more, encoding="utf-8")
            with _gateway(config, data, options) as (found, process):
                yield Served(addresses, found, key, process)


def licensed_ledger(data: Path) -> str:
    """Make a ledger with one customer and a licence; return the licence's key."""
    with open_database(Settings(data=data)) as database, tollbook_on(database) as tollbook:
        tollbook.publish(BOOK).result()
        customer = {"id": HOT, "name": "Bench", "currency": "USD"}
        grant = {"id": "grant", "customer": HOT, "kind": "paid", "amount": "1000000"}
        license = {
            "id": "lic-1",
            "customer": HOT,
            "template": "enterprise",
            "overrides": {"pool": "shared"},
        }
        tollbook.run("create_customer", customer).result()
        tollbook.run("issue_grant", grant).result()
        with closing(PostgresEventStore(database.app_url)) as store:
            prepared = license_desk(database, store).prepare("issue_license", license, store)
        tollbook.run("issue_license", prepared.body).result()
        assert prepared.new_key is not None
        return prepared.new_key


@contextmanager
def _gateway(
    config: Path, data: Path, options: Sequence[str]
) -> Iterator[tuple[dict[str, str], int]]:
    ports = ("--grpc-port", "0", "--http-port", "0", "--json")
    command = [sys.executable, "-m", "tollbook", "gateway", "--config", str(config), *ports]
    with subprocess.Popen(
        [*command, "--data", str(data), *options], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline()), process.pid
            process.terminate()
            process.wait(60)
        finally:
            process.kill()


def driven(protocol: str, address: str, key: str, count: int, at_once: int) -> dict[str, Any]:
    """Run the load in a process of its own and return what it says."""
    command = ["-m", "benchmarks.gateway_load", protocol, address, key, str(count), str(at_once)]
    done = subprocess.run(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True, timeout=1800
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
