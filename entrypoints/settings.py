"""Settings: where the ledger is, from options and the environment; unsafe mixes are refused."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tollbook.errors import Invalid


@dataclass(frozen=True, slots=True)
class Settings:
    """Either an embedded ledger in a folder, or one on a PostgreSQL server."""

    data: Path | None = None
    """The folder of an embedded ledger."""
    database: str | None = None
    """The URL of a PostgreSQL server, version 15 or newer."""
    master_key_file: Path | None = None
    """Holds the key that wraps customers' keys; an embedded ledger makes its own."""

    def __post_init__(self) -> None:
        """Refuse to guess between two ledgers, or none."""
        if (self.data is None) == (self.database is None):
            raise Invalid("give either --data DIR or --database URL", field="data")


def settings_from(
    data: str | None, database: str | None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Build settings from the options of a command; the environment fills what they leave open.

    `TOLLBOOK_DATABASE` and `TOLLBOOK_DATA` name the ledger, `TOLLBOOK_MASTER_KEY_FILE` the key.
    """
    if data is None and database is None:
        database = environment.get("TOLLBOOK_DATABASE")
        data = None if database else environment.get("TOLLBOOK_DATA")
    key_file = environment.get("TOLLBOOK_MASTER_KEY_FILE")
    return Settings(
        data=Path(data) if data else None,
        database=database,
        master_key_file=Path(key_file) if key_file else None,
    )
