"""The facts of the model registry and of the export list; they stand in no customer's history."""

from domain.countries import Countries
from domain.event import Event, event
from domain.provenance import ProvenanceKept
from domain.values import Digest, Instant, Name, Text, VersionName


class _OfModel(Event):
    """A fact in the stream of a model."""

    __slots__ = ()
    model: str

    def stream(self) -> str:
        """Return the model's stream."""
        return f"model-{self.model}"

    def command_scope(self) -> str:
        """Return the empty scope: models are the ledger's, not a customer's."""
        return ""


@event("model_registered", kind="register_model")
class ModelRegistered(_OfModel):
    """There is a model by this name, as yet without versions."""

    model: Name


@event("model_version_released", kind="release_model_version")
class ModelVersionReleased(_OfModel):
    """A version of a model may be run; what is said here of it never changes."""

    digest: Digest | None = None
    model: Name
    provenance: ProvenanceKept | None = None
    released_at: Instant
    version: VersionName


@event("model_version_yanked", kind="yank_model_version")
class ModelVersionYanked(_OfModel):
    """A version was withdrawn, for ever."""

    model: Name
    reason: Text
    version: VersionName


OF_MODEL = (ModelRegistered, ModelVersionReleased, ModelVersionYanked)
"""The facts of a model's stream."""


@event("export_list_published", kind="publish_export_list")
class ExportListPublished(Event):
    """These countries, and no others, are denied from here on."""

    countries: Countries
    note: Text | None = None
    version: int

    def stream(self) -> str:
        """Return the one stream of the list."""
        return "export-0"

    def command_scope(self) -> str:
        """Return the empty scope: the list is the ledger's."""
        return ""
