"""Forms: the small parts that the JSON Schemas of answers are put together from."""

from domain.values import ID_PATTERN
from entrypoints.http.schemas import Schema, ref

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
DAY: Schema = {"type": "string", "format": "date"}
ID: Schema = {"type": "string", "pattern": ID_PATTERN}
MONEY = ref("Money")
ANY_OBJECT: Schema = {"type": "object"}
TEXTS: Schema = {"type": "array", "items": TEXT}


def maybe(schema: Schema) -> Schema:
    """Return the schema of a value that may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def thing(required: dict[str, Schema], **optional: Schema) -> Schema:
    """Return the schema of an object: members that are always there, and those that may be."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
    }


def page(item: Schema, cursor: Schema | None = None) -> Schema:
    """Return the schema of a page of a list."""
    following = maybe(cursor or WHOLE)
    return thing({"items": {"type": "array", "items": item}, "next": following})


def some(item: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": item}


PAID = {
    "charged": MONEY,
    "from_balance": MONEY,
    "receivable": MONEY,
    "price_book": ID,
    "price_version": WHOLE,
    "grants": some(thing({"id": ID, "amount": MONEY})),
}
