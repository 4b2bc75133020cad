"""Programs as the public client's own examples write them: only the address and the key change."""

import asyncio
import json
import queue
import urllib.request
from functools import partial
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as grpcclient_aio
import tritonclient.http as httpclient
import tritonclient.http.aio as httpclient_aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

WAIT_SECONDS = 30


class Place(NamedTuple):
    """What changes in a client: nothing else does."""

    grpc: str
    http: str
    headers: dict[str, str]


def texts(library: Any, text: str, tokens: int, *, batched: bool = True) -> list[Any]:
    """Make the inputs of a model of texts with the objects of a client library."""
    shape = [1, 1] if batched else [1]
    inputs = [
        library.InferInput("TEXT", shape, "BYTES"),
        library.InferInput("MAX_TOKENS", shape, "INT32"),
    ]
    inputs[0].set_data_from_numpy(np.array([text.encode()], dtype=np.object_).reshape(shape))
    inputs[1].set_data_from_numpy(np.array([tokens], dtype=np.int32).reshape(shape))
    return inputs


def words(result: Any) -> str:
    """Return the text of an answer."""
    return str(result.as_numpy("OUT").ravel()[0].decode())


def infer_over_grpc(place: Place) -> list[Any]:
    with grpcclient.InferenceServerClient(place.grpc, verbose=False) as client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("textgen", headers=place.headers)
        outputs = [grpcclient.InferRequestedOutput("OUT")]
        ask = partial(
            client.infer,
            model_name="textgen",
            inputs=texts(grpcclient, "a b c", 4),
            outputs=outputs,
            headers=place.headers,
        )
        first = ask(request_id="first", model_version="1", client_timeout=WAIT_SECONDS)
        packed = [ask(compression_algorithm=each) for each in ("gzip", "deflate")]
        named = ask(parameters={"mine": "x"}, priority=1, timeout=20_000_000)
        return [
            first.get_response().id,
            first.get_output("INPUT_TOKENS"),
            *(words(each) for each in (first, *packed, named)),
        ]


def infer_over_grpc_with_callbacks(place: Place) -> list[Any]:
    def completed(answers: Any, result: Any, error: Any) -> None:
        answers.put((result, error))

    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with grpcclient.InferenceServerClient(place.grpc) as client:
        for number in range(1, 6):
            client.async_infer(
                model_name="textgen",
                inputs=texts(grpcclient, "a " * number, number),
                callback=partial(completed, answers),
                request_id=str(number),
                headers=place.headers,
            )
        found = [answers.get(timeout=WAIT_SECONDS) for _ in range(5)]
    assert [error for _, error in found] == [None] * 5
    return sorted((result.get_response().id, words(result)) for result, _ in found)


def stream_over_grpc(place: Place) -> list[Any]:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with grpcclient.InferenceServerClient(place.grpc) as client:
        client.start_stream(
            callback=lambda result, error: answers.put((result, error)), headers=place.headers
        )
        for name, tokens in (("one", 3), ("two", 4)):
            client.async_stream_infer(
                model_name="textgen_stream",
                inputs=texts(grpcclient, f"{name} of two", tokens, batched=False),
                request_id=name,
            )
        client.async_stream_infer("pipeline", texts(grpcclient, "a b", 5), request_id="ensemble")
        client.stop_stream()  # it waits until all that was asked is answered
    found = [answers.get_nowait() for _ in range(answers.qsize())]
    assert [error for _, error in found] == [None] * 8
    told = [(result.get_response().id, words(result)) for result, _ in found]
    return sorted(told, key=lambda each: each[0])  # within an id, in the order in which they came


def infer_over_grpc_with_asyncio(place: Place) -> list[Any]:
    async def asking() -> Any:
        for number in (1, 2):
            inputs = texts(grpcclient, "a b", number, batched=False)
            yield {"model_name": "textgen_stream", "inputs": inputs, "request_id": str(number)}

    async def work() -> list[Any]:
        async with grpcclient_aio.InferenceServerClient(place.grpc) as client:
            assert await client.is_model_ready("textgen", headers=place.headers)
            asked = (
                client.infer("textgen", texts(grpcclient, "a b", tokens), headers=place.headers)
                for tokens in (1, 2)
            )
            whole = [words(each) for each in await asyncio.gather(*asked)]
            stream = client.stream_infer(asking(), headers=place.headers)
            told = [(each.get_response().id, words(each)) async for each, _ in stream]
            return [whole, sorted(told, key=lambda each: each[0])]

    return asyncio.run(work())


def infer_over_http(place: Place) -> list[Any]:
    with httpclient.InferenceServerClient(url=place.http, concurrency=1) as client:
        assert client.is_server_live() and client.is_server_ready()
        metadata = client.get_model_metadata("textgen", headers=place.headers)
        inputs = texts(httpclient, "a b c", 4)  # one set of objects for all requests
        found = []
        for binary in (True, False):
            output = httpclient.InferRequestedOutput("OUT", binary_data=binary)
            found.append(
                client.infer(
                    "textgen", inputs, outputs=[output], request_id="7", headers=place.headers
                )
            )
        inputs[1].set_data_from_numpy(np.array([[2]], dtype=np.int32))
        found.append(client.infer("textgen", inputs, headers=place.headers))
        ids = [each.get_response().get("id") for each in found]
        texts_found = [each.as_numpy("OUT").ravel().tolist() for each in found]
        return [metadata, ids, texts_found]


