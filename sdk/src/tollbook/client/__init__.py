"""A client of a Tollbook server, blocking and asynchronous: exact money, and one effect per id.

Every command gets its id before the first try, and every further try repeats it; so a lost answer,
a busy server or a cut connection never holds, charges or grants twice. It needs the extra `http`:
`pip install 'tollbook[http]'`. Both clients are thin; all that they decide is in `retrying`.
"""

from tollbook.client.asynchronous import AsyncClient
from tollbook.client.blocking import Client
from tollbook.client.inferring import AsyncInference, BlockingInference
from tollbook.client.license_results import (
    LeaseGranted,
    License,
    LicenseIssued,
    SeatReturned,
    SigningKey,
    Trial,
    Validation,
)
from tollbook.client.model_results import (
    Model,
    ModelInShort,
    ModelRegistered,
    ModelVersion,
    ModelVersionDone,
    Provenance,
)
from tollbook.client.money import Money
from tollbook.client.pipeline_results import (
    Pipeline,
    PipelineDone,
    PipelineReleased,
    PipelineReservation,
    PipelineReserved,
    PipelineSettled,
    Stage,
    StageCost,
    StageHeld,
    StageReleased,
    StageReservation,
)
from tollbook.client.record_calls import UsageRecord
from tollbook.client.results import (
    Balance,
    CommandResult,
    Customer,
    CustomerDone,
    Event,
    GrantIssued,
    Hold,
    PricesPublished,
    PriceVersion,
    Quote,
    Released,
    Reservation,
    Settlement,
    UsageResult,
)

__all__ = [
    "AsyncClient",
    "AsyncInference",
    "Balance",
    "BlockingInference",
    "Client",
    "CommandResult",
    "Customer",
    "CustomerDone",
    "Event",
    "GrantIssued",
    "Hold",
    "LeaseGranted",
    "License",
    "LicenseIssued",
    "Model",
    "ModelInShort",
    "ModelRegistered",
    "ModelVersion",
    "ModelVersionDone",
    "Money",
    "Pipeline",
    "PipelineDone",
    "PipelineReleased",
    "PipelineReservation",
    "PipelineReserved",
    "PipelineSettled",
    "PriceVersion",
    "PricesPublished",
    "Provenance",
    "Quote",
    "Released",
    "Reservation",
    "SeatReturned",
    "Settlement",
    "SigningKey",
    "Stage",
    "StageCost",
    "StageHeld",
    "StageReleased",
    "StageReservation",
    "Trial",
    "UsageRecord",
    "UsageResult",
    "Validation",
]
