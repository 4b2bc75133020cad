"""What an inference used when its answer is lost, or its device time comes later."""

import pytest
from pydantic import TypeAdapter

from domain import meters
from domain.command import read
from domain.meters_format import Meter
from domain.tensors import Tensor

FORMULA = {"formula": {"gpu_seconds": "2", "pages": "0.5", "constant": "1"}}
TIMED = {"gpu_seconds": {"traces": True}, "pages": {"input_shape": "PAGES"}}
REQUEST = meters.Request({"PAGES": Tensor("BYTES", (3,), listed=["a", "b", "c"])}, {"n": 7})


def meter(**usage: object) -> Meter:
    estimate = {unit: {"constant": "1"} for unit in usage if unit == "gpu_seconds"}
    if "output_tokens" in usage:
        estimate["output_tokens"] = {"constant": 1}  # type: ignore[dict-item]
    body = {"name": "m", "usage": usage, "estimate": estimate}
    found: Meter = read(TypeAdapter(Meter), body)
    return found


def test_what_the_request_tells_is_known_before() -> None:
    given = meter(**TIMED, requests={"constant": 1}, compute_units=FORMULA)
    assert meters.known_before(given, REQUEST) == {"pages": 3, "requests": 1}


def test_what_the_request_leaves_out_is_none_of_it() -> None:
    given = meter(**TIMED)
    assert meters.known_before(given, meters.Request({}, {})) == {"pages": 0}


def test_without_an_answer_the_rest_comes_from_the_traces() -> None:
    given = meter(**TIMED, compute_units=FORMULA)
    found = meters.without_answer(given, {"pages": 3}, 250_000)
    assert found == {"compute_units": 3_000_000, "gpu_seconds": 250_000, "pages": 3}


@pytest.mark.parametrize("source", [{"output": "N"}, {"response_parameter": "n"}])
def test_what_only_the_answer_tells_is_not_guessed(source: dict[str, str]) -> None:
    given = meter(**TIMED, output_tokens=source)
    known = meters.known_before(given, REQUEST)
    assert meters.without_answer(given, known, 250_000) is None


def test_with_its_device_time_a_usage_is_as_if_it_had_been_known_at_once() -> None:
    given = meter(**TIMED, output_tokens={"output": "N"}, compute_units=FORMULA)
    produced = meters.Produced({"output_tokens": 5}, 1)
    at_first = meters.usage(given, REQUEST, produced, 0)
    later = meters.with_device_time(given, at_first, 250_000)
    assert later == meters.usage(given, REQUEST, produced, 250_000)
    assert list(later) == sorted(later)


def test_a_request_that_cannot_be_metered_stops_nothing_and_is_told_in_the_end() -> None:
    given = meter(pages={"input": "PAGES"}, requests={"constant": 1})
    assert meters.known_before(given, REQUEST) == {"requests": 1}
    with pytest.raises(meters.UnmeteredError, match="pages is of type BYTES"):
        meters.usage(given, REQUEST, meters.NOTHING)
