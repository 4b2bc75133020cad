"""Heads of requests and answers, taken apart and put together: what is not ours is not touched."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.errors import Invalid

from domain.meters_format import Meter, Source
from entrypoints.gateway.http_infer import Split, forwarded, inference, restored, split
from entrypoints.gateway.http_json import closed, opened
from entrypoints.gateway.http_models import Description, tensor
from entrypoints.gateway.http_prompts import forwarded as forwarded_prompt
from entrypoints.gateway.http_prompts import prompt, told
from entrypoints.http.problems import BadRequest

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
)
METER = Meter(name="m", usage={"requests": Source(constant=1)})
_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(_NAMES, inner), max_leaves=12
)
_SPACES = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n ")])


@given(st.dictionaries(_NAMES, _VALUES), _SPACES, st.booleans(), st.sets(_NAMES))
def test_an_object_is_the_same_when_it_is_put_together_again(
    document: dict[str, Any], signs: tuple[str, str], escapes: bool, within: set[str]
) -> None:
    text = json.dumps(document, separators=signs, ensure_ascii=escapes)
    members = opened(f" \n{text}\t", frozenset(within))
    assert [member.name for member in members] == list(document)
    for member in members:
        assert member.text in text
        assert member.raw in text
    again = closed([member.text for member in members])
    assert repr(json.loads(again)) == repr(document)  # by repr, as NaN equals nothing


@given(st.text(max_size=60) | st.text('{}[]":,0e.-\\u ntf', max_size=30))
def test_what_json_itself_refuses_is_refused(text: str) -> None:
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    try:
        opened(text)
    except Invalid:
        names: list[str] = []

        def noted(pairs: list[tuple[str, Any]]) -> None:
            names.extend(name for name, _ in pairs)

        if is_object:  # then it is a name that is there twice, or has a zero in it
            json.loads(text, object_pairs_hook=noted)
            assert len(set(names)) < len(names) or any("\0" in name for name in names)
    else:
        assert is_object


@pytest.mark.parametrize("number", ["1e400", "-0.0", "1.10", "1E+2", "NaN", "-Infinity", "1e-320"])
def test_a_number_is_never_written_anew(number: str) -> None:
    raw = f"[ {number} ,{number}]"
    text = (
        f'{{"parameters":{{"mine":{number}}},"inputs":[{{"name":"IN","shape":[2],'
        f'"datatype":"FP64","data":{raw}}}],"outputs":[{{"name":"OUT"}}]}}'
    )
    asked = inference(Split(text, b""))
    head, added = forwarded(asked, "ours", 5, ["TOKENS"], {})
    assert raw in head.decode()
    assert f'"mine":{number}' in head.decode()
    assert added == ("TOKENS",)
    answer = (
        f'{{"id":"ours","model_name":"m","outputs":[{{"name":"OUT","datatype":"FP64",'
        f'"shape":[2],"data":{raw}}},'
        f'{{"name":"TOKENS","datatype":"INT64","shape":[1],"data":[7]}}]}}'
    )
    found = restored(Split(answer, b""), added, "")
    assert found.head.decode() == (
        f'{{"model_name":"m","outputs":[{{"name":"OUT","datatype":"FP64",'
        f'"shape":[2],"data":{raw}}}]}}'
    )
    described = Description({}, {"OUT": ("FP64", (-1,))}, decoupled=False)
    theirs = prompt(b'{"id":"theirs"}', described, METER)
    message = told(f'{{"OUT":{raw},"id":"ours"}}'.encode(), described, theirs)
    assert message.text == f'{{"OUT":{raw},"id":"theirs"}}'


NAMES = ["A", "B", "C", "D"]


@given(st.data())
def test_the_outputs_that_were_added_are_cut_out_of_the_tail_and_the_rest_keeps_its_order(
    data: st.DataObject,
) -> None:
    names = data.draw(st.permutations(NAMES))
    added = data.draw(st.sets(st.sampled_from(NAMES)))
    packed = {name: data.draw(st.none() | st.binary(max_size=9)) for name in names}
    outputs = [
        {"name": name, "datatype": "UINT8", "shape": [1], "data": [7]}
        if (tail := packed[name]) is None
        else {
            "name": name,
            "datatype": "UINT8",
            "shape": [len(tail)],
            "parameters": {"binary_data_size": len(tail)},
        }
        for name in names
    ]
    head = json.dumps({"model_name": "m", "outputs": outputs})
    behind = b"".join(tail for name in names if (tail := packed[name]) is not None)
    found = restored(Split(head, behind), sorted(added), "mine")
    kept = [name for name in names if name not in added]
    assert [each["name"] for each in json.loads(found.head)["outputs"]] == kept
    assert found.tail == b"".join(packed[name] or b"" for name in kept)
    assert found.binary == any(packed[name] is not None for name in kept)
    assert {name: found.outputs[name].packed for name in names} == packed
    with pytest.raises(ValueError, match="another size"):
        restored(Split(head, behind + b"x"), (), "")


def test_bytes_that_are_no_text_pass_in_answers() -> None:
    body = b'{"outputs":[{"name":"OUT","datatype":"BYTES","shape":[1],"data":["\xff\xfe"]}]}'
    found = restored(split(body, None, "surrogateescape"), (), "")
    assert found.head == body


def test_names_given_twice_pass_in_answers_as_triton_writes_them_for_ensembles() -> None:
    head = '{"parameters":{"sequence_id":0,"sequence_id":0},"outputs":[]}'
    assert restored(Split(head, b""), (), "").head.decode() == head


@pytest.mark.parametrize("length", ["", "x", "-1", "0", "8", "07x", "٣", "1" * 13])
def test_a_length_of_the_head_that_is_none_is_refused(length: str) -> None:
    with pytest.raises(BadRequest):
        split(b'{"a":1}', length)
    assert split(b'{"a":1}rest', "7") == ('{"a":1}', b"rest")


def test_the_priority_and_the_id_are_ours_wherever_the_client_puts_its_own() -> None:
    asked = inference(Split('{"id":"theirs","parameters":{"priority":1,"a":true}}', b""))
    head, added = forwarded(asked, "ours", 7, ["TOKENS"], {})
    assert json.loads(head) == {"id": "ours", "parameters": {"a": True, "priority": 7}}
    assert added == ()  # it named no outputs, and so gets all of them
    described = Description({"TEXT": ("BYTES", (-1, 1))}, {}, decoupled=False)
    text = b'{"id":"theirs","priority":1,"TEXT":"a","parameters":{"priority":2,"id":"x","b":1}}'
    with pytest.raises(Invalid, match="beside"):
        prompt(text, described, METER)
    found = prompt(text.replace(b'"priority":1,', b""), described, METER)
    assert found.id == "theirs"
    assert json.loads(forwarded_prompt(found, "ours", 7)) == {
        "id": "ours",
        "priority": 7,
        "TEXT": "a",
        "parameters": {"b": 1},
    }


@pytest.mark.parametrize(
    ("shape", "value", "expected"),
    [
        ((-1, 1), "a", (1, 1)),
        ((-1, 1), ["a", "b"], (2, 1)),
        ((-1, 3), [1, 2, 3, 4, 5, 6], (2, 3)),
        ((2, 3), [1, 2, 3, 4, 5, 6], (6,)),
        ((-1, -1), [1, 2, 3], (3,)),
        ((-1, 3), [1, 2], (2,)),
        ((), 5, (1,)),
        ((-1,), [], (0,)),
    ],
)
def test_a_list_has_the_shape_that_its_model_leaves_open(
    shape: tuple[int, ...], value: Any, expected: tuple[int, ...]
) -> None:
    assert tensor({"X": ("INT32", shape)}, "X", value).shape == expected


def test_binary_inputs_are_cut_from_behind_the_head_in_order() -> None:
    first, second = struct.pack("<2i", 3, 4), b"\x01\x00\x00\x00x"
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "A",
                    "shape": [2],
                    "datatype": "INT32",
                    "parameters": {"binary_data_size": 8},
                },
                {"name": "L", "shape": [1], "datatype": "INT32", "data": [1]},
                {
                    "name": "B",
                    "shape": [1],
                    "datatype": "BYTES",
                    "parameters": {"binary_data_size": 5},
                },
            ]
        }
    )
    found = inference(Split(head, first + second)).inputs
    assert (found["A"].packed, found["L"].listed, found["B"].packed) == (first, [1], second)
