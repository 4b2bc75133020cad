"""The JSON Schema of every event, for those who read exports: docs/events/NAME.VERSION.json.

`python -m tests.compat.event_schemas` writes them; a test compares them with the code.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from domain import events as _all_events  # noqa: F401 - defining the events registers them
from domain import inferences as _inferences  # noqa: F401 - they are built on those
from domain.event import EVENT_TYPES

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "events"
NULL = {"type": "null"}


def path_of(name: str, version: int) -> Path:
    """Return the file of an event and version."""
    return FOLDER / f"{name}.{version}.json"


def text_of(name: str, version: int) -> str:
    """Return the schema of an event's stored payload, as it stands in its file."""
    schema = TypeAdapter(EVENT_TYPES[name, version]).json_schema(mode="serialization")
    about = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{name}, version {version}",
    }
    return json.dumps({**about, **_told(schema), "title": about["title"]}, indent=2) + "\n"


def _told(value: Any) -> Any:
    """Leave out what a stored payload never holds: nulls, since absent fields are left out."""
    if isinstance(value, list):
        return [_told(each) for each in value if each != NULL]
    if not isinstance(value, dict):
        return value
    told = {key: _told(each) for key, each in value.items() if (key, each) != ("default", None)}
    alternatives = told.get("anyOf")
    if isinstance(alternatives, list) and len(alternatives) == 1:
        del told["anyOf"]
        told = {**alternatives[0], **told}
    return told


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for key in EVENT_TYPES:
        path_of(*key).write_text(text_of(*key), encoding="utf-8")
