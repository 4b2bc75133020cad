"""Our own models on a real Triton: what each answers, counts, and writes about itself."""

from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import tritonclient.grpc as client
from tritonclient.utils import InferenceServerException

from adapters.triton.server import TritonServer
from tests.support.triton import (
    account,
    connected,
    infer,
    tensor,
    text_inputs,
    traced,
    wait_until,
)


def fresh_id() -> str:
    """Make an id that no other test of the shared server uses."""
    return uuid4().hex


@pytest.mark.parametrize("model", ["textgen", "slow", "failing"])
def test_a_model_of_texts_counts_its_words(triton: TritonServer, model: str) -> None:
    name = fresh_id()
    answer = infer(triton, model, text_inputs("three words here", 5), request_id=name)
    assert answer.as_numpy("INPUT_TOKENS").tolist() == [[3]]
    assert answer.as_numpy("OUTPUT_TOKENS").tolist() == [[5]]
    assert answer.as_numpy("REQUEST_ID").tolist() == [[name.encode()]]
    assert len(answer.as_numpy("OUT").item().split()) == 5
    [line] = [line for line in account(triton, model) if line["request_id"] == name]
    assert (line["input_tokens"], line["output_tokens"], line["outcome"]) == (3, 5, "ok")
    assert line["device_ns"] > 1_000_000


def test_the_same_text_gives_the_same_words_and_sixteen_unless_told(triton: TritonServer) -> None:
    said = [infer(triton, "textgen", text_inputs("again")).as_numpy("OUT").item() for _ in "ab"]
    assert said[0] == said[1]
    assert len(said[0].split()) == 16


def test_a_request_of_two_texts_gets_a_count_for_each(triton: TritonServer) -> None:
    two = tensor("TEXT", "BYTES", [[b"one"], [b"one two"]])
    limits = tensor("MAX_TOKENS", "INT32", [[2], [3]])
    answer = infer(triton, "textgen", [two, limits])
    assert answer.as_numpy("INPUT_TOKENS").tolist() == [[1], [2]]
    assert answer.as_numpy("OUTPUT_TOKENS").tolist() == [[2], [3]]


def test_a_text_that_is_refused_fails_alone(triton: TritonServer) -> None:
    name = fresh_id()
    with pytest.raises(InferenceServerException, match="boom: the text is refused"):
        infer(triton, "textgen", text_inputs("a boom here"), request_id=name)
    [line] = [line for line in account(triton, "textgen") if line["request_id"] == name]
    assert (line["outcome"], line["output_tokens"], line["chunks"]) == ("error", 0, 0)


def test_a_model_fails_when_it_is_asked_to(triton: TritonServer) -> None:
    fails = client.InferInput("FAIL", [1, 1], "BOOL")
    fails.set_data_from_numpy(np.array([[True]]))
    with pytest.raises(InferenceServerException, match="fail: as the request asks"):
        infer(triton, "failing", [*text_inputs("a"), fails])
    name = fresh_id()
    with pytest.raises(InferenceServerException, match="crash: the whole batch fails"):
        infer(triton, "failing", text_inputs("crash"), request_id=name)
    [line] = [line for line in account(triton, "failing") if line["request_id"] == name]
    assert line["outcome"] == "error"


def test_a_pipeline_runs_its_stages_under_one_request_id(triton: TritonServer) -> None:
    name = fresh_id()
    answer = infer(triton, "pipeline", text_inputs("one two", 3), request_id=name)
    assert answer.as_numpy("INPUT_TOKENS").tolist() == [[5]]  # with three that were retrieved
    assert answer.as_numpy("OUTPUT_TOKENS").tolist() == [[3]]
    assert answer.as_numpy("OUT").item().endswith(b".")
    found = traced(triton, name, count=4)
    stages = {"pipeline", "retrieve", "textgen", "polish"}
    assert {trace["model_name"] for trace in found} == stages
    [root] = [trace["id"] for trace in found if "parent_id" not in trace]
    assert [trace.get("parent_id", root) for trace in found] == [root] * len(stages)


def test_the_cache_answers_with_the_words_about_the_first_request(triton: TritonServer) -> None:
    first, second, text = fresh_id(), fresh_id(), f"cached {fresh_id()}"
    infer(triton, "textgen_cached", text_inputs(text), request_id=first)
    answer = infer(triton, "textgen_cached", text_inputs(text), request_id=second)
    assert answer.get_response().id == second
    assert answer.as_numpy("REQUEST_ID").item() == first.encode()
    [trace] = traced(triton, second)
    assert not [stamp for stamp in trace["timestamps"] if stamp["name"].startswith("COMPUTE")]


