"""The public client at the gateway: it sees what it sees at the server, and is charged for it."""

import queue
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

from tests.gateway import public_programs as programs
from tests.gateway.both_fronts import Both, serving_both
from tests.gateway.grpc_serving import before, public_client, wait
from tests.gateway.public_programs import WAIT_SECONDS, Place, texts, words
from tests.gateway.rig import Licensee, Rig
from tests.support.triton import shared_triton

KEY = "tollbook-license-key"

Program = Callable[[Place], list[Any]]


@pytest.fixture(scope="module")
def served(
    rig: Rig, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    """Serve all models by both protocols, once for this file."""
    home = tmp_path_factory.mktemp("home")
    with serving_both(rig, home, before(shared_triton(pytestconfig))) as both:
        yield both


PROGRAMS: dict[Program, list[tuple[int, int]]] = {
    programs.infer_over_grpc: [(3, 4)] * 4,
    programs.infer_over_grpc_with_callbacks: [(n, n) for n in range(1, 6)],
    programs.infer_over_grpc_with_asyncio: [(2, 1), (2, 1), (2, 2), (2, 2)],
    programs.infer_over_http: [(3, 2), (3, 4), (3, 4)],
    programs.infer_over_http_later: [(2, n) for n in range(1, 5)],
    programs.a_body_of_ones_own: [(4, 3)],
    programs.generate: [(3, 3)],
    programs.generate_a_stream: [(2, 4)],
    programs.a_stub_of_ones_own: [(3, 2)],
    programs.with_keepalive_and_arguments: [(1, 2), (1, 2)],
    programs.errors_of_the_model: [],
}
"""Programs, and what each is charged: input tokens and output tokens of every inference."""

ENSEMBLES: dict[Program, int] = {
    programs.stream_over_grpc: 3,
    programs.infer_over_http_with_asyncio: 3,
    programs.ensemble: 2,
}
"""Programs with ensembles, which add words of their own; and how many inferences they have."""


def seen_at_both(rig: Rig, served: Both, config: pytest.Config, program: Program) -> Licensee:
    """Run a program at the server and at the gateway; return who was charged for it."""
    triton, who = shared_triton(config), rig.licensee()
    direct = program(Place(triton.grpc_address, triton.http_address, {}))
    through = program(Place(served.grpc, served.http, {KEY: who.key}))
    assert through == direct
    return who


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program_sees_the_same_at_the_gateway_and_is_charged_for_it(
    rig: Rig, served: Both, pytestconfig: pytest.Config, program: Program
) -> None:
    who = seen_at_both(rig, served, pytestconfig, program)
    charges = who.until(len(PROGRAMS[program]))
    found = sorted((each.usage["input_tokens"], each.usage["output_tokens"]) for each in charges)
    assert found == PROGRAMS[program]
    wait(lambda: rig.tollbook.balance(who.customer).held == 0)


@pytest.mark.parametrize("program", ENSEMBLES, ids=lambda program: program.__name__)
def test_a_program_with_ensembles_is_charged_once_for_each(
    rig: Rig, served: Both, pytestconfig: pytest.Config, program: Program
) -> None:
    who = seen_at_both(rig, served, pytestconfig, program)
    assert len(who.until(ENSEMBLES[program])) == ENSEMBLES[program]
    wait(lambda: rig.tollbook.balance(who.customer).held == 0)


class ShowsTheKey(grpcclient.InferenceServerClientPlugin):  # type: ignore[misc]
    """A plugin of the public client: the key is named in one place, whatever is asked."""

    def __init__(self, key: str) -> None:
        """Keep the key."""
        self._key = key

    def __call__(self, request: Any) -> None:
        """Add the header to a request."""
        request.headers["authorization"] = f"Bearer {self._key}"


@pytest.mark.parametrize("library", [grpcclient, httpclient], ids=["grpc", "http"])
def test_a_plugin_shows_the_key_so_that_no_call_has_to(
    rig: Rig, served: Both, library: Any
) -> None:
    who = rig.licensee()
    with library.InferenceServerClient(
        served.grpc if library is grpcclient else served.http
    ) as client:
        client.register_plugin(ShowsTheKey(who.key))
        assert client.is_model_ready("textgen")
        assert len(words(client.infer("textgen", texts(library, "a b", 3))).split()) == 3
        client.unregister_plugin()
        with pytest.raises(InferenceServerException, match=KEY):
            client.infer("textgen", texts(library, "a b", 3))
    assert [each.usage["output_tokens"] for each in who.until(1)] == [3]


def test_a_plugin_shows_the_key_for_a_stream_as_well(rig: Rig, served: Both) -> None:
    who = rig.licensee()
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with public_client(served.grpc) as client:
        client.register_plugin(ShowsTheKey(who.key))
        client.start_stream(lambda result, error: answers.put((result, error)))
        inputs = texts(grpcclient, "a b", 3, batched=False)
        client.async_stream_infer("textgen_stream", inputs)
        client.stop_stream()
    assert [error for _, error in answers.queue] == [None] * 3
    assert [each.usage["output_tokens"] for each in who.until(1)] == [3]


def test_a_stream_that_its_client_cancels_is_charged_once_and_no_more_than_it_would_have_been(
    rig: Rig, served: Both
) -> None:
    who = rig.licensee()
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    inputs = texts(grpcclient, "a b", 200, batched=False)
    delay = grpcclient.InferInput("DELAY_MS", [1], "INT32")
    delay.set_data_from_numpy(np.array([20], dtype=np.int32))
    with public_client(served.grpc) as client:
        client.start_stream(
            lambda result, error: answers.put((result, error)), headers={KEY: who.key}
        )
        client.async_stream_infer("textgen_stream", [*inputs, delay])
        assert answers.get(timeout=WAIT_SECONDS)[1] is None
        client.stop_stream(cancel_requests=True)
    (charge,) = who.until(1)
    assert 1 <= charge.usage["output_tokens"] < 200


def test_a_call_that_its_client_cancels_by_its_context_is_charged_once(
    rig: Rig, served: Both
) -> None:
    who = rig.licensee()
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    delay = grpcclient.InferInput("DELAY_MS", [1, 1], "INT32")
    delay.set_data_from_numpy(np.array([[500]], dtype=np.int32))
    text = texts(grpcclient, "a", 1)[0]
    with grpcclient.InferenceServerClient(served.grpc) as client:
        context = client.async_infer(
            "slow",
            [text, delay],
            callback=lambda result, error: answers.put((result, error)),
            headers={KEY: who.key},
        )
        wait(lambda: "reservation_held" in who.names())
        wait(lambda: bool(served.gateway.running))
        context.cancel()
        result, error = answers.get(timeout=WAIT_SECONDS)
    assert result is None and "cancel" in str(error).lower()
    assert [each.usage for each in who.until(1)] == [{"requests": 1}]
