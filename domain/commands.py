"""Every command, as a frozen value that cannot exist unless each of its fields is valid.

Fields are checked when the object is made, by pydantic; `parse` makes one from a JSON body and
raises `tollbook.errors.Invalid` naming the field, the value and the rule.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, field_validator
from pydantic.dataclasses import dataclass
from tollbook.errors import Invalid

from domain.cap import Caps
from domain.command import CONFIG, Command, in_key_order, read
from domain.facts import FactsBody
from domain.fraud_commands import FRAUD_COMMANDS
from domain.holds import INFERENCES_MAX, INFERENCES_MIN, TTL_MAX_SECONDS
from domain.license_commands import LICENSE_COMMANDS
from domain.license_events import KeyHash
from domain.pipeline_commands import PIPELINE_COMMANDS
from domain.pricebook_format import PriceBookBody
from domain.registry_commands import (
    PublishExportList,
    RegisterModel,
    ReleaseModelVersion,
    YankModelVersion,
)
from domain.reservation import of_all
from domain.units import QUANTITY_MAX, Usage
from domain.values import (
    Amount,
    Currency,
    Digest,
    Id,
    InstantIn,
    KeyText,
    Name,
    ParkedId,
    Sealed,
    Text,
    ZoneName,
)


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class CreateCustomer(Command):
    """Bring a customer into being; the name arrives sealed."""

    KIND: ClassVar[str] = "create_customer"
    id: Id
    name_sealed: Sealed
    currency: Currency
    credit_limit: Amount = 0
    time_zone: ZoneName = "UTC"
    price_book: Id = "default"
    plan: Id = "standard"


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ChangeCustomer(Command):
    """Change the terms of a customer; absent fields stay."""

    KIND: ClassVar[str] = "change_customer"
    id: Id
    customer: Id
    name_sealed: Sealed | None = None
    credit_limit: Amount | None = None
    time_zone: ZoneName | None = None
    price_book: Id | None = None
    plan: Id | None = None
    currency: Currency | None = None
    """Given, it must be the one that the customer has for ever: a check, not a change."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class IssueGrant(Command):
    """Put money at a customer's disposal."""

    KIND: ClassVar[str] = "issue_grant"
    id: Id
    customer: Id
    amount: Amount
    kind: Literal["paid", "promotional"]
    priority: int = Field(default=100, ge=0, le=1_000_000)
    expires_at: InstantIn | None = None
    models: tuple[Name, ...] | None = Field(default=None, min_length=1, max_length=100)
    currency: Currency | None = None
    """Given, it must be the customer's: a check, not a choice."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class PublishPrices(Command):
    """Publish a version of a price book; its id is `BOOK:INSTANT`."""

    KIND: ClassVar[str] = "publish_prices"
    id: KeyText
    book: PriceBookBody


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Reserve(Command):
    """Hold the money for an inference, or for several; the reservation takes the command's id."""

    KIND: ClassVar[str] = "reserve"
    id: Id
    customer: Id
    model: Name
    estimate: Usage
    ttl_seconds: int | None = Field(default=None, ge=1, le=TTL_MAX_SECONDS)
    license: Id | None = None
    license_key: KeyHash | None = None
    facts: FactsBody | None = None
    request_hash: Digest | None = None
    inferences: int | None = Field(default=None, ge=INFERENCES_MIN, le=INFERENCES_MAX)
    """For how many inferences, each of which the estimate bounds; absent: for one."""

    def __post_init__(self) -> None:
        """Refuse more inferences than can be counted."""
        if self.inferences is None:
            return
        for unit, units in of_all(self.estimate, self.inferences).items():
            if units > QUANTITY_MAX:
                rule = f"so few that {unit} is {QUANTITY_MAX} base units in all at most"
                raise Invalid.because("inferences", self.inferences, rule)


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Extend(Command):
    """Add units or time to a hold while the inference runs."""

    KIND: ClassVar[str] = "extend"
    id: Id
    reservation: Id
    estimate: Usage | None = None
    ttl_seconds: int | None = Field(default=None, ge=1, le=TTL_MAX_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Settle(Command):
    """Charge what was really used."""

    KIND: ClassVar[str] = "settle"
    id: KeyText
    reservation: Id
    usage: Usage
    occurred_at: InstantIn | None = None
    final: bool = True
    request_hash: Digest | None = None
    response_hash: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Release(Command):
    """Give a hold back without usage."""

    KIND: ClassVar[str] = "release"
    id: Id
    reservation: Id
    reason: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ChargeUsage(Command):
    """Charge a usage record (source, id): on its reservation, or directly without one."""

    KIND: ClassVar[str] = "usage"
    id: KeyText
    source: KeyText
    customer: Id
    model: Name
    usage: Usage
    occurred_at: InstantIn
    reservation: Id | None = None
    license: Id | None = None
    request_hash: Digest | None = None
    response_hash: Digest | None = None
    final: bool | None = None
    """False, it settles its reservation in part; absent or true, for good."""

    @field_validator("final")
    @classmethod
    def _true_is_absent(cls, final: bool | None) -> bool | None:
        return None if final else final

    def key(self, scope: str) -> tuple[str, str, str]:  # noqa: ARG002 - the source is the scope
        """Return the usage record's key, unique across all customers."""
        return "usage", self.source, self.id


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ParkUsage(ChargeUsage):
    """Keep a usage record uncharged, because somebody says so before it is charged."""

    KIND: ClassVar[str] = "park_usage"
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ReleaseUsage(Command):
    """Decide a parked usage record again, now."""

    KIND: ClassVar[str] = "release_usage"
    id: Id
    parked: ParkedId


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Unblock(Command):
    """Let a blocked account reserve again."""

    KIND: ClassVar[str] = "unblock"
    id: Id
    customer: Id
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class SetCaps(Command):
    """Replace a customer's caps; none at all is a list without any."""

    KIND: ClassVar[str] = "set_caps"
    id: Id
    customer: Id
    caps: Caps


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class RaiseMinReader(Command):
    """Shut out code that cannot read what will be written from now on."""

    KIND: ClassVar[str] = "raise_min_reader"
    id: Id
    reader: int = Field(ge=1, le=1_000_000)


_KINDS: tuple[type[Command], ...] = (
    CreateCustomer,
    ChangeCustomer,
    IssueGrant,
    PublishPrices,
    Reserve,
    Extend,
    Settle,
    Release,
    ChargeUsage,
    ParkUsage,
    ReleaseUsage,
    Unblock,
    SetCaps,
    RaiseMinReader,
    RegisterModel,
    ReleaseModelVersion,
    YankModelVersion,
    PublishExportList,
    *FRAUD_COMMANDS,
    *LICENSE_COMMANDS,
    *PIPELINE_COMMANDS,
)

COMMANDS = {kind.KIND: kind for kind in _KINDS}
_ADAPTERS = {kind: TypeAdapter(command) for kind, command in COMMANDS.items()}


def parse(kind: str, body: Mapping[str, Any]) -> Command:
    """Read a command from a JSON body; raises Invalid naming field, value and rule."""
    adapter = _ADAPTERS.get(str(kind))
    if adapter is None:
        raise Invalid(
            f"kind {str(kind)[:40]!r} is not one of {', '.join(COMMANDS)}",
            field="kind",
            value=str(kind)[:40],
            rule="a known kind of command",
        )
    command: Command = read(adapter, body)
    return command


def wire_body(command: Command) -> dict[str, Any]:
    """Return the command's fields as they travel (JSON values), without id and absent ones."""
    wire: dict[str, Any] = _ADAPTERS[command.KIND].dump_python(
        command, mode="json", exclude_none=True
    )
    del wire["id"]
    return in_key_order(wire)  # type: ignore[no-any-return]
