"""Answers over HTTP that no sound server gives: each is parked once, and keeps no place."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.gateway.fake_http_server import fake_server, whole
from tests.gateway.http_serving import HttpServed, document, http_serving, wait
from tests.gateway.rig import Licensee, Rig, configured

HELD, PARKED, CHARGED = "reservation_held", "usage_parked", "reservation_settled"
METER = {
    "name": "textgen",
    "usage": {
        "input_tokens": {"output": "INPUT_TOKENS"},
        "output_tokens": {"response_parameter": "count"},
    },
    "estimate": {"input_tokens": {"input_bytes": "TEXT"}, "output_tokens": {"constant": 4}},
}
TAIL = b"\x01\0\0\0w"
COUNT = {"count": 1}


class Before(NamedTuple):
    """A gateway, and what the server behind it says."""

    served: HttpServed
    said: list[bytes]

    def asked(self, who: Licensee, verb: str, said: bytes) -> tuple[int, bytes]:
        """Ask once, and return the answer: then it is under way no more, and ended once."""
        self.said[:] = [said]
        gateway = self.served.gateway
        running, ended = set(gateway.running), gateway.ended.total()
        body = document() if verb == "infer" else {"TEXT": "a"}
        answer = self.served.post(who, f"textgen/{verb}", body)
        assert set(gateway.running) == running
        assert gateway.ended.total() == ended + 1
        return answer.status, answer.body


@pytest.fixture(scope="module")
def before(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Before]:
    said: list[bytes] = []
    with fake_server(lambda connection: connection.sendall(said[0])) as server:
        config = configured(http=server.address, meters=[METER])
        with http_serving(rig, tmp_path_factory.mktemp("home"), config) as served:
            yield Before(served, said)


def output(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "INT64", "shape": [1], **more}


def sized(size: Any, **more: Any) -> dict[str, Any]:
    """Return an output in binary, of a size that need not be one."""
    return output("OUT", parameters={"binary_data_size": size}, **more)


THREE = output("INPUT_TOKENS", data=[3])


def answered(outputs: Any, tail: bytes = b"", parameters: Any = COUNT) -> bytes:
    head = json.dumps({"outputs": outputs, "parameters": parameters}).encode()
    return whole(head + tail, f"Inference-Header-Content-Length: {len(head)}")


BROKEN = {
    "a size that is a text": answered([sized("5"), THREE], TAIL),
    "a size that is a fraction": answered([sized(5.0), THREE], TAIL),
    "a size that is true": answered([sized(True), THREE], b"w"),
    "a size that is a list": answered([sized([5]), THREE], TAIL),
    "a size below zero": answered([sized(-5), THREE], TAIL),
    "a size below zero, and a larger one": answered(
        [sized(-8), output("INPUT_TOKENS", parameters={"binary_data_size": 16})], bytes(8)
    ),
    "a size above all that came": answered([sized(6), THREE], TAIL),
    "a size beside data": answered([sized(5, data=[1]), THREE], TAIL),
    "no size for what is in binary": answered([output("OUT"), THREE], TAIL),
    "a size that is null": answered([sized(None, data=[1]), THREE], TAIL),
    "outputs that are an object": answered({"OUT": 1}),
    "outputs that are a number": answered(5),
    "outputs that are null": answered(None),
    "an output that is a list": answered([[THREE]]),
    "parameters of an output that are a list": answered([output("OUT", parameters=[]), THREE]),
    "a shape of texts": answered([output("OUT", data=[1]) | {"shape": ["1"]}, THREE]),
    "a shape of fractions": answered([output("OUT", data=[1]) | {"shape": [1.5]}, THREE]),
    "a shape of lists": answered([output("OUT", data=[1]) | {"shape": [[1]]}, THREE]),
    "a shape that is true": answered([output("OUT", data=[1]) | {"shape": [True]}, THREE]),
    "a shape that is an object": answered([output("OUT", data=[1]) | {"shape": {}}, THREE]),
    "a datatype that is a list": answered([output("OUT", data=[1]) | {"datatype": []}, THREE]),
    "parameters that are a list": answered([THREE], parameters=["count"]),
    "parameters that are a text": answered([THREE], parameters="count"),
    "parameters that are null": answered([THREE], parameters=None),
    "data nested too deeply": whole(b'{"outputs":' + b"[" * 100_000),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_an_answer_that_cannot_be_read_is_parked_and_told_as_unknown(
    rig: Rig, before: Before, broken: str
) -> None:
    who = rig.licensee()
    status, body = before.asked(who, "infer", BROKEN[broken])
    wait(lambda: who.names()[-1] == PARKED)
    assert who.names() == [HELD, PARKED]
    assert (status, json.loads(body)["error"]) == (504, "the server's answer cannot be read")


UNMETERED: dict[str, dict[str, Any]] = {
    "a count that is nested": {"INPUT_TOKENS": 3, "parameters": {"count": {"a": [1]}}},
    "a count that is true": {"INPUT_TOKENS": 3, "parameters": {"count": True}},
    "a count below zero": {"INPUT_TOKENS": 3, "parameters": {"count": -1}},
    "an element that is an object": {"INPUT_TOKENS": {"a": [1]}, "parameters": COUNT},
    "elements that are nested": {"INPUT_TOKENS": [[[{}]], [1]], "parameters": COUNT},
}
PARAMETERS_ALONE: dict[str, dict[str, Any]] = {
    "parameters that are a list": {"INPUT_TOKENS": 3, "parameters": ["count"]},
    "parameters that are a text": {"INPUT_TOKENS": 3, "parameters": "count"},
    "parameters that are null": {"INPUT_TOKENS": 3, "parameters": None},
}


@pytest.mark.parametrize("told", UNMETERED)
def test_an_answer_that_does_not_tell_its_counts_is_parked_and_passed_on(
    rig: Rig, before: Before, told: str
) -> None:
    who = rig.licensee()
    tokens, parameters = UNMETERED[told].values()
    outputs = [output("INPUT_TOKENS", data=tokens if isinstance(tokens, list) else [tokens])]
    assert before.asked(who, "infer", answered(outputs, parameters=parameters))[0] == 200
    wait(lambda: who.names()[-1] == PARKED)
    assert who.names() == [HELD, PARKED]


@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
@pytest.mark.parametrize("told", UNMETERED | PARAMETERS_ALONE)
def test_a_message_that_does_not_tell_its_counts_is_parked_and_passed_on(
    rig: Rig, before: Before, verb: str, told: str
) -> None:
    who = rig.licensee()
    message = json.dumps((UNMETERED | PARAMETERS_ALONE)[told]).encode()
    status, body = before.asked(who, verb, said_by(verb, message))
    wait(lambda: who.names()[-1] == PARKED)
    assert who.names() == [HELD, PARKED]
    assert status == 200
    assert b'"INPUT_TOKENS"' in body


@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
@pytest.mark.parametrize(
    "message", [b"[]", b"5", b"null", b'"OUT"', b"{", b'{"OUT":' + b"[" * 100_000, b"\xff", b"{}5"]
)
def test_a_message_that_cannot_be_read_is_parked(
    rig: Rig, before: Before, verb: str, message: bytes
) -> None:
    who = rig.licensee()
    status, body = before.asked(who, verb, said_by(verb, message))
    wait(lambda: who.names()[-1] == PARKED)
    assert who.names() == [HELD, PARKED]
    assert status == (504 if verb == "generate" else 200)
    assert b"data: " not in body


def said_by(verb: str, message: bytes) -> bytes:
    """Return an answer of one message."""
    if verb == "generate":
        return whole(message)
    return whole(b"data: " + message + b"\n\n", "Content-Type: text/event-stream")


@pytest.mark.parametrize("verb", ["infer", "generate", "generate_stream"])
def test_a_sound_answer_before_the_same_meter_is_charged(
    rig: Rig, before: Before, verb: str
) -> None:
    who = rig.licensee()
    sound = answered([sized(5), THREE], TAIL)
    if verb != "infer":
        message = {"OUT": "w", "INPUT_TOKENS": 3, "parameters": COUNT}
        sound = said_by(verb, json.dumps(message).encode())
    assert before.asked(who, verb, sound)[0] == 200
    (charge,) = who.until(1)
    assert who.names() == [HELD, CHARGED]
    assert charge.usage == {"input_tokens": 3, "output_tokens": 1}
