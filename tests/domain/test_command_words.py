"""What is told of a command that cannot be read: the field that its sender has to mend."""

import pytest
from tollbook.errors import Invalid

from domain.commands import parse


def test_a_mistyped_field_is_told_before_the_one_that_it_leaves_missing() -> None:
    body = {"pipeline": "rag", "stages": [{"name": "a", "modle": "small"}]}
    with pytest.raises(Invalid) as caught:
        parse("publish_pipeline", {"id": "rag:1", **body})
    assert caught.value.message == "stages.0.modle: there is no such field"
    assert caught.value.facts == {"field": "stages.0.modle", "rule": "a known field"}
