"""What the client's methods about models return."""

from dataclasses import dataclass
from datetime import datetime

from tollbook.client.reading import Result
from tollbook.client.results import Done


@dataclass(frozen=True, kw_only=True)
class ModelRegistered(Done):
    """A model is in the registry."""

    model: str


@dataclass(frozen=True, kw_only=True)
class ModelVersionDone(Done):
    """A version was released, or withdrawn."""

    model: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Provenance(Result):
    """One thing that is known of where a version comes from."""

    name: str
    standing: str
    """`verified` where the ledger has checked it itself, `declared` where somebody says so."""
    digest: str | None
    """A SHA-256 in hex."""
    value: str | None


@dataclass(frozen=True, kw_only=True)
class ModelVersion(Result):
    """A version of a model."""

    version: str
    released_at: datetime
    digest: str | None
    """The SHA-256 of the weights, in hex."""
    yanked_at: datetime | None
    reason: str | None
    """Why it was withdrawn."""
    provenance: tuple[Provenance, ...]


@dataclass(frozen=True, kw_only=True)
class Model(Result):
    """A model with all its versions."""

    model: str
    registered_at: datetime
    provenance_hash: str
    """What a licence that is sold now for this very model keeps of the versions."""
    versions: tuple[ModelVersion, ...]


@dataclass(frozen=True, kw_only=True)
class ModelInShort(Result):
    """A model as lists show it."""

    model: str
    position: int
    registered_at: datetime
    versions: int
    yanked: int
    newest: str | None
    """The version that was released last and is not withdrawn."""
    newest_at: datetime | None
