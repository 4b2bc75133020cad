"""One inference over gRPC, from its client's bytes to its end, unary or in a stream."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

from tollbook.errors import Invalid, Unavailable

from adapters.grpc.call import Call
from adapters.grpc.messages import REMEMBERED_MAX, Metadata
from adapters.triton.grpc_client import ServerError, ServerLost, ServerStopped, TritonGrpc
from domain import meter_asks
from entrypoints.gateway import asking, grpc_deadly, sequences
from entrypoints.gateway import grpc_messages as messages
from entrypoints.gateway.admission import Asked
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.running import Running

Clients = Mapping[str, TritonGrpc]
"""The connections of a gateway, by the names of their pools."""

_ONCE = (asking.KEY_HEADER, asking.AUTHORIZATION, asking.FACTS_HEADER)
_LARGE = 1_048_576
"""From here on, hashing takes long enough to be done beside the loop."""
_UNKNOWN_ID = "<id_unknown>"


class Caller(NamedTuple):
    """Who asks: the same for every inference of a stream."""

    license_key: str
    facts: dict[str, Any]
    address: str | None
    passed: tuple[tuple[str, str], ...]
    """Metadata that goes on to the server."""


def caller(context: Call) -> Caller:
    """Read who asks; raises Unauthorized or Invalid."""
    return _caller(context.invocation_metadata(), context.peer())


@lru_cache(maxsize=REMEMBERED_MAX)
def _caller(metadata: Metadata, peer: str) -> Caller:
    headers: dict[str, str] = {}
    for name, value in metadata:
        if name in _ONCE and headers.get(name, value) != value:
            raise Invalid.because(name, None, "given once")
        if isinstance(value, str):
            headers[name] = value
    shown = asking.shown(headers)
    trace = asking.trace(headers)
    passed = () if trace is None else ((asking.TRACE_HEADER, trace),)
    return Caller(shown.license_key, shown.facts, _address(peer), passed)


def _address(peer: str) -> str | None:
    """Return the address in a peer's name, like `ipv4:127.0.0.1:1` or `ipv6:%5B::1%5D:1`."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    return unquote(rest).rpartition(":")[0].strip("[]") or None


class Inference:
    """One request of a client."""

    def __init__(self, gateway: Gateway, clients: Clients, caller: Caller, data: bytes) -> None:
        """Read a request; raises Invalid for bytes that are none."""
        self._gateway = gateway
        self._clients = clients
        self._caller = caller
        self._data = data
        self._request = messages.parsed(data)
        self.client_id = str(self._request.id)
        self.wants_last = messages.wants_last(self._request)
        self.in_sequence = messages.in_sequence(self._request)
        self.gone = False
        """Whether its client has left."""
        self.admitted: Running | None = None
        self._asks: Mapping[str, str] = {}
        self._added: frozenset[str] = frozenset()

    @property
    def running(self) -> Running:
        """The inference in the gateway's core, once it is admitted."""
        assert self.admitted is not None
        return self.admitted

    @property
    def client(self) -> TritonGrpc:
        """The connection to the pool that the licence names."""
        return self._clients[self.running.admitted.pool.name]

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What of the client's metadata goes on to the server."""
        return self._caller.passed

    def leave(self) -> None:
        """Take note that its client has left."""
        self.gone = True

    async def admit(self) -> None:
        """Have it admitted and paid for; raises the refusal."""
        client = next((each for each in self._clients.values() if each.reachable), None)
        if client is None:
            raise Unavailable("no server behind this gateway answers: try later")
        request, data = self._request, self._data
        meter = self._gateway.admission.meter(request.model_name)
        messages.check(request, meter)
        await grpc_deadly.check(request, client)
        if len(data) < _LARGE:
            hashed = hashlib.sha256(data).hexdigest()
        else:
            hashed = (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()
        self._data = b""
        who, metered = self._caller, messages.metered(request, meter)
        self._asks = meter_asks.lacking(meter, metered.inputs)
        asked = Asked(
            request.model_name,
            who.license_key,
            metered,
            hashed,
            who.address,
            who.facts,
        )
        self.admitted = await self._gateway.admit(asked)

    def begin(self, *, stream: bool) -> bytes:
        """Write down that it goes to its server now, and return what is to be sent."""
        running = self.running
        self._give_up_if_in_vain(running)
        admitted = running.admitted
        sequences.own_in_grpc(self._request.parameters, admitted.customer)
        data, self._added = messages.rewritten(
            self._request, running.id, admitted.priority, admitted.meter, self._asks, stream=stream
        )
        self._request = None  # the server has it now: what may be large is not kept twice
        self._gateway.begin(running)
        return data

    def _give_up_if_in_vain(self, running: Running) -> None:
        if self.gone:
            reason = "its client left before it was sent to a server"
        elif not self.client.reachable:
            reason = f"no server of the pool {running.admitted.pool.name} answers"
        else:
            return
        self._gateway.give_up(running, reason)
        raise Unavailable(f"{reason}: try later")

    def take(self, response: Any) -> None:
        """Count one message of the answer, and make it what the client asked for."""
        running = self.running
        found = messages.outputs(response, running.admitted.meter)
        running.message(found, messages.parameters(response))
        messages.strip(response, self._added)
        self.restore(response)

    def restore(self, response: Any) -> None:
        """Put the client's id, or its absence, back into an answer."""
        response.id = self.client_id

    def told(self, message: str) -> str:
        """Return what the server says of an error as it would have said it to the client."""
        if self.admitted is None:
            return message
        return message.replace(self.admitted.id, self.client_id or _UNKNOWN_ID)

    @contextmanager
    def followed(self) -> Iterator[None]:
        """End it as what is raised in the block says; every error is raised again."""
        running, gateway = self.running, self._gateway
        try:
            yield
        except ServerError as error:
            gateway.failed(running, error.details)
            raise
        except ServerLost as error:
            if error.sent:
                gateway.lost(running, str(error))
            else:
                gateway.failed(running, "no server took it")
            raise
        except ServerStopped:
            gateway.cut(running)
            raise
        except BaseException as error:
            gateway.broken_off(running, error)
            raise
