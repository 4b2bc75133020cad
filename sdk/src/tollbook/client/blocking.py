"""The client for ordinary code: each method sends its call and returns the typed answer."""

import random
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from tollbook.client import (
    customer_calls,
    inference_calls,
    license_calls,
    model_calls,
    pipeline_calls,
    record_calls,
)
from tollbook.client.calls import Call, Pages
from tollbook.client.inferring import BlockingInference
from tollbook.client.methods import Method
from tollbook.client.retrying import Lost, Policy, Received, Send, Wait, converse
from tollbook.client.transport import Target, load_httpx, lost

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


def _one(client: "Client", call: Call[T]) -> T:
    return client.carry_out(call)


def _list(client: "Client", pages: Pages[T]) -> Iterator[T]:
    return client.iterate(pages)


def _chunks(client: "Client", calls: Iterable[Call[list[T]]]) -> list[T]:
    return [result for call in calls for result in client.carry_out(call)]


class Client:
    """A client of a Tollbook server; safe to share between threads, and closed by `with`."""

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        timeout: float = Policy().timeout,
        deadline: float = Policy().deadline,
        allow_insecure: bool = False,
    ) -> None:
        """Take the server and the key, or `TOLLBOOK_URL` and `TOLLBOOK_KEY`.

        `timeout` bounds one try in seconds (by default 15), `deadline` a whole method with all its
        tries (60). An address at which nobody listens is tried for as long, since a server may be
        starting anew; the logger `tollbook.client` warns after the first try. Plain http is for
        this machine only, unless `allow_insecure`.
        """
        self._target = Target(url, key, allow_insecure=allow_insecure)
        self._policy = Policy(timeout, deadline)
        self._http: httpx.Client = load_httpx().Client(**self._target.options())

    create_customer = Method(customer_calls.create_customer, _one)
    change_customer = Method(customer_calls.change_customer, _one)
    customer = Method(customer_calls.customer, _one)
    customers = Method(customer_calls.customers, _list)
    grant = Method(customer_calls.grant, _one)
    balance = Method(customer_calls.balance, _one)
    publish_prices = Method(customer_calls.publish_prices, _one)
    prices = Method(customer_calls.prices, _list)
    quote = Method(inference_calls.quote, _one)
    reserve = Method(inference_calls.reserve, _one)
    reservation = Method(inference_calls.reservation, _one)
    extend = Method(inference_calls.extend, _one)
    settle = Method(inference_calls.settle, _one)
    release = Method(inference_calls.release, _one)
    inference = Method(inference_calls.reserve, BlockingInference)
    issue_license = Method(license_calls.issue_license, _one)
    license = Method(license_calls.license, _one)
    validate = Method(license_calls.validate, _one)
    try_validation = Method(license_calls.try_validation, _one)
    lease = Method(license_calls.lease, _one)
    renew_lease = Method(license_calls.renew_lease, _one)
    return_lease = Method(license_calls.return_lease, _one)
    signing_keys = Method(license_calls.signing_keys, _list)
    register_model = Method(model_calls.register_model, _one)
    release_version = Method(model_calls.release_version, _one)
    yank_version = Method(model_calls.yank_version, _one)
    model = Method(model_calls.model, _one)
    models = Method(model_calls.models, _list)
    publish_pipeline = Method(pipeline_calls.publish_pipeline, _one)
    pipeline = Method(pipeline_calls.pipeline, _one)
    pipelines = Method(pipeline_calls.pipelines, _list)
    reserve_pipeline = Method(pipeline_calls.reserve_pipeline, _one)
    pipeline_reservation = Method(pipeline_calls.pipeline_reservation, _one)
    settle_pipeline = Method(pipeline_calls.settle_pipeline, _one)
    release_pipeline = Method(pipeline_calls.release_pipeline, _one)
    usage = Method(record_calls.usage, _chunks)
    commands = Method(record_calls.commands, _one)
    outcome = Method(record_calls.outcome, _one)
    events = Method(record_calls.events, _list)

    def carry_out(self, call: Call[T]) -> T:
        """Send a call until it has an answer, and return the answer or raise its error."""
        talk = converse(call, self._policy, time.monotonic, random.random)
        outcome: Received | Lost | None = None
        while True:
            try:
                action = talk.send(outcome)
            except StopIteration as end:
                answer: T = end.value
                return answer
            outcome = self._step(action)

    def iterate(self, pages: Pages[T]) -> Iterator[T]:
        """Yield the items of a list, fetching page after page as they are asked for."""
        page = self.carry_out(pages.page(pages.start))
        yield from page.items
        while page.next is not None:
            page = self.carry_out(pages.page(page.next))
            yield from page.items

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Open the client for a block of code."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def __repr__(self) -> str:
        """Show the server, never the key."""
        return f"Client({self._target.url!r})"

    def _step(self, action: Send | Wait) -> Received | Lost | None:
        if isinstance(action, Wait):
            time.sleep(action.seconds)
            return None
        httpx = load_httpx()
        end = time.monotonic() + action.timeout
        request = self._http.build_request(**self._target.arguments(*action))
        try:
            response = self._http.send(request, stream=True)
            try:
                return self._read(response, end)
            finally:
                response.close()
        except httpx.RequestError as error:
            return lost(error, self._target)

    @staticmethod
    def _read(response: "httpx.Response", end: float) -> Received | Lost:
        # httpx bounds the wait for each piece, not for the whole.
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if time.monotonic() > end:
                return Lost("the answer came too slowly", sent=True)
        return Received(response.status_code, response.headers, bytes(body))
