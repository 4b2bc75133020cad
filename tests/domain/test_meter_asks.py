"""Inputs that bring counts: a client that leaves them out is not asked, one that says no is."""

from typing import Any

import pytest
from pydantic import TypeAdapter
from tollbook.errors import Invalid

from domain.command import read
from domain.meter_asks import check, lacking
from domain.meters import NOTHING, added
from domain.meters_format import Meter
from domain.tensors import ELEMENTS_MAX, Tensor

ADAPTER = TypeAdapter(Meter)
READ, MADE = "num_input_tokens", "num_output_tokens"
USAGE: dict[str, Any] = {
    "input_tokens": {"output": READ, "messages": "last"},
    "output_tokens": {"output": MADE},
}
HELD = {"input_tokens": {"input_bytes": "text_input"}, "output_tokens": {"constant": 9}}


def chat(usage: dict[str, Any] = USAGE, **fields: Any) -> Meter:
    body = {"name": "chat", "usage": usage, "estimate": HELD, **fields}
    found: Meter = read(ADAPTER, body)
    return found


METER = chat(ask={READ: "return_input", MADE: "return_output"})


def boolean(packed: bytes | None = None, listed: Any = None, datatype: str = "BOOL") -> Tensor:
    return Tensor(datatype, (1,), packed, listed)


def test_what_a_request_leaves_out_is_lacking_by_the_output_that_it_brings() -> None:
    assert lacking(METER, {}) == {READ: "return_input", MADE: "return_output"}
    assert lacking(METER, {"return_input": boolean(b"\1")}) == {MADE: "return_output"}
    assert lacking(chat(), {}) == {}


def test_what_else_an_input_brings_is_lacking_too() -> None:
    meter = chat(ask={MADE: "return_counts", "text_length": "return_counts"})
    assert lacking(meter, {}) == dict.fromkeys([MADE, "text_length"], "return_counts")


@pytest.mark.parametrize(
    "given",
    [boolean(b"\1"), boolean(b"\1\1"), boolean(listed=[True]), boolean(listed=[[True], [True]])],
)
def test_a_client_may_ask_for_the_counts_itself(given: Tensor) -> None:
    check(METER, {"return_output": given})


@pytest.mark.parametrize(
    "given",
    [
        boolean(b"\0"),
        boolean(b"\1\0"),
        boolean(b"\2"),
        boolean(b""),
        boolean(listed=[]),
        boolean(listed=[False]),
        boolean(listed=[True, False]),
        boolean(listed=[1]),
        boolean(listed=[True] * (ELEMENTS_MAX + 1)),
        boolean(listed=["true"]),
        boolean(),
        boolean(b"\1", datatype="UINT8"),
        boolean(listed=[True], datatype="INT32"),
    ],
)
def test_a_client_that_would_blind_the_meter_is_refused(given: Tensor) -> None:
    with pytest.raises(Invalid, match=r"inputs.return_output .*true, or left out.*num_output"):
        check(METER, {"return_output": given})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"ask": {"text": "return_text"}},
            "ask.text must have an input that brings what its usage counts",
        ),
        ({"ask": {MADE: ""}}, "at least 1"),
        ({"ask": {MADE: 1}}, "a valid string"),
        (
            {"usage": {**USAGE, "requests": {"constant": 1, "messages": "last"}}},
            "must have messages only beside output, response_parameter, output_shape",
        ),
        ({"usage": {**USAGE, "input_tokens": {"output": READ, "messages": "first"}}}, "sum"),
    ],
)
def test_what_does_not_fit_is_told(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        chat(**changes)


def test_of_a_count_that_every_message_repeats_the_last_one_is_charged() -> None:
    produced = NOTHING
    for read_now, made in ((5, 2), (5, 2), (5, 1)):
        message = {
            READ: Tensor("UINT32", (1,), listed=[read_now]),
            MADE: Tensor("UINT32", (1,), listed=[made]),
        }
        produced = added(METER, produced, message, {}, "own")
    assert added(METER, produced, {}, {}, "own") == produced  # the end of a stream says nothing
    assert produced.counts == {"input_tokens": 5, "output_tokens": 5}
