"""Bodies that no honest client sends: refused before they cost anything."""

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from entrypoints.gateway import http_bodies
from tests.gateway.held_up import HeldUp
from tests.gateway.http_serving import (
    BYTES_MAX,
    Answer,
    HttpServed,
    document,
    wait,
)
from tests.gateway.http_serving import served as served  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.http_serving import strict as strict  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.rig import Licensee, Rig

HELD, RELEASED, PARKED = "reservation_held", "reservation_released", "usage_parked"
INFER = "/v2/models/textgen/infer"
LENGTH = "Inference-Header-Content-Length"


def tailed(head: dict[str, Any], tail: bytes, length: str | None = None) -> tuple[bytes, str]:
    data = json.dumps(head).encode()
    return data + tail, str(len(data)) if length is None else length


BINARY_INPUT = {
    "name": "TEXT",
    "shape": [1, 1],
    "datatype": "BYTES",
    "parameters": {"binary_data_size": 7},
}


PACKED = struct.pack("<I", 3) + b"a b"


@pytest.mark.parametrize(
    ("tail", "length"),
    [
        (PACKED[:-1], None),
        (PACKED[:3], None),
        (b"", None),
        (PACKED + b"x", None),
        (struct.pack("<I", 2**32 - 1) + b"a b", None),
        (PACKED, "10"),
        (PACKED, "1000000"),
        (PACKED, "0"),
        (PACKED, "-1"),
        (PACKED, "1e2"),
        (PACKED, " "),
        (PACKED, "9" * 4_000),
    ],
    ids=map(str, range(12)),
)
def test_half_a_tensor_or_a_wrong_length_of_the_head_is_refused(
    rig: Rig, strict: HttpServed, tail: bytes, length: str | None
) -> None:
    who = rig.licensee()
    body, header = tailed({"inputs": [BINARY_INPUT]}, tail, length)
    answer = strict.ask("POST", INFER, body, {**who.headers, LENGTH: header})
    assert answer.status in (400, 422)
    assert who.names() == []


def texted(**more: Any) -> dict[str, Any]:
    """Return a whole input with something else about it."""
    return {"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": ["a b"], **more}


def whole_inputs(*more: dict[str, Any], **beside: Any) -> bytes:
    return json.dumps({"inputs": [texted(), *more], **beside}).encode()


def number(value: Any, datatype: str = "INT32") -> dict[str, Any]:
    return {"name": "MAX_TOKENS", "shape": [1, 1], "datatype": datatype, "data": [value]}


