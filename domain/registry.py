"""Model registry: which models there are, their versions, and where each version comes from.

What was released never changes; a version that must not be run any more is yanked, for ever.
"""

import hashlib
from typing import Any, NamedTuple

from tollbook import canonical
from tollbook.errors import Invalid, NotFound
from tollbook.times import format_instant

from domain.event import Event
from domain.outcomes import Decision, Refusal
from domain.provenance import Provenance, provenance_to_wire
from domain.registry_commands import RegisterModel, ReleaseModelVersion, YankModelVersion
from domain.registry_events import ModelRegistered, ModelVersionReleased, ModelVersionYanked

RECORD_BYTES_MAX = 256 * 2**20

_NO_PARTS = ("", ".", "..", "versions")
"""Parts of a name between slashes that an address could not tell from its own."""


class ModelVersion(NamedTuple):
    """One version of a model; instants in microseconds."""

    version: str
    released_at: int
    digest: str | None
    """The SHA-256 of its weights."""
    yanked_at: int | None
    reason: str | None
    """Why it was yanked."""
    provenance: Provenance


class Model(NamedTuple):
    """A model and its versions, in the order in which they were entered."""

    name: str
    versions: dict[str, ModelVersion]
    version: int
    """The version of its stream; 0 for a model that nobody has registered."""


def unregistered(name: str) -> Model:
    """Return what is known of a model before it is registered: nothing."""
    return Model(name, {}, 0)


def decide_register(model: Model, command: RegisterModel) -> Decision:
    """Accept a model whose name nobody has taken."""
    if any(part in _NO_PARTS for part in command.model.split("/")):
        rule = "without the parts `versions`, `.`, `..` and empty ones between slashes"
        raise Invalid.because("model", command.model, rule)
    if model.version:
        return _taken("model", command.model, f"the model {command.model} is registered already")
    return (ModelRegistered(model=command.model),)


def decide_release(model: Model, command: ReleaseModelVersion, now: int) -> Decision:
    """Accept a version that the model does not have, unless its document is of other weights."""
    _check_registered(model)
    if command.version in model.versions:
        detail = f"version {command.version} of {model.name} was released before"
        return _taken("version", command.version, detail)
    released_at = now if command.released_at is None else command.released_at
    if released_at > now:
        rule = f"at or before {format_instant(now)}, the ledger's time"
        raise Invalid.because("released_at", format_instant(released_at), rule)
    _check_document(command)
    return (
        ModelVersionReleased(
            digest=command.digest,
            model=model.name,
            provenance=command.known() or None,
            released_at=released_at,
            version=command.version,
        ),
    )


def _check_document(command: ReleaseModelVersion) -> None:
    """Refuse an ML-BOM of other weights, and words of the caller's under its name."""
    if command.bom is None:
        return
    named = command.bom.read.digests()
    if command.digest is not None and named and command.digest not in named:
        rule = f"a document that names the weights {command.digest}"
        raise Invalid.because("bom", min(named), rule)
    names = [field.name for field in command.known()]
    taken = [name for name in names if names.count(name) > 1]
    if taken:
        rule = "absent where the document says it"
        raise Invalid.because("provenance", taken[0], rule)


def decide_yank(model: Model, command: YankModelVersion) -> Decision:
    """Withdraw a version that is not withdrawn yet."""
    _check_registered(model)
    found = model.versions.get(command.version)
    if found is None:
        detail = f"the model {model.name} has no version {command.version}"
        raise NotFound(detail, field="version", value=command.version)
    if found.yanked_at is not None:
        at = format_instant(found.yanked_at)
        detail = f"version {command.version} of {model.name} was yanked at {at}"
        return Refusal("already_yanked", detail, {"version": command.version, "yanked_at": at})
    event = ModelVersionYanked(model=model.name, reason=command.reason, version=command.version)
    return (event,)


def _check_registered(model: Model) -> None:
    if not model.version:
        detail = f"there is no model {model.name} in the registry"
        raise NotFound(detail, field="model", value=model.name)


def _taken(field: str, value: str, detail: str) -> Refusal:
    return Refusal("already_exists", detail, {"field": field, "value": value})


def evolve(model: Model, event: Event, now: int) -> Model:
    """Take a fact of this model into account; `now` is when it was recorded."""
    versions = model.versions
    if isinstance(event, ModelVersionReleased):
        released = ModelVersion(
            event.version, event.released_at, event.digest, None, None, event.provenance or ()
        )
        versions = {**versions, event.version: released}
    elif isinstance(event, ModelVersionYanked):
        found = versions[event.version]
        yanked = found._replace(yanked_at=now, reason=event.reason)
        versions = {**versions, event.version: yanked}
    elif not isinstance(event, ModelRegistered):
        return model
    return Model(model.name, versions, model.version + 1)


def provenance_hash(model: Model) -> str:
    """Return the SHA-256 of a model's record: its versions as released, yanked ones too.

    That a version was yanked since is no part of it, so a licence's hash keeps saying what was
    there when it was issued (docs/formats/licenses.md).
    """
    versions = {name: _record(version) for name, version in model.versions.items()}
    record = {"model": model.name, "versions": versions}
    return hashlib.sha256(canonical.dumps(record, max_bytes=RECORD_BYTES_MAX)).hexdigest()


def _record(version: ModelVersion) -> dict[str, Any]:
    return {
        "digest": version.digest,
        "provenance": provenance_to_wire(version.provenance),
        "released_at": format_instant(version.released_at),
    }


def model_to_wire(model: Model) -> dict[str, Any]:
    """Write a model as docs/formats/state.md does."""
    return {
        "version": model.version,
        "versions": {
            name: {
                **_record(version),
                "reason": version.reason,
                "yanked_at": None
                if version.yanked_at is None
                else format_instant(version.yanked_at),
            }
            for name, version in model.versions.items()
        },
    }
