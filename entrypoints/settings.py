"""Settings: where the ledger is, from options and the environment; unsafe mixes are refused."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from tollbook.errors import Invalid, Unavailable

LOG_LEVELS = ("debug", "info", "warning", "error")
SETTING_MAX = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Either an embedded ledger in a folder, or one on a PostgreSQL server."""

    data: Path | None = None
    """The folder of an embedded ledger."""
    database: str | None = None
    """The URL of a PostgreSQL server, version 15 or newer."""
    master_key_file: Path | None = None
    """Holds the key that wraps customers' keys; an embedded ledger makes its own."""
    signing_epoch: int = 1
    """Which of the keys that the master key gives signs leases and decisions."""
    signing_epoch_oldest: int = 1
    """The first of them whose tokens still hold."""

    def __post_init__(self) -> None:
        """Refuse to guess between two ledgers, or none."""
        if (self.data is None) == (self.database is None):
            raise Invalid("give either --data DIR or --database URL", field="data")


def settings_from(
    data: str | None, database: str | None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Build settings from the options of a command; the environment fills what they leave open.

    `TOLLBOOK_DATABASE` and `TOLLBOOK_DATA` name the ledger, `TOLLBOOK_MASTER_KEY_FILE` the key.
    `TOLLBOOK_DATABASE_FILE` is a file with the URL, for one that holds a password;
    `TOLLBOOK_SIGNING_EPOCH` and `TOLLBOOK_SIGNING_EPOCH_OLDEST` choose the keys that sign.
    Raises Invalid for what is empty or no number, and Unavailable for a file without a database.
    """
    for name, given in (("data", data), ("database", database)):
        if given == "":  # an unset variable of a shell, more often than not
            raise Invalid.because(name, given, "not empty")
    if data is None and database is None:
        database = environment.get("TOLLBOOK_DATABASE") or _from_file(environment)
        data = None if database else environment.get("TOLLBOOK_DATA")
    key_file = environment.get("TOLLBOOK_MASTER_KEY_FILE")
    return Settings(
        data=Path(data) if data else None,
        database=database,
        master_key_file=Path(key_file) if key_file else None,
        signing_epoch=_epoch(environment, "TOLLBOOK_SIGNING_EPOCH"),
        signing_epoch_oldest=_epoch(environment, "TOLLBOOK_SIGNING_EPOCH_OLDEST"),
    )


def _epoch(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name)
    return _whole(name, text) if text else 1


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(SETTING_MAX)):
        raise Invalid.because(name, text, "a whole number")
    return int(text)


def _from_file(environment: Mapping[str, str]) -> str | None:
    """Read the URL of the database from the file that the environment names, if it names one."""
    name = environment.get("TOLLBOOK_DATABASE_FILE")
    if not name:
        return None
    try:
        found = Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"TOLLBOOK_DATABASE_FILE cannot be read: {error}") from None
    if not found:
        raise Unavailable(f"TOLLBOOK_DATABASE_FILE is empty: {name}")
    return found


class Rate(NamedTuple):
    """How many requests, and how many commands in them, a key may send in a second."""

    requests: int
    commands: int


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How `tollbook serve` treats those who connect; each has a variable of its own name.

    `rate_requests`, for one, is `TOLLBOOK_RATE_REQUESTS`. docs/operations.md lists them.
    """

    log_level: str = "info"
    """One of `debug`, `info`, `warning`, `error`; every request is a line of `info`."""
    rate_requests: int = 5_000
    rate_commands: int = 20_000
    rate_customer_requests: int = 50
    rate_customer_commands: int = 100
    rate_refused: int = 10
    """How many requests without a valid key an address may send in a second."""
    body_bytes: int = 4 * 1_048_576
    body_seconds: int = 10
    header_bytes: int = 32_768
    header_seconds: int = 10
    idle_seconds: int = 75
    """How long a connection may stay open without a request."""
    requests_at_once: int = 2_000
    connections: int = 20_000
    stop_seconds: int = 30
    """How long requests under way have to end when the server is told to stop."""
    trusted_proxies: str = ""
    """Addresses whose X-Forwarded-For is believed, separated by commas."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.log_level not in LOG_LEVELS:
            rule = f"one of {', '.join(LOG_LEVELS)}"
            raise Invalid.because("TOLLBOOK_LOG_LEVEL", self.log_level, rule)
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int) and not 0 < value <= SETTING_MAX:
                rule = f"from 1 to {SETTING_MAX}"
                raise Invalid.because(f"TOLLBOOK_{each.name.upper()}", value, rule)

    def rate(self, role: str) -> Rate:
        """Return the rate of a role's keys."""
        if role == "customer":
            return Rate(self.rate_customer_requests, self.rate_customer_commands)
        return Rate(self.rate_requests, self.rate_commands)


def serve_settings_from(environment: Mapping[str, str] = os.environ) -> ServeSettings:
    """Read the settings of the server from the environment; what is not there is the default."""
    given: dict[str, Any] = {}
    for each in fields(ServeSettings):
        name = f"TOLLBOOK_{each.name.upper()}"
        text = environment.get(name)
        if not text:
            continue
        if isinstance(each.default, int):
            given[each.name] = _whole(name, text)
        else:
            given[each.name] = text
    return ServeSettings(**given)
