"""The published schemas are those of the code, and stored events have their form."""

import json

import pytest

from domain.event import EVENT_TYPES
from tests.compat import event_schemas, golden_events


@pytest.mark.parametrize("key", EVENT_TYPES, ids=lambda key: f"{key[0]}.{key[1]}")
def test_the_published_schema_is_that_of_the_code(key: tuple[str, int]) -> None:
    path = event_schemas.path_of(*key)
    assert path.exists(), "run: python -m tests.compat.event_schemas"
    assert path.read_text(encoding="utf-8") == event_schemas.text_of(*key)


@pytest.mark.parametrize("key", EVENT_TYPES, ids=lambda key: f"{key[0]}.{key[1]}")
def test_stored_payloads_have_the_fields_of_their_schema(key: tuple[str, int]) -> None:
    schema = json.loads(event_schemas.path_of(*key).read_text(encoding="utf-8"))
    assert schema["additionalProperties"] is False
    for path in golden_events.paths_of(*key):
        for golden in golden_events.read(path):
            present = json.loads(golden.data).keys()
            assert set(schema["required"]) <= present <= schema["properties"].keys()


def test_no_schema_is_of_an_event_that_is_gone() -> None:
    published = {path.name for path in event_schemas.FOLDER.glob("*.json")}
    assert published == {event_schemas.path_of(*key).name for key in EVENT_TYPES}
