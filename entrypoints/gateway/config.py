"""The gateway's configuration: one TOML file with its pools of servers and its meters.

docs/gateway.md explains every field. What is wrong is told with its line.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass
from tollbook.errors import Invalid

from domain.command import CONFIG, read
from domain.facts import FactsBody
from domain.holds import INFERENCES_MAX, INFERENCES_MIN, TTL_MAX_SECONDS
from domain.meters_format import Meter
from domain.toml_lines import Path as TomlPath
from domain.toml_lines import line_of, lines_of
from domain.values import AMOUNT_MAX, Amount, Id

FILE_BYTES_MAX = 1_048_576
OUTAGE_SECONDS_MAX = 3_600
ALLOWANCE_SECONDS_MAX = 300

_ADDRESS = re.compile(r"[A-Za-z0-9._\[\]:-]{1,255}:[0-9]{1,5}")


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:8001")
    return text


_Address = Annotated[str, AfterValidator(_address)]


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Pool:
    """One Triton server, or what stands before several of them; licences name pools."""

    name: Id
    """As licences name it; `shared` is the one of licences that name none."""
    also: tuple[Id, ...] = Field(default=(), max_length=64)
    """Other pools of licences that these servers stand in for."""
    grpc: _Address
    """HOST:PORT of its gRPC service."""
    http: _Address
    """HOST:PORT of its HTTP service."""
    servers: tuple[_Address, ...] = Field(default=(), max_length=256)
    """HOST:PORT of each server's own gRPC service, where `grpc` is of what stands before them."""
    traces: str | None = None
    """The folder in which it writes its traces, a sub-folder for each start."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Outage:
    """What licences of a template may do while the ledger is away; those of others wait."""

    template: Id
    amount: Annotated[Amount, Field(gt=0, le=AMOUNT_MAX)]
    """The emergency slice of each licence and model, set aside while the ledger answers."""
    seconds: Annotated[int, Field(ge=1, le=OUTAGE_SECONDS_MAX)] = 60
    """So long after the ledger's last yes: the bound on what a revocation may come too late for."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Allowances:
    """How much is set aside for inferences to come, and what hands it out."""

    inferences: Annotated[int, Field(ge=INFERENCES_MIN, le=INFERENCES_MAX)] = 5_000
    """For so many at once at most."""
    seconds: Annotated[int, Field(ge=1, le=ALLOWANCE_SECONDS_MAX)] = 30
    """So long places of one slice are drawn."""
    in_process: bool = False
    """Whether each process hands out places of its own where there is no Redis."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class GatewayConfig:
    """Everything about a gateway that is no secret and no address of its own."""

    name: Id = "gateway"
    """Its usage records' source; two gateways on one ledger need two names."""
    pool: tuple[Pool, ...] = Field(min_length=1, max_length=64)
    model: tuple[Meter, ...] = Field(min_length=1, max_length=1000)
    facts: FactsBody = Field(default_factory=dict)
    """What the operator knows of every request: the region of the servers, say."""
    hold_seconds: Annotated[int, Field(ge=10, le=TTL_MAX_SECONDS)] = 300
    """How long a hold stands before it has to be extended."""
    message_bytes: Annotated[int, Field(ge=1024, le=2**31 - 1)] = 64 * 1_048_576
    """The largest request, and the largest message of an answer."""
    at_once: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """So many inferences run at once; more are refused."""
    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 12_000
    """So many connections clients may have, over both protocols; more are closed at once."""
    unsettled: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """So many settlements may wait for the ledger; then no inference is admitted."""
    trace_seconds: Annotated[int, Field(ge=1, le=3_600)] = 30
    """How long a trace is waited for before a record that needs it is parked."""
    trace_files_seconds: Annotated[int, Field(ge=3_600, le=10**9)] | None = None
    """How old a trace file that was read becomes until it is removed; absent, none ever is."""
    sample_seconds: Annotated[int, Field(ge=1, le=3_600)] = 60
    """How often the servers' own counters are written down, for reconciliation."""
    statistics: bool = False
    """Whether clients are told the servers' counters of a model: those of all customers."""
    sample_days: Annotated[int, Field(ge=1, le=36_500)] = 90
    """How many days these are kept."""
    outage: tuple[Outage, ...] = Field(default=(), max_length=1000)
    """The templates whose licences may go on without the ledger, and how far."""
    allowances: Allowances = Field(default_factory=Allowances)
    """How much is set aside at once, and whether without a Redis too."""

    @model_validator(mode="after")
    def _names_are_given_once(self) -> "GatewayConfig":
        for what, names in (
            ("pools", [name for pool in self.pool for name in (pool.name, *pool.also)]),
            ("models", [meter.name for meter in self.model]),
            ("outage policies' templates", [each.template for each in self.outage]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"must name its {what} once each")
        return self

    @property
    def source(self) -> str:
        """The source of its usage records."""
        return f"gateway/{self.name}"

    def meter(self, model: str) -> Meter | None:
        """Return the meter of a model as clients call it, or None for one not offered."""
        return next((meter for meter in self.model if meter.name == model), None)


_ADAPTER = TypeAdapter(GatewayConfig)


def read_config(path: Path) -> GatewayConfig:
    """Read the file; raises Invalid naming field, value, rule and line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Invalid.because("config", str(path), f"a file that can be read ({error})") from None
    if len(data) > FILE_BYTES_MAX:
        raise Invalid.because("config", f"{len(data)} bytes", f"at most {FILE_BYTES_MAX} bytes")
    try:
        text = data.decode("utf-8-sig")
        document = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Invalid.because("config", str(path), f"TOML ({error})") from None
    return config_from(document, lines_of(text))


def config_from(
    document: dict[str, Any], lines: dict[TomlPath, int] | None = None
) -> GatewayConfig:
    """Check a configuration against the schema; raises Invalid."""
    try:
        found: GatewayConfig = read(_ADAPTER, document)
    except Invalid as problem:
        keys = str(problem.facts["field"]).split(".")
        place: TomlPath = tuple(int(key) if key.isdecimal() else key for key in keys)
        line = line_of(lines or {}, place)
        if line is not None:
            problem.message = f"line {line}: {problem.message}"
            problem.facts["line"] = line
        raise
    return found
