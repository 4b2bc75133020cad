"""Commands of the model registry and of the export list; they concern the ledger, no customer."""

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic.dataclasses import dataclass

from domain.command import CONFIG, Command
from domain.countries import Countries
from domain.provenance import BomText, Provenance, ProvenanceDeclared, provenance_of
from domain.values import Digest, InstantIn, KeyText, Name, Text, VersionName


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class RegisterModel(Command):
    """Enter a model into the registry, as yet without versions."""

    KIND: ClassVar[str] = "register_model"
    id: KeyText
    model: Name


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ReleaseModelVersion(Command):
    """Enter a version of a model; without `released_at` it is released now."""

    KIND: ClassVar[str] = "release_model_version"
    id: KeyText
    model: Name
    version: VersionName
    released_at: InstantIn | None = None
    digest: Digest | None = None
    provenance: ProvenanceDeclared | None = None
    bom: BomText | None = None
    """Given as the text of the document, which is checked here and not kept."""

    def known(self) -> Provenance:
        """Return the provenance that the event keeps: what was checked, then what is declared."""
        checked = () if self.bom is None else provenance_of(self.bom.read, self.digest)
        return (*checked, *(self.provenance or ()))

    def fields(self) -> Iterator[tuple[str, Any]]:
        """Yield the fields as the event keeps them; a time that was not given compares equal."""
        yield "model", self.model
        yield "version", self.version
        if self.released_at is not None:
            yield "released_at", self.released_at
        yield "digest", self.digest
        yield "provenance", self.known() or None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class YankModelVersion(Command):
    """Withdraw a version: no licence admits it any more."""

    KIND: ClassVar[str] = "yank_model_version"
    id: KeyText
    model: Name
    version: VersionName
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class PublishExportList(Command):
    """Replace the list of the countries to which nothing may be exported."""

    KIND: ClassVar[str] = "publish_export_list"
    id: KeyText
    countries: Countries
    note: Text | None = None