def test_images_pages_and_numbers_are_answered(triton: TritonServer) -> None:
    images = tensor("IMAGE", "UINT8", [[[[200]]], [[[10]]]])
    answer = infer(triton, "image", [images])
    assert answer.as_numpy("LABEL").tolist() == [[b"bright"], [b"dark"]]
    pages = tensor("PAGES", "BYTES", [b"a b", b"c c", b""])
    assert infer(triton, "document", [pages]).as_numpy("SCORES").tolist() == [1.0, 0.5, 0.0]
    same = infer(triton, "identity", [tensor("IN", "FP32", [1.5, 2.5])])
    assert same.as_numpy("OUT").tolist() == [1.5, 2.5]


class Stream:
    """A stream of the public client, and what came of it so far."""

    def __init__(self, connection: Any, inputs: list[Any], request_id: str) -> None:
        """Ask the streaming model."""
        self.chunks: list[Any] = []
        self.errors: list[str] = []
        connection.start_stream(self._take)
        connection.async_stream_infer(
            "textgen_stream", inputs, request_id=request_id, enable_empty_final_response=True
        )

    def is_over(self) -> bool:
        """Tell whether the answer is complete."""
        last = self.chunks[-1].get_response() if self.chunks else None
        return last is not None and last.parameters["triton_final_response"].bool_param

    def _take(self, result: Any, error: Any) -> None:
        if error is None:
            self.chunks.append(result)
        else:
            self.errors.append(str(error))


def streamed(server: TritonServer, text: str) -> tuple[Stream, str]:
    """Run one stream of four words to its end."""
    name = fresh_id()
    with connected(server) as connection:
        stream = Stream(connection, text_inputs(text, 4, batched=False), name)
        wait_until(stream.is_over)
        connection.stop_stream()
    return stream, name


def test_a_stream_sends_a_word_at_a_time_and_says_its_usage(triton: TritonServer) -> None:
    stream, name = streamed(triton, "one two three")
    words = stream.chunks[:-1]
    assert [chunk.as_numpy("OUTPUT_TOKENS").tolist() for chunk in words] == [[1]] * 4
    assert [chunk.as_numpy("INPUT_TOKENS").item() for chunk in words] == [3, 0, 0, 0]
    assert {chunk.as_numpy("REQUEST_ID").item() for chunk in words} == {name.encode()}


@pytest.mark.parametrize(("text", "sent"), [("a boom here", 0), ("a crumble here", 2)])
def test_a_stream_may_fail_after_some_words(triton: TritonServer, text: str, sent: int) -> None:
    stream, name = streamed(triton, text)
    assert len(stream.chunks[:-1]) == sent
    assert stream.errors == ["boom: the text is refused"]
    [line] = [line for line in account(triton, "textgen_stream") if line["request_id"] == name]
    assert (line["outcome"], line["chunks"]) == ("error", sent)


def test_a_stream_that_is_cancelled_stops_working(triton: TritonServer) -> None:
    name = fresh_id()
    pause = tensor("DELAY_MS", "INT32", [5])
    with connected(triton) as connection:
        stream = Stream(connection, [*text_inputs("x", 2_000, batched=False), pause], name)
        wait_until(lambda: len(stream.chunks) >= 3)
        connection.stop_stream(cancel_requests=True)

    def lines() -> list[dict[str, Any]]:
        return [one for one in account(triton, "textgen_stream") if one["request_id"] == name]

    wait_until(lambda: bool(lines()))
    [line] = lines()
    assert line["outcome"] == "cancelled"
    assert 3 <= line["chunks"] < 2_000


def test_a_trace_carries_our_id_and_the_time_of_the_work(triton: TritonServer) -> None:
    name = fresh_id()
    infer(triton, "textgen", text_inputs("a text"), request_id=name)
    [trace] = traced(triton, name)
    at = {stamp["name"]: stamp["ns"] for stamp in trace["timestamps"]}
    [line] = [line for line in account(triton, "textgen") if line["request_id"] == name]
    assert at["COMPUTE_END"] - at["COMPUTE_START"] >= line["device_ns"]
