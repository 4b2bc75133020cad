"""`generate` and `generate_stream`: each message is metered as it passes, whoever leaves when."""

import hashlib
import json
from typing import Any

import pytest

from adapters.triton.server import TritonServer
from domain.events import ReservationSettled
from entrypoints.gateway.core import REQUEST_ID, USAGE
from tests.gateway.http_serving import (
    HttpServed,
    ask,
    wait,
)
from tests.gateway.http_serving import served as served  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.rig import Rig
from tests.support.triton import account

HELD, CHARGED, RELEASED = "reservation_held", "reservation_settled", "reservation_released"
STREAM = "textgen_stream/generate_stream"


def usage(charge: ReservationSettled) -> tuple[int, int]:
    return charge.usage["input_tokens"], charge.usage["output_tokens"]


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


@pytest.mark.parametrize("id", [None, "mine"])
def test_generate_is_answered_as_by_the_server_and_charged(
    rig: Rig, triton: TritonServer, served: HttpServed, id: str | None
) -> None:
    who = rig.licensee()
    asked: dict[str, Any] = {"TEXT": "a b c", "MAX_TOKENS": 5, "temperature": 0.5}
    if id is not None:
        asked["id"] = id
    through = served.post(who, "textgen/generate", asked)
    (charge,) = who.until(1)
    direct = ask(triton.http_address, "POST", "/v2/models/textgen/generate", asked)
    assert through.json.get("id") == id
    assert through.json["REQUEST_ID"] == charge.reservation  # what the model saw is not changed
    assert without(through.json, "REQUEST_ID") == without(direct.json, "REQUEST_ID")
    assert list(through.json) == list(direct.json)
    assert usage(charge) == (3, 5)
    assert through.headers[REQUEST_ID] == charge.reservation
    assert json.loads(through.headers[USAGE]) == charge.usage
    assert charge.response_hash == hashlib.sha256(through.body).hexdigest()


def test_inputs_may_stand_among_the_parameters_and_are_metered_there(
    rig: Rig, served: HttpServed
) -> None:
    who = rig.licensee()
    served.post(who, "textgen/generate", {"parameters": {"TEXT": "a b", "MAX_TOKENS": 3}})
    assert usage(who.until(1)[0]) == (2, 3)


@pytest.mark.parametrize(
    "asked",
    [
        b'{"TEXT":"a","TEXT":"a b c"}',
        b'{"TEXT":"a","parameters":{"TEXT":"a b c"}}',
        b'{"TEXT":"a","MAX_TOKENS":-5}',
        b'{"TEXT":"a","MAX_TOKENS":4294967297}',
        b'{"TEXT":"a","MAX_TOKENS":1e1}',
        b'{"TEXT":"a","MAX_TOKENS":"7"}',
        b'{"TEXT":5000000000}',
        b'{"TEXT":"a","parameters":[]}',
        b'{"TEXT":"a","triton_x":1}',
        b'{"TEXT":"a","id":7}',
        b'{"TEXT":"a"} {}',
        b'["TEXT"]',
        b'{"TEXT":"\xff"}',
        b"",
    ],
)
def test_what_the_server_could_read_otherwise_is_refused_before_it_runs(
    rig: Rig, served: HttpServed, asked: bytes
) -> None:
    who = rig.licensee()
    for verb in ("textgen/generate", STREAM):
        assert served.post(who, verb, asked).status in (400, 422)
    assert who.names() == []


def test_a_batch_by_generate_is_charged_for_all_of_its_rows(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    asked = {"TEXT": ["a b", "c"], "MAX_TOKENS": [2, 5]}
    assert len(served.post(who, "textgen/generate", asked).json["OUT"]) == 2
    assert usage(who.until(1)[0]) == (3, 7)


def test_a_cached_answer_to_generate_is_charged_as_one(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    for _ in range(2):
        served.post(who, "textgen_cached/generate", {"TEXT": f"once {who.customer}"})
    first, second = (each.usage for each in who.until(2))
    assert first == {"input_tokens": 2, "output_tokens": 16}
    assert second == {"cached_input_tokens": 2, "output_tokens": 16}


@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
def test_an_error_of_the_server_is_passed_on_and_free(
    rig: Rig, triton: TritonServer, served: HttpServed, verb: str
) -> None:
    who = rig.licensee()
    asked = {"TEXT": "boom", "id": "mine"}
    through = served.post(who, f"textgen/{verb}", asked)
    direct = ask(triton.http_address, "POST", f"/v2/models/textgen/{verb}", asked)
    assert (through.status, through.body) == (direct.status, direct.body)
    assert through.headers["content-type"] == direct.headers["content-type"]
    wait(lambda: who.names() == [HELD, RELEASED])


def test_generate_of_a_streaming_model_gives_its_one_answer(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    answer = served.post(who, "textgen_stream/generate", {"TEXT": "a b", "MAX_TOKENS": 1})
    assert answer.status == 200
    assert answer.json["OUTPUT_TOKENS"] == 1
    assert usage(who.until(1)[0]) == (2, 1)


def test_generate_of_a_model_that_goes_on_is_stopped_and_not_for_nothing(
    rig: Rig, triton: TritonServer, served: HttpServed
) -> None:
    who = rig.licensee()
    asked = {"TEXT": "a b", "MAX_TOKENS": 400, "DELAY_MS": 20}
    answer = served.post(who, "textgen_stream/generate", asked)
    assert answer.status == 400
    assert "exactly 1 response" in answer.json["error"]
    (charge,) = who.until(1)
    assert usage(charge) == (2, 2)
    wait(lambda: made(triton, charge.reservation) != [])
    (line,) = made(triton, charge.reservation)
    assert line["outcome"] == "cancelled"
    assert line["chunks"] < 400


def made(triton: TritonServer, id: str) -> list[dict[str, Any]]:
    """Return what the model itself says of an inference."""
    return [each for each in account(triton, "textgen_stream") if each["request_id"] == id]
