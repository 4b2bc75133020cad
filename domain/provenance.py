"""Provenance: what is known of where a model's version comes from, and who says so.

`verified` is what this program checked itself, on a document that it was given; everything else is
`declared`. A command can declare; that anything is verified is never taken from one.
"""

from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from tollbook.mlbom import Bom, BomModel, read_bom

from domain.values import free_text
from domain.wire_values import Reader, fields_of, matching, one_of, read_field

DECLARED_MAX = 50
KEPT_MAX = 60
"""More than can be declared, because what a document shows comes on top of it."""

FIELD_NAME_PATTERN = r"^[a-z][a-z0-9_.]{0,63}$"
DIGEST_PATTERN = r"^[0-9a-f]{64}$"

VERIFIED = "verified"
DECLARED = "declared"
ML_BOM = "ml_bom"

_READERS: dict[str, Reader] = {
    "digest": matching(DIGEST_PATTERN, "a SHA-256 in lower-case hex"),
    "name": matching(FIELD_NAME_PATTERN, "1 to 64 of a-z0-9_. that begin with a letter"),
    "standing": one_of((DECLARED, VERIFIED)),
    "value": free_text,
}


class ProvenanceField(NamedTuple):
    """One thing that is known of where a version comes from."""

    name: str
    digest: str | None
    """The SHA-256 of the document, or of the data, that it is about."""
    value: str | None
    standing: str
    """`verified` or `declared`."""


Provenance = tuple[ProvenanceField, ...]


def provenance_from_wire(value: object) -> Provenance:
    """Read provenance as events hold it; anything of another form raises ValueError."""
    return _fields(value, KEPT_MAX, None)


def declared_from_wire(value: object) -> Provenance:
    """Read provenance as commands hold it: somebody's word, and nothing that is verified."""
    found = _fields(value, DECLARED_MAX, DECLARED)
    if any(field.standing != DECLARED for field in found):
        raise ValueError("must be declared: what is verified is found by our own check")
    return found


def _fields(value: object, most: int, standing: str | None) -> Provenance:
    if type(value) is tuple and all(type(each) is ProvenanceField for each in value):
        return value
    if type(value) is not list or len(value) > most:
        raise ValueError(f"must be a list of at most {most} fields")
    found = tuple(_field(each, standing) for each in value)
    if len({field.name for field in found}) < len(found):
        raise ValueError("must name each field once")
    return found


def _field(value: object, standing: str | None) -> ProvenanceField:
    given = fields_of(value, _READERS, "a field of provenance")
    found = {
        name: read_field(_READERS[name], each, f"the {name} of a field")
        for name, each in given.items()
    }
    if "name" not in found:
        raise ValueError("a field of provenance must have a name")
    if found.keys().isdisjoint({"digest", "value"}):
        raise ValueError("a field of provenance must have a digest or a value")
    said = found.get("standing", standing)
    if said is None:
        raise ValueError("a field of provenance must have a standing")
    return ProvenanceField(found["name"], found.get("digest"), found.get("value"), said)


def provenance_to_wire(provenance: Provenance) -> list[dict[str, Any]]:
    """Write provenance as it travels: keys in order, absent ones left out."""
    return [
        {key: value for key, value in sorted(field._asdict().items()) if value is not None}
        for field in provenance
    ]


class BomDocument(NamedTuple):
    """An ML-BOM as it was given, and what was read in it."""

    text: str
    read: Bom


def bom_from_wire(value: object) -> BomDocument:
    """Read the text of an ML-BOM; the digest is that of its exact bytes in UTF-8."""
    if type(value) is BomDocument:
        return value
    if type(value) is not str:
        raise ValueError("must be the text of a CycloneDX document in JSON")
    try:
        return BomDocument(value, read_bom(value.encode()))
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None


def provenance_of(bom: Bom, digest: str | None) -> Iterable[ProvenanceField]:
    """Yield what a document shows, and what its author says of the model with these weights."""
    yield ProvenanceField(ML_BOM, bom.digest, f"CycloneDX {bom.spec_version}", VERIFIED)
    if digest in bom.digests():
        yield ProvenanceField(f"{ML_BOM}.weights", digest, None, VERIFIED)
    for name, text in _told(bom.about(digest)):
        if text:
            yield ProvenanceField(f"{ML_BOM}.{name}", None, text[:1000], DECLARED)


def _told(model: BomModel) -> Iterable[tuple[str, str]]:
    yield "component", f"{model.name} {model.version}".strip()
    yield "licenses", ", ".join(model.licenses)
    yield "datasets", ", ".join(model.datasets)


def _schema(most: int, *standings: str) -> dict[str, Any]:
    field = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": FIELD_NAME_PATTERN},
            "digest": {"type": "string", "pattern": DIGEST_PATTERN},
            "value": {"type": "string", "maxLength": 1000, "pattern": r"^[^\u0000]*$"},
            "standing": {"enum": list(standings)},
        },
        "required": ["name", "standing"] if VERIFIED in standings else ["name"],
        "anyOf": [{"required": ["digest"]}, {"required": ["value"]}],
        "additionalProperties": False,
    }
    return {"type": "array", "items": field, "maxItems": most}


_serializer = PlainSerializer(provenance_to_wire, return_type=list[dict[str, Any]])

ProvenanceKept = Annotated[
    Provenance,
    PlainValidator(provenance_from_wire),
    _serializer,
    WithJsonSchema(_schema(KEPT_MAX, DECLARED, VERIFIED)),
]
"""Provenance as a field of an event."""

ProvenanceDeclared = Annotated[
    Provenance,
    PlainValidator(declared_from_wire),
    _serializer,
    WithJsonSchema(_schema(DECLARED_MAX, DECLARED)),
]
"""Provenance as a field of a command."""

BomText = Annotated[
    BomDocument,
    PlainValidator(bom_from_wire),
    PlainSerializer(lambda document: document.text, return_type=str),
    WithJsonSchema(
        {"type": "string", "minLength": 2, "description": "The text of a CycloneDX ML-BOM in JSON."}
    ),
]
"""An ML-BOM as a field of a command: read and checked where the command is made."""
