"""Models that count only when asked, metered as docs/gateway.md says: clients see nothing of it."""

import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from tollbook.errors import Invalid
from tritonclient.grpc import service_pb2 as pb

from adapters.triton.server import TritonServer
from tests.gateway.grpc_serving import GrpcServed, grpc_serving, metadata
from tests.gateway.http_serving import HttpServed, ask, http_serving
from tests.gateway.rig import Licensee, Rig, configured
from tests.gateway.test_checking import checked
from tests.support.triton import a_triton, account

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"```toml\n(\[\[model\]\]\nname = \"llama\".*?)```", PAGE, re.DOTALL)
CHAT: dict[str, Any] = tomllib.loads(EXAMPLE)["model"][0]
CHAT["price_model"] = "textgen"
READ, MADE = "num_input_tokens", "num_output_tokens"
ASK: dict[str, str] = CHAT["ask"]
METERS = [{**CHAT, "name": name} for name in ("chat", "chat_whole")]
CHAT_MODEL = Path(__file__).parent / "chat_models" / "chat"
SAID, MOST = "how are you", 5
"""Three tokens, and as many as are made of them: in parts of two, two and one."""


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Run a server with a model that counts when asked, as it is and with whole answers."""
    models = tmp_path_factory.mktemp("models")
    for name in ("chat", "chat_whole"):
        shutil.copytree(CHAT_MODEL, models / name)
    config = models / "chat_whole" / "config.pbtxt"
    config.write_text(config.read_text().replace("decoupled: true", "decoupled: false"))
    with a_triton(tmp_path_factory.mktemp("triton"), repository=models) as server:
        yield server


@pytest.fixture(scope="module")
def served(
    rig: Rig, chat: TritonServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GrpcServed, HttpServed]]:
    """Serve them over both protocols."""
    config = configured(chat.grpc_address, chat.http_address, meters=METERS)
    with ExitStack() as stack:
        homes = [tmp_path_factory.mktemp("home") for _ in range(2)]
        yield (
            stack.enter_context(grpc_serving(rig, homes[0], config)),
            stack.enter_context(http_serving(rig, homes[1], config)),
        )


def charged(who: Licensee, chat: TritonServer, model: str) -> tuple[int, int]:
    """Return what was charged, which has to be what the model's own log says."""
    (charge,) = who.until(1)
    (ran,) = [line for line in account(chat, model) if line["request_id"] == charge.reservation]
    usage = (charge.usage["input_tokens"], charge.usage["output_tokens"])
    assert usage == (ran["input_tokens"], ran["output_tokens"])
    return usage


