"""Meters: what is held before an inference, and what is charged after it."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tollbook.errors import Invalid

from domain.command import read
from domain.meters import (
    NOTHING,
    Produced,
    Request,
    UnmeteredError,
    added,
    estimate,
    known_before,
    usage,
    waits_for_traces,
    wanted_outputs,
    without_answer,
)
from domain.meters_format import BEFORE, SOURCES, Meter, Source
from domain.tensors import Tensor
from domain.units import QUANTITY_MAX

ADAPTER = TypeAdapter(Meter)
TEXT = {
    "input_tokens": {"output": "INPUT_TOKENS"},
    "output_tokens": {"output": "OUTPUT_TOKENS"},
}
HELD = {
    "input_tokens": {"input_bytes": "TEXT"},
    "output_tokens": {"input": "MAX_TOKENS", "default": 16, "most": 100},
}


def meter(usage: dict[str, Any] = TEXT, estimate: dict[str, Any] = HELD, **fields: Any) -> Meter:
    body = {"name": "textgen", "usage": usage, "estimate": estimate, **fields}
    found: Meter = read(ADAPTER, body)
    return found


def numbers(*values: int) -> Tensor:
    return Tensor("INT64", (len(values),), struct.pack(f"<{len(values)}q", *values))


def text(*values: str) -> Tensor:
    return Tensor("BYTES", (len(values),), listed=values)


def asked(**inputs: Tensor) -> Request:
    return Request(inputs, {})


def answer(input_tokens: int, output_tokens: int) -> dict[str, Tensor]:
    return {"INPUT_TOKENS": numbers(input_tokens), "OUTPUT_TOKENS": numbers(output_tokens)}


ASKED = asked(TEXT=text("a b c"), MAX_TOKENS=numbers(7))


@pytest.mark.parametrize(
    ("request_", "held"),
    [
        (ASKED, {"input_tokens": 5, "output_tokens": 7}),
        (asked(TEXT=text("x" * 40)), {"input_tokens": 40, "output_tokens": 16}),
        (asked(TEXT=text("a"), MAX_TOKENS=numbers(101)), {"input_tokens": 1, "output_tokens": 100}),
        (
            asked(TEXT=text("a", "b"), MAX_TOKENS=numbers(9, 8)),
            {"input_tokens": 2, "output_tokens": 17},
        ),
    ],
)
def test_what_is_held_is_read_from_the_request(request_: Request, held: dict[str, int]) -> None:
    assert estimate(meter(), request_) == held


def test_what_cannot_be_estimated_names_what_is_missing() -> None:
    with pytest.raises(Invalid, match="TEXT") as caught:
        estimate(meter(), asked())
    assert caught.value.facts["field"] == "TEXT"


@pytest.mark.parametrize(
    "bad", [Tensor("FP32", (1,), b"0000"), Tensor("INT64", (1,), b"123"), numbers(-1)]
)
def test_an_input_that_cannot_be_metered_is_invalid(bad: Tensor) -> None:
    with pytest.raises(Invalid, match="MAX_TOKENS"):
        estimate(meter(), asked(TEXT=text("a"), MAX_TOKENS=bad))


@pytest.mark.parametrize(("given", "held"), [(None, 16), (5, 5), ("12", 12), (4000, 100)])
def test_a_parameter_of_the_request_sizes_the_hold(given: Any, held: int) -> None:
    sized = meter(
        estimate={**HELD, "output_tokens": {"parameter": "max", "default": 16, "most": 100}}
    )
    parameters = {} if given is None else {"max": given}
    request = Request({"TEXT": text("a")}, parameters)
    assert estimate(sized, request)["output_tokens"] == held


@pytest.mark.parametrize("given", [True, 1.5, "1.5", "-1", -1, [], "9" * 30])
def test_a_parameter_that_is_no_count_is_invalid(given: Any) -> None:
    sized = meter(estimate={**HELD, "output_tokens": {"parameter": "max"}})
    with pytest.raises(Invalid, match="max"):
        estimate(sized, Request({"TEXT": text("a")}, {"max": given}))


def test_what_is_charged_is_what_the_outputs_say() -> None:
    produced = added(meter(), NOTHING, answer(3, 11), {}, "inf_1")
    assert usage(meter(), ASKED, produced) == {"input_tokens": 3, "output_tokens": 11}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9))
def test_the_messages_of_a_stream_add_up(messages: list[tuple[int, int]]) -> None:
    produced = NOTHING
    for message in messages:
        produced = added(meter(), produced, answer(*message), {}, "inf_1")
    assert produced.messages == len(messages)
    assert usage(meter(), ASKED, produced) == {
        "input_tokens": sum(each for each, _ in messages),
        "output_tokens": sum(each for _, each in messages),
    }


def test_a_message_without_outputs_only_ends_a_stream() -> None:
    produced = added(meter(), NOTHING, answer(3, 1), {}, "inf_1")
    assert added(meter(), produced, {}, {"triton_final_response": True}, "inf_1") == produced


def test_a_batch_in_one_request_is_summed() -> None:
    outputs = {"INPUT_TOKENS": numbers(3, 4), "OUTPUT_TOKENS": numbers(5, 6)}
    produced = added(meter(), NOTHING, outputs, {}, "inf_1")
    assert usage(meter(), ASKED, produced) == {"input_tokens": 7, "output_tokens": 11}


@pytest.mark.parametrize(
    "outputs",
    [
        {"INPUT_TOKENS": numbers(3)},
        {"INPUT_TOKENS": numbers(3), "OUTPUT_TOKENS": Tensor("FP32", (1,), b"0000")},
        {"INPUT_TOKENS": numbers(3), "OUTPUT_TOKENS": numbers(-1)},
        {"INPUT_TOKENS": numbers(3), "OUTPUT_TOKENS": numbers(10**15 + 1)},
    ],
)
def test_an_answer_that_does_not_tell_is_unmetered(outputs: dict[str, Tensor]) -> None:
    with pytest.raises(UnmeteredError, match="OUTPUT_TOKENS"):
        added(meter(), NOTHING, outputs, {}, "inf_1")


def test_response_parameters_are_summed_like_outputs() -> None:
    told = meter({"output_tokens": {"response_parameter": "tokens"}}, HELD)
    produced = added(told, NOTHING, {"OUT": text("a")}, {"tokens": 3}, "i")
    produced = added(told, produced, {"OUT": text("a")}, {"tokens": "4"}, "i")
    assert usage(told, ASKED, produced) == {"output_tokens": 7}


@pytest.mark.parametrize(
    ("cache_hit", "charged"),
    [
        ("full", {"cached_input_tokens": 0, "input_tokens": 3, "output_tokens": 11}),
        ("as_cached_input", {"cached_input_tokens": 3, "output_tokens": 11}),
        ("free", {"cached_input_tokens": 0, "input_tokens": 0, "output_tokens": 0}),
    ],
)
def test_a_cached_answer_costs_what_its_meter_says(cache_hit: str, charged: dict[str, int]) -> None:
    told = meter(
        {**TEXT, "cached_input_tokens": {"constant": 0}},
        request_id_output="REQUEST_ID",
        cache_hit=cache_hit,
    )
    outputs = {**answer(3, 11), "REQUEST_ID": text("inf_0")}
    produced = added(told, NOTHING, outputs, {}, "inf_1")
    assert produced.cached
    assert usage(told, ASKED, produced) == charged
    own = {**outputs, "REQUEST_ID": text("inf_1")}
    assert not added(told, NOTHING, own, {}, "inf_1").cached


def test_pages_and_images_come_from_shapes() -> None:
    shaped = meter(
        {
            "pages": {"input_shape": "PAGES"},
            "images": {"input_shape": "IMAGE", "axis": 0},
            "requests": {"constant": 1},
        },
        {},
    )
    request = asked(PAGES=Tensor("BYTES", (2, 5)), IMAGE=Tensor("UINT8", (3, 64, 64)))
    known = {"images": 3, "pages": 10, "requests": 1}
    assert estimate(shaped, request) == known
    assert usage(shaped, request, Produced({}, 1)) == known


def test_compute_units_are_a_formula_over_the_other_units() -> None:
    formula = {"constant": "1", "output_tokens": "0.002", "input_tokens": "0.0005"}
    told = meter({**TEXT, "compute_units": {"formula": formula}})
    produced = added(told, NOTHING, answer(3, 11), {}, "i")
    assert usage(told, ASKED, produced)["compute_units"] == 1_023_500
    assert estimate(told, ASKED)["compute_units"] == 1_016_500


def test_gpu_seconds_are_the_share_of_device_time() -> None:
    told = meter({"gpu_seconds": {"traces": True}}, {"gpu_seconds": {"constant": "2.5"}})
    assert waits_for_traces(told)
    assert estimate(told, ASKED) == {"gpu_seconds": 2_500_000}
    assert usage(told, ASKED, Produced({}, 1), 1234) == {"gpu_seconds": 1234}
    assert usage(told, ASKED, Produced({}, 1, cached=True)) == {"gpu_seconds": 0}
    with pytest.raises(UnmeteredError, match="device time"):
        usage(told, ASKED, Produced({}, 1))


def test_the_outputs_that_a_meter_needs_are_known_beforehand() -> None:
    assert not waits_for_traces(meter())
    assert wanted_outputs(meter(request_id_output="REQUEST_ID")) == (
        "INPUT_TOKENS",
        "OUTPUT_TOKENS",
        "REQUEST_ID",
    )


def test_meters_of_one_name_are_told_apart_unless_they_are_equal() -> None:
    image = meter({"images": {"output_shape": "IMAGE"}}, {"images": {"constant": 1}})
    traced = meter({"gpu_seconds": {"traces": True}}, {"gpu_seconds": {"constant": "1"}})
    assert wanted_outputs(meter()) == wanted_outputs(meter()) == ("INPUT_TOKENS", "OUTPUT_TOKENS")
    assert wanted_outputs(image) == ("IMAGE",)
    assert [waits_for_traces(each) for each in (image, traced)] == [False, True]
    assert len({meter(), meter(), image, traced}) == 3


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_is_told_before_the_answer_or_by_it(kind: str) -> None:
    unlike: dict[str, Any] = {"formula": {"constant": "1"}, "traces": True, "constant": 1}
    given = unlike.get(kind, "X")
    source = Source(**{kind: given})
    assert (source.kind, source.is_told_before) == (kind, kind in BEFORE)


FORMULA = {"compute_units": {"formula": {"images": "1000000"}}}


@pytest.mark.parametrize(
    ("more", "said"), [({}, 2 * QUANTITY_MAX), (FORMULA, QUANTITY_MAX // 1000)]
)
def test_what_no_ledger_takes_cannot_be_metered_though_it_could_be_held(
    more: dict[str, Any], said: int
) -> None:
    held = {"images": {"parameter": "n", "most": 4}}
    made = meter({"images": {"parameter": "n"}, **more}, held)
    request = Request({}, {"n": said})
    assert estimate(made, request)["images"] == 4
    with pytest.raises(UnmeteredError, match=f"more than {QUANTITY_MAX}"):
        usage(made, request, NOTHING)
    assert known_before(made, request).get("images", 0) <= QUANTITY_MAX
    assert without_answer(made, {"images": said}, 0) is None


def test_messages_that_come_to_more_than_a_ledger_takes_cannot_be_metered() -> None:
    before = added(meter(), NOTHING, answer(1, QUANTITY_MAX), {}, "inf_1")
    with pytest.raises(UnmeteredError, match=f"more than {QUANTITY_MAX}"):
        added(meter(), before, answer(1, 1), {}, "inf_1")


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"usage": {}}, "usage"),
        ({"usage": {"tokens": {"constant": 1}}}, "tokens must be one of"),
        ({"usage": {"input_tokens": {}}}, "must name one of"),
        ({"usage": {"input_tokens": {"output": "A", "input": "B"}}}, "must name one of"),
        ({"usage": {"input_tokens": {"output": "A", "axis": 0}}}, "axis only beside"),
        ({"usage": {"input_tokens": {"constant": "1.5"}}}, "whole number as its constant"),
        ({"usage": {"gpu_seconds": {"constant": 1}}}, "decimal in quotes"),
        ({"usage": {"gpu_seconds": {"output": "A"}}}, "a constant, a formula or traces"),
        ({"usage": {"input_tokens": {"traces": True}}}, "gives gpu_seconds"),
        ({"usage": {"gpu_seconds": {"formula": {"constant": "1"}}}}, "gives compute_units"),
        ({"usage": {"compute_units": {"formula": {"words": "1"}}}}, "formula over"),
        ({"usage": {"output_tokens": {"output": "A"}}, "estimate": {}}, "must be given"),
        ({"usage": {"output_tokens": {"output": "A", "most": 5}}}, "without default and most"),
        ({"estimate": {"output_tokens": {"output": "A"}}}, "must be one of"),
        ({"estimate": {"words": {"constant": 1}}}, "words must be one of"),
        ({"cache_hit": "half"}, "cache_hit"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_meter_that_makes_no_sense_is_refused(fields: dict[str, Any], rule: str) -> None:
    body = {"name": "textgen", "usage": TEXT, "estimate": HELD, **fields}
    with pytest.raises(Invalid, match=rule):
        read(ADAPTER, body)