REFUSED = {
    "no JSON": b"{",
    "nothing": b"",
    "a list": b"[]",
    "two documents": whole_inputs() + b"{}",
    "bytes that are no text": b'{"inputs":"\xff"}',
    "another encoding": whole_inputs().decode().encode("utf-16"),
    "a deep nest": b'{"inputs":' + b"[" * 40_000 + b"]" * 40_000 + b"}",
    "inputs twice": b'{"inputs":[],' + whole_inputs()[1:],
    "ids twice": b'{"id":"a","id":"b",' + whole_inputs()[1:],
    "a parameter twice": whole_inputs()[:-1] + b',"parameters":{"priority":9,"priority":1}}',
    "a shape twice": whole_inputs().replace(b'"shape"', b'"shape":[9,9],"shape"'),
    "a name with a zero": whole_inputs(id="x").replace(b'"id"', b'"id\\u0000"'),
    "an output with a zero": whole_inputs(outputs=[{"name": "OUT\0PUT"}]),
    "an input given twice": whole_inputs(texted()),
    "an id that is a number": whole_inputs(id=7),
    "an id that has no encoding": whole_inputs(id="\ud800"),
    "parameters that are a list": whole_inputs(parameters=["priority"]),
    "a reserved parameter": whole_inputs(parameters={"triton_other": True}),
    "outputs that are an object": whole_inputs(outputs={"name": "OUT"}),
    "an output without a name": whole_inputs(outputs=[{}]),
    "the meter's output as classes": whole_inputs(
        outputs=[{"name": "OUTPUT_TOKENS", "parameters": {"classification": 1}}]
    ),
    "shared memory for an input": json.dumps(
        {"inputs": [texted(parameters={"shared_memory_region": "x"})]}
    ).encode(),
    "shared memory for an output": whole_inputs(
        outputs=[{"name": "OUT", "parameters": {"shared_memory_byte_size": 9}}]
    ),
    "data twice over": json.dumps(
        {"inputs": [texted(parameters={"binary_data_size": 0})]}
    ).encode(),
    "a size below zero": json.dumps(
        {"inputs": [texted(parameters={"binary_data_size": -1})]}
    ).encode(),
    "a size that is true": json.dumps(
        {"inputs": [{**BINARY_INPUT, "parameters": {"binary_data_size": True}}]}
    ).encode(),
    "a shape below zero": json.dumps({"inputs": [texted(shape=[-1, 1])]}).encode(),
    "a shape of fractions": json.dumps({"inputs": [texted(shape=[1.0, 1])]}).encode(),
    "an input without a type": json.dumps(
        {"inputs": [{"name": "TEXT", "shape": [1, 1], "data": ["a"]}]}
    ).encode(),
    "a text that is a number": json.dumps({"inputs": [texted(data=[5_000_000_000])]}).encode(),
    "too many inputs": json.dumps(
        {"inputs": [texted(), *({**number(1), "name": f"t-{each}"} for each in range(1_100))]}
    ).encode(),
    "too many outputs": whole_inputs(outputs=[{"name": f"t-{each}"} for each in range(1_100)]),
    "a number below zero": whole_inputs(number(-5)),
    "a number below zero beside another": whole_inputs(
        {**number(0), "shape": [2, 1], "data": [100, -100]}
    ),
    "a number that its type cannot hold": whole_inputs(number(2**32 + 3)),
    "a fraction": whole_inputs(number(1.5)),
    "a number as text": whole_inputs(number("7")),
    "a number of many digits": whole_inputs()[:-2]
    + b',{"name":"MAX_TOKENS","shape":[1,1],"datatype":"INT32","data":['
    + b"9" * 5_000
    + b"]}]}",
    "another type than the meter counts": whole_inputs(number(7, "FP32")),
    "no input that the meter needs": json.dumps({"inputs": [number(3)]}).encode(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_server_and_the_meter_could_read_apart_is_refused(
    rig: Rig, strict: HttpServed, name: str
) -> None:
    who = rig.licensee()
    answer = strict.ask("POST", INFER, REFUSED[name], who.headers)
    assert answer.status in (400, 422), answer
    assert answer.json["error"]
    assert who.names() == []


@pytest.mark.parametrize(
    ("model", "name", "shape", "size"),
    [
        ("document", "PAGES", [1], 3),
        ("document", "PAGES", [9], 3),
        ("image", "IMAGE", [1, 1, 1, 1], 48),
        ("image", "IMAGE", [9, 1, 1, 1], 1),
    ],
)
def test_a_shape_that_is_not_the_datas_runs_nowhere_and_costs_nothing(
    rig: Rig, strict: HttpServed, model: str, name: str, shape: list[int], size: int
) -> None:
    who = rig.licensee()
    data = (struct.pack("<I", 1) + b"p") * size if name == "PAGES" else bytes(size)
    given = {
        "name": name,
        "shape": shape,
        "datatype": "BYTES" if name == "PAGES" else "UINT8",
        "parameters": {"binary_data_size": len(data)},
    }
    body, length = tailed({"inputs": [given]}, data)
    answer = strict.ask("POST", f"/v2/models/{model}/infer", body, {**who.headers, LENGTH: length})
    assert answer.status >= 400
    strict.idle()
    wait(lambda: who.names() in ([], [HELD, RELEASED]))


@pytest.mark.parametrize("length", [True, False])
def test_a_body_that_is_too_large_is_refused_with_and_without_its_length(
    rig: Rig, strict: HttpServed, length: bool
) -> None:
    who = rig.licensee()
    with strict.socket() as client:
        size = f"Content-Length: {BYTES_MAX + 1}" if length else "Transfer-Encoding: chunked"
        head = f"POST {INFER} HTTP/1.1\r\nHost: a\r\ntollbook-license-key: {who.key}\r\n{size}"
        client.sendall(f"{head}\r\n\r\n".encode())
        if not length:
            client.sendall(b"%x\r\n" % (BYTES_MAX + 1) + b" " * (BYTES_MAX + 1) + b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    assert who.names() == []


@pytest.mark.parametrize(
    ("encoding", "packed", "status"),
    [
        ("gzip", lambda: gzip.compress(b" " * 50_000_000), 413),
        ("deflate", lambda: zlib.compress(b" " * 50_000_000), 413),
        ("gzip", lambda: gzip.compress(whole_inputs())[:-9], 400),
        ("gzip", lambda: gzip.compress(whole_inputs()) + b"more", 400),
        ("gzip", whole_inputs, 400),
        ("br", whole_inputs, 415),
        ("gzip, gzip", lambda: gzip.compress(gzip.compress(whole_inputs())), 415),
    ],
    ids=("bomb", "zlib bomb", "cut", "more behind", "plain", "unknown", "twice"),
)
def test_a_compressed_body_is_unpacked_with_a_bound(
    rig: Rig, strict: HttpServed, encoding: str, packed: Callable[[], bytes], status: int
) -> None:
    who = rig.licensee()
    given = {**who.headers, "Content-Encoding": encoding}
    assert strict.ask("POST", INFER, packed(), given).status == status
    assert who.names() == []


@pytest.mark.parametrize("verb", ["infer", "generate", "generate_stream"])
@pytest.mark.parametrize("value", [b"1", b"{}"], ids=["numbers", "objects"])
def test_the_largest_json_holds_up_nobody_else_for_long(
    rig: Rig, served: HttpServed, verb: str, value: bytes
) -> None:
    who = rig.licensee()
    shown = {**who.headers, "Content-Encoding": "gzip"}
    listed = b",".join([value] * (60_000_000 // (len(value) + 1)))
    packed = gzip.compress(b'{"TEXT":"a","MAX_TOKENS":[' + listed + b"]}", 1)
    with HeldUp(rig) as held_up:
        answer = served.ask("POST", f"/v2/models/textgen/{verb}", packed, shown)
    assert (answer.status, answer.json["field"]) == (422, "body")
    assert held_up.seconds < 1.5
    assert who.names() == []


def test_a_long_prompt_is_not_taken_for_many_values(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee(amount="1000")
    text = "to be, or not to be, " * 40_000
    assert served.post(who, "textgen/infer", document(text, 1)).status == 200


def test_no_body_is_kept_in_the_count_of_bodies(rig: Rig, strict: HttpServed) -> None:
    who = rig.licensee()
    given = {**who.headers, "Content-Encoding": "gzip"}
    assert strict.ask("POST", INFER, gzip.compress(b" " * 50_000_000), given).status == 413
    strict.post(who, "textgen/infer", document())
    strict.idle()
    wait(lambda: strict.front.held == 0)


def posted(strict: HttpServed, who: Licensee, body: Any, **headers: str) -> Answer:
    return strict.post(who, "textgen/infer", body, **headers)


def test_more_bytes_at_once_than_there_may_be_are_refused(
    rig: Rig, strict: HttpServed, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = rig.licensee()
    monkeypatch.setattr(http_bodies, "READ_AT_ONCE", 50)
    answer = posted(strict, who, document())
    assert (answer.status, answer.json["code"]) == (503, "overloaded")
    assert who.names() == []