def events(body: bytes) -> list[dict[str, Any]]:
    """Return the messages of a stream of events."""
    return [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: ")]


@pytest.mark.parametrize("own", [{}, {ASK[MADE]: True}, dict.fromkeys(ASK.values(), True)])
def test_a_generated_stream_is_the_servers_own_and_its_prompt_is_charged_once(
    rig: Rig, chat: TritonServer, served: tuple[GrpcServed, HttpServed], own: dict[str, bool]
) -> None:
    who = rig.licensee()
    asked = {"text_input": SAID, "parameters": {"max_tokens": MOST}, **own}
    through = served[1].post(who, "chat/generate_stream", asked)
    direct = ask(chat.http_address, "POST", "/v2/models/chat/generate_stream", asked)
    assert events(through.body) == events(direct.body)
    assert len(events(direct.body)) == 3
    assert charged(who, chat, "chat") == (3, MOST)


@pytest.mark.parametrize("own", [{}, {ASK[READ]: True}])
def test_a_generated_answer_is_the_servers_own(
    rig: Rig, chat: TritonServer, served: tuple[GrpcServed, HttpServed], own: dict[str, bool]
) -> None:
    who = rig.licensee()
    asked = {"text_input": SAID, "max_tokens": MOST, **own}
    through = served[1].post(who, "chat_whole/generate", asked)
    direct = ask(chat.http_address, "POST", "/v2/models/chat_whole/generate", asked)
    assert through.json == direct.json
    assert charged(who, chat, "chat_whole") == (3, MOST)


@pytest.mark.parametrize("own", [[], [ASK[READ]], list(ASK.values())])
@pytest.mark.parametrize("outputs", [[], ["text_output"], ["text_output", READ]])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("library", [http_client, grpc_client])
def test_the_public_clients_see_what_the_server_would_tell_them(
    rig: Rig,
    chat: TritonServer,
    served: tuple[GrpcServed, HttpServed],
    library: Any,
    own: list[str],
    outputs: list[str],
    binary: bool,
) -> None:
    who = rig.licensee()
    how = {} if library is grpc_client else {"binary_data": binary}
    text = library.InferInput("text_input", [1], "BYTES")
    text.set_data_from_numpy(np.array([SAID], dtype=np.object_), **how)
    inputs = [text]
    for name in own:
        flag = library.InferInput(name, [1], "BOOL")
        flag.set_data_from_numpy(np.array([True]), **how)
        inputs.append(flag)
    wanted = [library.InferRequestedOutput(name, **how) for name in outputs]
    is_grpc = library is grpc_client
    direct = chat.grpc_address if is_grpc else chat.http_address
    seen = []
    for address, headers in ((served[not is_grpc].address, who.headers), (direct, {})):
        with library.InferenceServerClient(address) as client:
            found = client.infer(
                "chat_whole",
                inputs,
                outputs=wanted or None,
                headers=headers,
                parameters={"max_tokens": MOST},
            )
        told = {name: found.as_numpy(name) for name in ("text_output", READ, MADE)}
        seen.append({name: None if one is None else one.tolist() for name, one in told.items()})
    assert seen[0] == seen[1]
    assert charged(who, chat, "chat_whole") == (3, MOST)


def test_contents_that_are_not_packed_get_an_input_of_their_kind(
    rig: Rig, chat: TritonServer, served: tuple[GrpcServed, HttpServed]
) -> None:
    who = rig.licensee()
    made = pb.ModelInferRequest(model_name="chat_whole")
    made.inputs.add(name="text_input", datatype="BYTES", shape=[1]).contents.bytes_contents.append(
        SAID.encode()
    )
    made.parameters["max_tokens"].int64_param = MOST
    with served[0].raw("ModelInfer") as call:
        data = call(made.SerializeToString(), metadata=metadata(who.headers))
    names = [each.name for each in pb.ModelInferResponse.FromString(data).outputs]
    assert names == ["text_output"]
    assert charged(who, chat, "chat_whole") == (3, MOST)


def test_a_stream_over_grpc_is_charged_for_its_prompt_once(
    rig: Rig, chat: TritonServer, served: tuple[GrpcServed, HttpServed]
) -> None:
    who = rig.licensee()
    made = pb.ModelInferRequest(model_name="chat")
    made.inputs.add(name="text_input", datatype="BYTES", shape=[1])
    made.raw_input_contents.append(len(SAID).to_bytes(4, "little") + SAID.encode())
    made.parameters["max_tokens"].int64_param = MOST
    with served[0].raw("ModelStreamInfer", stream=True) as call:
        pieces = list(call(iter([made.SerializeToString()]), metadata=metadata(who.headers)))
    told = [pb.ModelStreamInferResponse.FromString(each).infer_response for each in pieces]
    assert [[each.name for each in one.outputs] for one in told] == [["text_output"]] * 3
    assert charged(who, chat, "chat") == (3, MOST)


def test_who_says_no_to_being_counted_is_refused_before_anything_is_held(
    rig: Rig, served: tuple[GrpcServed, HttpServed]
) -> None:
    who = rig.licensee()
    asked = {"text_input": SAID, ASK[MADE]: False}
    answer = served[1].post(who, "chat/generate_stream", asked)
    assert answer.status == 422
    assert "true, or left out: the model is metered by its output num_output_tokens" in str(
        answer.json
    )
    assert who.names() == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("return_it", "chat.ask.num_output_tokens .*it has return_num_input_tokens, "),
        ("text_input", "chat.ask.num_output_tokens .*an input of type BOOL"),
    ],
)
def test_a_meter_that_asks_in_vain_is_told_at_the_start(
    rig: Rig, chat: TritonServer, name: str, says: str
) -> None:
    meters = [{**CHAT, "name": "chat", "ask": {MADE: name}}]
    with pytest.raises(Invalid, match=says):
        checked(rig, configured(chat.grpc_address, chat.http_address, meters=meters))
