"""Golden stored events: one file per event and version, which must be readable for ever.

`python -m tests.compat.golden_events` writes the files that are missing, from the examples here.
It never touches one that exists: a file that no longer passes means that stored history would no
longer be read, so the code is what has to change.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from tollbook import canonical

from adapters.event_store.mapper import decode, leaf_hash
from domain.event import EVENT_TYPES, Recorded
from tests.compat.example_values import DECISION, FACTS, NOON, NOON_US, PARTS, TEXT, USAGE
from tests.compat.inference_examples import INFERENCE_EXAMPLES
from tests.compat.license_examples import LICENSE_EXAMPLES
from tests.compat.pipeline_examples import PIPELINE_EXAMPLES

FOLDER = Path(__file__).parent / "events"

TIER = {"cached_input": "2.5", "input": "10", "output": "30", "up_to": 1_000_000}
MODEL: dict[str, Any] = {
    "max_output_tokens": 16384,
    "name": "gpt4-equivalent",
    "prices": {"images": "0.01"},
    "tiers": [TIER, {"input": "5", "output": "15"}],
}
_CHARGE = {
    "charged": "1.000037500000",
    "credit": "0.000000000000",
    "customer": "cust-1",
    "from_balance": "1.000037500000",
    "grants": PARTS,
    "model": "gpt4-equivalent",
    "occurred_at": NOON,
    "period": "2024-05",
    "price_book": "default",
    "price_version": 1,
    "receivable": "0.000000000000",
    "source": TEXT,
    "usage": USAGE,
    "volume": 0,
}
_RECORD = {"license": "lic-1", "request_hash": "0a" * 32, "response_hash": "f9" * 32}
"""What a usage record adds to a charge."""
_HELD = {
    "credit": "-0.500000000000",
    "customer": "cust-1",
    "estimate": USAGE,
    "expires_at": NOON,
    "grants": PARTS,
    "held": "1.000037500000",
    "reservation": "r-1",
    "ttl_seconds": 300,
}
_TERMS = {
    "credit_limit": "5.000000000000",
    "customer": "cust-1",
    "name_sealed": "c2VhbGVk",
    "plan": "standard",
    "price_book": "default",
    "time_zone": "Europe/Lisbon",
}

EXAMPLES: dict[tuple[str, int], dict[str, Any]] = {
    ("customer_created", 1): {**_TERMS, "currency": "USD"},
    ("customer_changed", 1): _TERMS,
    ("grant_issued", 1): {
        "amount": "10000.000000000000",
        "customer": "cust-1",
        "expires_at": NOON,
        "grant": "grant-1",
        "kind": "promotional",
        "models": ["gpt4-equivalent", "org/model@1"],
        "overdraft_repaid": "0.000000000001",
        "priority": 100,
    },
    ("grants_expired", 1): {"customer": "cust-1", "grants": PARTS},
    ("holds_expired", 1): {"customer": "cust-1", "holds": [["r-1", "0.000037500000"]]},
    ("reservation_held", 1): {**_HELD, "license": "lic-1", "model": "gpt4-equivalent"},
    ("reservation_extended", 1): _HELD,
    ("reservation_settled", 1): {
        **_CHARGE,
        **_RECORD,
        "final": True,
        "record": TEXT,
        "released": "0.000000000000",
        "reservation": "r-1",
    },
    ("reservation_released", 1): {
        "customer": "cust-1",
        "reason": TEXT,
        "released": "0.000037500000",
        "reservation": "r-1",
    },
    ("usage_charged", 1): {**_CHARGE, **_RECORD, "record": TEXT},
    ("usage_parked", 1): {
        "body": {"model": "none", "occurred_at": NOON, "usage": USAGE, **_RECORD},
        "code": "unknown_model",
        "customer": "cust-1",
        "detail": TEXT,
        "facts": {"model": "none", "price_book": "default"},
        "parked": "0a" * 16,
        "record": TEXT,
        "source": TEXT,
    },
    ("usage_released", 1): {
        "charged": "1.000037500000",
        "customer": "cust-1",
        "from_balance": "1.000037500000",
        "grants": PARTS,
        "parked": "0a" * 16,
        "price_book": "default",
        "price_version": 1,
        "receivable": "0.000000000000",
        "record": TEXT,
        "released": "0.000000000000",
        "source": TEXT,
    },
    ("prices_published", 1): {
        "book": "default",
        "currency": "USD",
        "effective_from": NOON,
        "models": [MODEL],
        "version": 1,
    },
    ("min_reader_raised", 1): {"reader": 1},
    ("account_blocked", 1): {
        "customer": "cust-1",
        "occurred_at": NOON,
        "recent": 1001,
        "rule": 1,
        "total": 1200,
        "windows": 287,
    },
    ("account_unblocked", 1): {"customer": "cust-1", "reason": TEXT},
    ("fraud_flagged", 1): {
        "case": "cust-1.2",
        "customer": "cust-1",
        "reason": TEXT,
        "rule": 1,
        "score": 70,
        "seen": 12,
        "signs": [["machines", 40], ["odd_hours", 30]],
    },
    ("fraud_cleared", 1): {
        "case": "cust-1.2",
        "customer": "cust-1",
        "reason": TEXT,
        "unblocked": True,
    },
    ("fraud_confirmed", 1): {"case": "cust-1.2", "customer": "cust-1", "reason": TEXT},
    ("caps_set", 1): {
        "caps": [
            {"calendar": "day", "id": "daily", "limit": 1000, "unit": "requests"},
            {
                "id": "hourly",
                "limit": "1.5",
                "models": ["gpt4-equivalent", "org/model@1"],
                "rolling_seconds": 3600,
                "unit": "gpu_seconds",
            },
        ],
        "customer": "cust-1",
    },
    ("model_registered", 1): {"model": "org/model@1"},
    ("model_version_released", 1): {
        "digest": "0a" * 32,
        "model": "org/model@1",
        "provenance": [
            {"digest": "f9" * 32, "name": "ml_bom", "standing": "verified", "value": TEXT},
            {"digest": "0a" * 32, "name": "ml_bom.weights", "standing": "verified"},
            {"name": "certification", "standing": "declared", "value": TEXT},
        ],
        "released_at": NOON,
        "version": "4.1.0-rc.1+build.7",
    },
    ("model_version_yanked", 1): {"model": "org/model@1", "reason": TEXT, "version": "4.1.0"},
    ("export_list_published", 1): {"countries": ["KP", "SY"], "note": TEXT, "version": 2},
    ("command_refused", 1): {
        "body": {"customer": "cust-1", "estimate": {"requests": 1}, "model": "none"},
        "code": "unknown_model",
        "customer": "cust-1",
        "detail": TEXT,
        "facts": {"available": {"amount": "0.000000000000", "currency": "USD"}, "model": "none"},
        "kind": "reserve",
        "scope": "cust-1",
    },
    **LICENSE_EXAMPLES,
    **INFERENCE_EXAMPLES,
    **PIPELINE_EXAMPLES,
}

LICENSED = "license"
SEVERAL = "inferences"
_SETTLED = EXAMPLES["reservation_settled", 1]
ADDED: dict[tuple[str, int, str], dict[str, Any]] = {
    ("reservation_held", 1, LICENSED): {
        **EXAMPLES["reservation_held", 1],
        "decision": DECISION,
        "facts": FACTS,
        "license_key": "0a" * 16,
        "request_hash": "f9" * 32,
    },
    ("reservation_extended", 1, LICENSED): {**_HELD, "decision": DECISION},
    ("reservation_settled", 1, LICENSED): {**_SETTLED, "licensed": "lic-1"},
    ("reservation_held", 1, SEVERAL): {**EXAMPLES["reservation_held", 1], "inferences": 50},
    ("reservation_settled", 1, SEVERAL): {**_SETTLED, "final": False, "inference": True},
}
"""(event, version, what came): fields that came after the version's first file was written.

