"""Which read models there are: each build fills the tables of every one of them."""

import hashlib
from collections.abc import Sequence

from domain.state import STATE_VERSION
from projections import checkpoint, states, transparency_log
from projections.balances import Balances
from projections.charges import Charges
from projections.decisions import Decisions
from projections.devices import Devices
from projections.fraud_cases import FraudCases
from projections.journal import Journal
from projections.licenses import Licenses
from projections.model import ReadModel
from projections.parked import ParkedUsage
from projections.reservations import Reservations
from projections.seats import Seats
from projections.usage import Usage

Models = Sequence[ReadModel]

MODELS: tuple[type[ReadModel], ...] = (
    Balances,
    Reservations,
    Charges,
    Usage,
    Journal,
    ParkedUsage,
    Licenses,
    Devices,
    Seats,
    Decisions,
    FraudCases,
)
"""In the order in which they are written."""

OWN_TABLES = checkpoint.TABLES + states.TABLES + transparency_log.TABLES
"""What the runner itself keeps."""


def new_models() -> list[ReadModel]:
    """Return one of each model, with nothing collected yet."""
    return [model() for model in MODELS]


def fingerprint(models: Models) -> str:
    """Return what tells builds apart whose tables, or whose rows, have another meaning."""
    parts = [str(STATE_VERSION), OWN_TABLES]
    parts += [f"{model.NAME} {model.VERSION} {model.TABLES}" for model in models]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
