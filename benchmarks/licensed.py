"""Licences: pairs under one, validations that find nothing in memory, tokens that are verified."""

import subprocess
import sys
import time
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tollbook import lease
from tollbook.tokens import SigningKey, TrustedKeys

from application.tollbook import Tollbook
from benchmarks.bench import COMMANDS_PER_BATCH, Bench, customer_names, set_up
from benchmarks.load import ESTIMATE, in_flight
from benchmarks.pairs import HOT, HOT_AT_ONCE
from domain.commands import Reserve, parse
from domain.values import SECOND
from entrypoints.bootstrap import tollbook_on
from entrypoints.demo.job import MODEL

LICENSE = "lic-00000000"
LIMITS = [
    {"id": "rate", "unit": "requests", "limit": 10**9, "per": "minute"},
    {"id": "tokens", "unit": "output_tokens", "limit": 10**15, "per": "period"},
]
NOW = 1_767_323_045 * SECOND


def key_hash(number: int) -> str:
    """Return the keyed hash of a licence's key, as the edge hands it on."""
    return f"{number:032x}"


KEY_HASH = key_hash(0)


def issue(tollbook: Tollbook, licenses: Sequence[tuple[str, str]]) -> None:
    """Issue licences of the professional tier with two limits, each as (id, customer)."""
    terms = {"template": "professional", "overrides": {"limits": LIMITS}, "key_hint": "abcd"}
    commands = [
        parse(
            "issue_license",
            {"id": name, "customer": customer, "key_hash": key_hash(number), **terms},
        )
        for number, (name, customer) in enumerate(licenses)
    ]
    for start in range(0, len(commands), COMMANDS_PER_BATCH):
        batch = commands[start : start + COMMANDS_PER_BATCH]
        for answer in tollbook.executor.execute(batch, timeout=120):
            answer.result()


def licensed_512(bench: Bench) -> dict[str, float]:
    """Measure what `hot_512` does, with each reserve under a licence and its key."""

    def reserve(name: str, customer: str) -> Reserve:
        return Reserve(
            id=name,
            customer=customer,
            model=MODEL,
            estimate=ESTIMATE,
            license=LICENSE,
            license_key=KEY_HASH,
        )

    with bench.fresh_ledger([HOT]) as tollbook:
        issue(tollbook, [(LICENSE, HOT)])
        timed = in_flight(tollbook.executor, [HOT], bench.sizes.pairs, HOT_AT_ONCE, reserve)
    return {"licensed_pairs_512": timed.rate}


def validate_cold(bench: Bench) -> dict[str, float]:
    """Measure validations of many licences by a new process, which has none in memory."""
    customers = customer_names(bench.sizes.customers)
    licenses = [
        (f"lic-{number:08d}", customers[number % len(customers)])
        for number in range(bench.sizes.licenses)
    ]
    with bench.fresh_database() as name:
        database = bench.database(name)
        with tollbook_on(database) as tollbook:
            set_up(tollbook, customers)
            issue(tollbook, licenses)
        with bench.as_super(name) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")
        counts = (str(len(licenses)), str(bench.sizes.validations))
        command = (sys.executable, "-m", "benchmarks.validating")
        outcome = subprocess.run(
            [*command, database.owner_url, database.app_url, *counts],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return {"license_validate_cold": float(outcome.stdout)}


def lease_verify(bench: Bench) -> dict[str, float]:
    """Measure how long a customer's machine takes to verify a lease, in milliseconds."""
    key, holder = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32))), bytes(range(32))
    made = lease.Lease(
        id="lease-1",
        license=LICENSE,
        customer=HOT,
        model=MODEL,
        holder=lease.thumbprint(holder),
        policy="professional:0:0",
        issued_at=NOW,
        expires_at=NOW + 300 * SECOND,
        features=("batch", "streaming"),
    )
    token, trusted = lease.sign(made, key), TrustedKeys([key.public_key])
    begin = time.perf_counter()
    for _ in range(bench.sizes.tokens):
        lease.verify(token, trusted, holder, NOW, license=LICENSE, model=MODEL)
    return {"lease_verify": (time.perf_counter() - begin) / bench.sizes.tokens * 1000}