They may be absent, so the version is the same; the first file holds them not, and stays.
"""


class Golden(NamedTuple):
    """A stored event as a file keeps it: the envelope, the payload's text, the leaf hash."""

    envelope: list[Any]
    data: str
    leaf: str

    def recorded(self) -> Recorded:
        """Read the event as the event store does."""
        name, version = self.envelope[1:3]
        return Recorded._make([*self.envelope, decode(name, version, self.data)])


def path_of(name: str, version: int, added: str = "") -> Path:
    """Return the file of an event and version, or of what was added to them later."""
    return FOLDER / (f"{name}.{version}.{added}.json" if added else f"{name}.{version}.json")


def paths_of(name: str, version: int) -> list[Path]:
    """Return every file of an event and version."""
    later = [path_of(*key) for key in ADDED if key[:2] == (name, version)]
    return [path_of(name, version), *later]


def key_of(path: Path) -> tuple[str, int]:
    """Return the event and version that a file is of."""
    name, version, *_ = path.stem.split(".")
    return name, int(version)


def read(path: Path) -> list[Golden]:
    """Return the stored events of a file: with every optional field, and with none."""
    return [Golden(**each) for each in json.loads(path.read_text(encoding="utf-8"))]


def make(name: str, version: int, added: str = "") -> list[Golden]:
    """Store an event's example with all its fields, and without those that may be absent."""
    if added:
        return [_store(name, version, ADDED[name, version, added])]
    cls: Any = EVENT_TYPES[name, version]
    full = EXAMPLES[name, version]
    optional = {
        field for field in full if getattr(cls.__dataclass_fields__[field], "default", 0) is None
    }
    least = {field: value for field, value in full.items() if field not in optional}
    return [_store(name, version, payload) for payload in ([full, least] if optional else [full])]


def _store(name: str, version: int, payload: dict[str, Any]) -> Golden:
    data = canonical.dumps(payload)
    event = decode(name, version, data)
    customer = payload.get("customer")
    sequence = None if customer is None else 3
    envelope: list[Any] = [
        7,
        name,
        version,
        event.stream(),
        2,
        customer,
        sequence,
        TEXT,
        "cause",
        None,
    ]
    envelope += ["tester", NOON_US - 1, NOON_US]
    recorded = Recorded._make([*envelope, event])
    return Golden(envelope, data.decode(), leaf_hash(recorded, data).hex())


def write_missing() -> list[Path]:
    """Write the files that are not there yet and return their paths."""
    keys = [*((*key, "") for key in EVENT_TYPES), *ADDED]
    missing = [(path_of(*key), key) for key in keys if not path_of(*key).exists()]
    for path, key in missing:
        golden = [each._asdict() for each in make(*key)]
        path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [path for path, _ in missing]


if __name__ == "__main__":
    for written in write_missing():
        print(f"wrote {written.name}")