def infer_over_http_later(place: Place) -> list[Any]:
    with httpclient.InferenceServerClient(place.http, concurrency=4) as client:
        waiting = [
            client.async_infer("textgen", texts(httpclient, "a b", n), headers=place.headers)
            for n in (1, 2, 3, 4)
        ]
        return [words(each.get_result()) for each in waiting]


def infer_over_http_with_asyncio(place: Place) -> list[Any]:
    async def work() -> list[Any]:
        async with httpclient_aio.InferenceServerClient(place.http) as client:
            asked = (
                client.infer("pipeline", texts(httpclient, "a b", n), headers=place.headers)
                for n in (1, 2, 3)
            )
            return [words(each) for each in await asyncio.gather(*asked)]

    return asyncio.run(work())


def a_body_of_ones_own(place: Place) -> list[Any]:
    """Post what the library has written down with another library, and let it read the answer."""
    body, length = httpclient.InferenceServerClient.generate_request_body(
        texts(httpclient, "a b c d", 3),
        outputs=[httpclient.InferRequestedOutput("OUT", binary_data=True)],
    )
    answer, headers = posted(place, "textgen/infer", body, length)
    found = httpclient.InferenceServerClient.parse_response_body(
        answer, header_length=int(headers["Inference-Header-Content-Length"])
    )
    return [words(found)]


def posted(place: Place, path: str, body: bytes, length: int | None = None) -> tuple[bytes, Any]:
    """Post with the standard library alone."""
    more = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    request = urllib.request.Request(
        f"http://{place.http}/v2/models/{path}", data=body, headers={**place.headers, **more}
    )
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:  # noqa: S310
        return answer.read(), answer.headers


def generate(place: Place) -> list[Any]:
    body = json.dumps({"TEXT": "a b c", "MAX_TOKENS": 3, "id": "mine"}).encode()
    answer, _ = posted(place, "textgen/generate", body)
    found = json.loads(answer)
    found.pop("REQUEST_ID")  # the model says whose request it saw
    return [found]


def generate_a_stream(place: Place) -> list[Any]:
    body = json.dumps({"TEXT": "a b", "MAX_TOKENS": 4}).encode()
    answer, headers = posted(place, "textgen_stream/generate_stream", body)
    assert headers.get_content_type() == "text/event-stream"
    lines = answer.decode().split("\n\n")
    events = [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]
    return [event["OUT"] for event in events]


def ensemble(place: Place) -> list[Any]:
    with grpcclient.InferenceServerClient(place.grpc) as client:
        over_grpc = client.infer("pipeline", texts(grpcclient, "a b c", 5), headers=place.headers)
    with httpclient.InferenceServerClient(place.http) as client:
        config = client.get_model_config("pipeline", headers=place.headers)
        over_http = client.infer("pipeline", texts(httpclient, "a b c", 5), headers=place.headers)
    stages = [step["model_name"] for step in config["ensemble_scheduling"]["step"]]
    return [stages, words(over_grpc), words(over_http)]


def a_stub_of_ones_own(place: Place) -> list[Any]:
    """Ask with the generated stub and explicit contents, as clients without the library do."""
    request = service_pb2.ModelInferRequest(model_name="textgen", id="my request")
    text = request.inputs.add(name="TEXT", datatype="BYTES", shape=[1, 1])
    text.contents.bytes_contents.append(b"a b c")
    tokens = request.inputs.add(name="MAX_TOKENS", datatype="INT32", shape=[1, 1])
    tokens.contents.int_contents.append(2)
    request.outputs.add(name="OUT")
    with grpc.insecure_channel(place.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = stub.ModelInfer(request, metadata=tuple(place.headers.items()))
    return [answer]


def with_keepalive_and_arguments(place: Place) -> list[Any]:
    options = grpcclient.KeepAliveOptions(
        keepalive_time_ms=10_000, keepalive_permit_without_calls=True
    )
    found = []
    for more in (
        {"keepalive_options": options},
        {"channel_args": [("grpc.primary_user_agent", "mine")]},
    ):
        with grpcclient.InferenceServerClient(place.grpc, **more) as client:
            inputs = texts(grpcclient, "a", 2)
            found.append(words(client.infer("textgen", inputs, headers=place.headers)))
    return found


def errors_of_the_model(place: Place) -> list[Any]:
    found = []
    for library, address in ((grpcclient, place.grpc), (httpclient, place.http)):
        with library.InferenceServerClient(address) as client:
            with pytest.raises(InferenceServerException) as caught:
                client.infer("textgen", texts(library, "boom", 2), headers=place.headers)
            found.append((caught.value.status(), caught.value.message()))
    return found
