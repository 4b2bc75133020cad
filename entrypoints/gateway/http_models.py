"""What the servers say of their models: `generate` names no types and no shapes, so they are here.

A description is asked for once in a while, not for every inference.
"""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from tollbook.errors import Invalid, NotFound, TollbookError, Unavailable

from adapters.triton.http_client import HttpClient
from adapters.triton.http_connections import HttpAnswer
from domain.meters_format import Meter
from domain.tensors import Tensor, Tensors, flat
from entrypoints.gateway.deadly import Model
from entrypoints.gateway.http_calls import model_path

T = TypeVar("T")

FRESH_SECONDS = 60.0
KEPT_MAX = 10_000
AT_ONCE = 100
"""So many questions about models are under way; each has a connection to a server."""
OK = 200
_ASK_SECONDS = 10.0

Named = dict[str, tuple[str, tuple[int, ...]]]
"""Datatype and shape of a model's tensors, by name; -1 is a free axis."""


class Description(NamedTuple):
    """A model, as its server describes it."""

    inputs: Named
    outputs: Named
    decoupled: bool
    """Whether it answers with as many messages as it likes."""
    in_sequences: bool = False
    """Whether its requests belong to sequences."""
    batches: bool = False
    """Whether the first axis of its inputs may be a batch."""
    numbers: bool = False
    """Whether it is told the numbers of its sequences, or may be."""

    @property
    def model(self) -> Model:
        """What has to be known of it where a request may be deadly."""
        texts = (name for name, (datatype, _) in self.outputs.items() if datatype == "BYTES")
        return Model(frozenset(texts), self.batches, self.numbers)

    def check_empty(self, inputs: Tensors) -> None:
        """Refuse no elements where none is too few: Triton's own `generate` dies of some."""
        for name, tensor in inputs.items():
            _, shape = self.inputs[name]
            own = shape[1:] if self.batches else shape
            if -1 not in own and not flat(tensor.listed or ()):
                raise Invalid.because(name, "empty", "of at least one element")

    def check_axes(self, meter: Meter) -> None:
        """Refuse what cannot be metered here: lists say how many elements, not which shape."""
        for source in meter.sources:
            name = source.input_shape or source.output_shape
            _, shape = (self.inputs | self.outputs).get(name or "", ("", ()))
            if source.axis is not None and shape.count(-1) > 1:
                raise Invalid.because(
                    str(name), None, "sent by infer: only there are its axes known"
                )

    def check_sequences(self) -> None:
        """Refuse a model of sequences, of which Triton's own `generate` knows nothing: it dies."""
        if self.in_sequences:
            raise Invalid.because("model", None, "asked by infer: it takes sequences")


class Descriptions:
    """Descriptions that were asked for; one for each front."""

    def __init__(self, clients: Mapping[str, HttpClient]) -> None:
        """Ask these servers, the first that answers."""
        self._clients = clients
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._known: dict[tuple[str, str | None], tuple[float, Description]] = {}

    async def of(self, model: str, version: str | None) -> Description:
        """Return the description of a model; raises NotFound or Unavailable."""
        key = (model, version)
        until, known = self._known.get(key, (0.0, None))
        if known is not None and time.monotonic() < until:
            return known
        found = await self._asked(model, version)
        if len(self._known) >= KEPT_MAX:
            self._known.clear()
        self._known[key] = (time.monotonic() + FRESH_SECONDS, found)
        return found

    async def about(self, path: str) -> HttpAnswer:
        """Ask for what concerns a model, when it is its turn; raises Unavailable."""
        async with self._turns:
            return await asked_of_any(self._clients, path)

    async def _asked(self, model: str, version: str | None) -> Description:
        metadata = _read(await self.about(model_path(model, version, None)))
        config = _read(await self.about(model_path(model, version, "config")))
        policy = config.get("model_transaction_policy", {})
        return Description(
            _named(metadata.get("inputs", [])),
            _named(metadata.get("outputs", [])),
            bool(policy.get("decoupled", False)),
            "sequence_batching" in config,
            config.get("max_batch_size", 0) > 0 or "ensemble_scheduling" in config,
            _is_told_numbers(config),
        )


class Shared(Generic[T]):
    """A question that anybody may ask: while it is under way, all who ask get the same answer.

    So it has one connection to a server, however many clients without a key ask it at once.
    """

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """Have a way to ask it."""
        self._ask = ask
        self._asked: asyncio.Task[T] | None = None

    async def answer(self) -> T:
        """Return the answer; raises whatever asking raises."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(self._asked)


async def asked_of_any(clients: Mapping[str, HttpClient], path: str) -> HttpAnswer:
    """Return the answer of a server that knows, else of one that answers; raises Unavailable."""
    error: TollbookError = Unavailable("no server can be reached: try later")
    other: HttpAnswer | None = None
    for client in clients.values():
        if client.is_down:
            continue
        try:
            answer = await client.ask("GET", path, seconds=_ASK_SECONDS)
        except TollbookError as told:
            error = Unavailable(told.message)
            continue
        if answer.status == OK:
            return answer
        other = other or answer
    if other is None:
        raise error
    return other


def tensor(named: Named, name: str, value: Any) -> Tensor:
    """Make a tensor of a value, or of a list of values, as `generate` has them."""
    datatype, shape = named[name]
    listed = value if isinstance(value, list) else [value]
    return Tensor(datatype, _filled(shape, len(listed)), listed=listed)


def _filled(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Return a shape whose one free axis has as many elements as there are."""
    known = 1
    for length in shape:
        known *= max(length, 1)
    if shape.count(-1) != 1 or count % known:
        return (count,)
    return tuple(count // known if length == -1 else length for length in shape)


def _is_told_numbers(config: Mapping[str, Any]) -> bool:
    """Say whether a model, or perhaps a step of it, gets the id of a sequence as a number."""
    controls = config.get("sequence_batching", {}).get("control_input", [])
    told = [
        each.get("data_type")
        for control in controls
        for each in control.get("control", [])
        if each.get("kind") == "CONTROL_SEQUENCE_CORRID"
    ]
    return "ensemble_scheduling" in config or any(each != "TYPE_STRING" for each in told)


def _named(described: Sequence[Mapping[str, Any]]) -> Named:
    return {each["name"]: (each["datatype"], tuple(each["shape"])) for each in described}


def _read(answer: HttpAnswer) -> dict[str, Any]:
    if answer.status != OK:
        raise NotFound(f"the server says: {answer.body[:200].decode(errors='replace')}")
    found: dict[str, Any] = json.loads(answer.body)
    return found
