"""ML-BOM: what a CycloneDX document says of a model, read without believing any of it.

A document is known by the SHA-256 over its exact bytes. Read here are its form, its components of
the type `machine-learning-model`, and the digests that these name for their weights. Whatever else
it says is its author's word. docs/formats/licenses.md says what the registry makes of it.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from tollbook.errors import Invalid

MAX_BYTES = 8 * 1_048_576
COMPONENTS_MAX = 100_000
TEXT_MAX = 1000

MODEL_TYPE = "machine-learning-model"
OLDEST = (1, 5)
"""The first version of CycloneDX that knows models."""

_SPEC_VERSION = re.compile(r"([1-9][0-9]?)\.([0-9]{1,2})")
_SHA_256 = re.compile(r"[0-9a-f]{64}")


class BomModel(NamedTuple):
    """A component that is a model, as the document's author describes it."""

    name: str
    version: str
    digests: tuple[str, ...]
    """SHA-256 of its weights, in lower-case hex."""
    licenses: tuple[str, ...]
    datasets: tuple[str, ...]
    """What it was trained on: names, or references into the document."""


class Bom(NamedTuple):
    """A document: its digest, the version of its specification, and the models in it."""

    digest: str
    spec_version: str
    models: tuple[BomModel, ...]

    def digests(self) -> frozenset[str]:
        """Return every digest of weights that the document names."""
        return frozenset(digest for model in self.models for digest in model.digests)

    def about(self, digest: str | None) -> BomModel:
        """Return the model with these weights, or the first one."""
        named = (model for model in self.models if digest in model.digests)
        return next(named, self.models[0])


def read_bom(document: bytes) -> Bom:
    """Read a CycloneDX document in JSON; raises Invalid for one that describes no model."""
    if len(document) > MAX_BYTES:
        raise Invalid.because("bom", len(document), f"at most {MAX_BYTES} bytes long")
    found = _parsed(document)
    if type(found) is not dict or found.get("bomFormat") != "CycloneDX":
        raise Invalid.because("bom", None, "a CycloneDX document in JSON")
    spec_version = found.get("specVersion")
    form = _SPEC_VERSION.fullmatch(spec_version) if type(spec_version) is str else None
    if form is None or (int(form[1]), int(form[2])) < OLDEST:
        raise Invalid.because("bom.specVersion", spec_version, "1.5 or later, as text")
    models = tuple(
        _model(component) for component in _components(found) if component["type"] == MODEL_TYPE
    )
    if not models:
        raise Invalid.because("bom.components", None, f"a list with a {MODEL_TYPE}")
    return Bom(hashlib.sha256(document).hexdigest(), form[0], models)


def _parsed(document: bytes) -> Any:
    try:
        return _DECODER.decode(document.decode())
    except RecursionError:
        raise Invalid.because("bom", None, "less deeply nested") from None
    except ValueError as error:
        raise Invalid.because("bom", None, f"JSON in UTF-8 ({error})") from None


def _components(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every component, nested ones too, in the order of the document."""
    about = document.get("metadata", {})
    main = about.get("component") if type(about) is dict else None
    waiting = [("components", document.get("components", []))]
    if main is not None:
        waiting.append(("metadata.component", [main]))
    seen = 0
    while waiting:
        place, listed = waiting.pop()
        if type(listed) is not list:
            raise Invalid.because(f"bom.{place}", listed, "a list of components")
        seen += len(listed)
        if seen > COMPONENTS_MAX:
            raise Invalid.because("bom.components", seen, f"at most {COMPONENTS_MAX} components")
        for component in listed:
            if type(component) is not dict or type(component.get("type")) is not str:
                raise Invalid.because(f"bom.{place}", component, "components that have a type")
            yield component
            if "components" in component:
                waiting.append(("components", component["components"]))


def _model(component: dict[str, Any]) -> BomModel:
    """Read what a component says of a model; what has another form than usual says nothing."""
    card = component.get("modelCard")
    parameters = card.get("modelParameters") if type(card) is dict else None
    datasets = parameters.get("datasets") if type(parameters) is dict else None
    return BomModel(
        _text(component.get("name")),
        _text(component.get("version")),
        tuple(_digests(component.get("hashes", []))),
        _texts(_license(each) for each in _objects(component.get("licenses"))),
        _texts(_dataset(each) for each in _objects(datasets)),
    )


def _digests(hashes: Any) -> Iterator[str]:
    """Yield the SHA-256 of a component; one that is none must not pass for another's absence."""
    if type(hashes) is not list or any(type(each) is not dict for each in hashes):
        raise Invalid.because("bom.hashes", hashes, "a list of objects")
    for each in hashes:
        if each.get("alg") != "SHA-256":
            continue
        content = each.get("content")
        digest = content.lower() if type(content) is str else ""
        if not _SHA_256.fullmatch(digest):
            raise Invalid.because("bom.hashes.content", content, "64 hex digits for a SHA-256")
        yield digest


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if type(each) is dict] if type(value) is list else []


def _license(entry: dict[str, Any]) -> str:
    found = entry.get("license")
    if type(found) is dict:
        return _text(found.get("id")) or _text(found.get("name"))
    return _text(entry.get("expression"))


def _dataset(entry: dict[str, Any]) -> str:
    return _text(entry.get("name")) or _text(entry.get("ref"))


def _text(value: Any) -> str:
    """Return an author's text if it is one that can be kept, cut to a sane length."""
    if type(value) is not str or "\x00" in value:
        return ""
    return value.encode(errors="replace").decode()[:TEXT_MAX]


def _texts(values: Iterator[str]) -> tuple[str, ...]:
    return tuple(value for value in values if value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise Invalid.because("bom", repeated, "JSON with each key once in its object")
    return members


def _refuse_number(text: str) -> NoReturn:
    raise Invalid.because("bom", text, "JSON, which has no such number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_number)
