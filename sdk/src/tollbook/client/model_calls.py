"""The calls about models: the registry, its versions, and where they come from."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tollbook.client.calls import Call, Pages, command, get, named
from tollbook.client.model_results import (
    Model,
    ModelInShort,
    ModelRegistered,
    ModelVersionDone,
)
from tollbook.client.reading import TimeIn, read, time_text
from tollbook.errors import Invalid

_MODEL_RULE = (
    "1 to 128 of A-Za-z0-9._:/@+-, and no part between slashes empty, `.`, `..` or `versions`"
)
_MODEL_TEXT = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}")
_NO_PARTS = frozenset({"", ".", "..", "versions"})
_VERSION_TEXT = re.compile(r"[0-9]+(\.[0-9]+){2}([+-][0-9A-Za-z.+-]{1,64})?", re.ASCII)


def register_model(model: str, *, id: str | None = None) -> Call[ModelRegistered]:
    """Enter a model into the registry, as yet without versions."""
    name = named("register_model", id, "mdl")
    return command(ModelRegistered, name, "/v1/models", {"model": model})


def release_version(
    model: str,
    version: str,
    *,
    released_at: TimeIn | None = None,
    digest: str | None = None,
    provenance: Sequence[Mapping[str, str]] | None = None,
    bom: str | None = None,
    id: str | None = None,
) -> Call[ModelVersionDone]:
    """Release a version, with what is known of where it comes from.

    `digest` is the SHA-256 of the weights in hex; `bom`, the text of a CycloneDX document, is
    checked by the server. What `provenance` says is kept as declared: `{"name": ..., "value": ...}`
    each, a `digest` beside or instead of the value.
    """
    fields = {
        "version": version,
        "released_at": None if released_at is None else time_text(released_at, "released_at"),
        "digest": digest,
        "provenance": None if provenance is None else [dict(each) for each in provenance],
        "bom": bom,
    }
    name = named("release_model_version", id, "ver")
    return command(ModelVersionDone, name, f"{_path(model)}/versions", fields)


def yank_version(
    model: str, version: str, reason: str, *, id: str | None = None
) -> Call[ModelVersionDone]:
    """Withdraw a version for ever: no licence admits it any more."""
    path = f"{_path(model)}/versions/{_version(version)}/yank"
    name = named("yank_model_version", id, "ynk")
    return command(ModelVersionDone, name, path, {"reason": reason})


def model(name: str) -> Call[Model]:
    """Return a model with all its versions and their provenance."""
    return get(Model, _path(name))


def models() -> Pages[ModelInShort]:
    """Iterate over the models of the registry, in the order of their registration."""
    filters: dict[str, Any] = {}
    return Pages("/v1/models", filters, lambda document: read(ModelInShort, document))


def _path(model: object) -> str:
    """Return the path of a model; its slashes are the path's own, and lead nowhere else."""
    is_name = isinstance(model, str) and _MODEL_TEXT.fullmatch(model) is not None
    if not is_name or not _NO_PARTS.isdisjoint(str(model).split("/")):
        raise Invalid.because("model", model, _MODEL_RULE)
    return f"/v1/models/{model}"


def _version(version: object) -> str:
    """Return a version as one step of a path."""
    if not isinstance(version, str) or _VERSION_TEXT.fullmatch(version) is None:
        raise Invalid.because("version", version, "X.Y.Z, and perhaps a suffix after - or +")
    return version
