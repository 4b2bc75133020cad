"""The gateway's gRPC service: KServe's inference methods, as public clients call them.

Bytes come in and go out as they are, so that hashes are over what really travelled. A call's
message is read only once its key is known: whoever has none cannot fill this process's memory.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from google.protobuf.message import DecodeError
from tollbook.errors import Invalid, NotFound, TollbookError, Unavailable
from tritonclient.grpc import service_pb2 as pb

from adapters.grpc.call import Call, EndedError, Handler
from adapters.grpc.server import Server
from adapters.limits import Limit, Limits
from adapters.triton.grpc_client import SERVICE, ServerError, TritonGrpc
from entrypoints.gateway import grpc_messages as messages
from entrypoints.gateway import grpc_refusals as refusals
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.core import Gateway, Headers
from entrypoints.gateway.grpc_inference import Clients, Inference, caller
from entrypoints.gateway.grpc_streams import StreamSession
from entrypoints.gateway.leaving import CANCELLED_SECONDS
from entrypoints.gateway.offering import offered
from entrypoints.http.problems import Forbidden, TimedOut

logger = logging.getLogger("tollbook.gateway")

READ_SECONDS = 30.0
"""How long a call may take to send its message."""
STALL_SECONDS = 60.0
"""How long the client of a stream may leave its messages untaken."""
_REFUSED = {
    "its servers' model repository": (
        *("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
    ),
    "shared memory": tuple(
        f"{kind}SharedMemory{what}"
        for kind in ("System", "Cuda")
        for what in ("Status", "Register", "Unregister")
    ),
    "trace settings": ("TraceSetting",),
    "log settings": ("LogSettings",),
}
"""What belongs to whoever runs the servers."""

_MODEL_QUESTIONS = {
    "ModelReady": pb.ModelReadyRequest,
    "ModelMetadata": pb.ModelMetadataRequest,
    "ModelConfig": pb.ModelConfigRequest,
}
_STATISTICS = {"ModelStatistics": pb.ModelStatisticsRequest}

_Work = Callable[[Call], Awaitable[bytes]]


class GrpcFront:
    """Serves KServe over gRPC for one gateway."""

    def __init__(
        self,
        gateway: Gateway,
        clients: Clients,
        config: GatewayConfig,
        *,
        read_seconds: float = READ_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        """Serve when `start` is called; the clients are by the names of their pools."""
        self._gateway = gateway
        self._clients = clients
        self._config = config
        self._read_seconds = read_seconds
        self._stall_seconds = stall_seconds
        self._limits = Limits()
        self._server = Server(self._handlers(), config.message_bytes, gateway.places)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sessions: set[StreamSession] = set()
        self._is_stopping = False

    async def start(self, host: str, port: int, *, is_shared: bool = False) -> int:
        """Listen, and return the port; raises Unavailable where the address is not to be had."""
        try:
            return await self._server.start(host, port, is_shared=is_shared)
        except (OSError, OverflowError) as error:
            raise Unavailable(f"{host} port {port} is not to be had: {error}") from None

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and let those that run end for so long; then end what is left."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        self._is_stopping = True
        for session in tuple(self._sessions):
            session.stop()
        await self._server.stop(seconds)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(CANCELLED_SECONDS, until - loop.time()))
        if self._under_way():
            await self._gateway.leave()  # who is cancelled could not give back what comes
            await self._cancel()

    def _under_way(self) -> "set[asyncio.Task[Any]]":
        """Return what still runs, also of calls whose clients are gone."""
        return self._tasks | {call.task for call in self._server.calls if call.task is not None}

    async def _cancel(self) -> None:
        """End what still runs while its outcome can still be written down."""
        if tasks := self._under_way():
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CANCELLED_SECONDS)

    def _handlers(self) -> dict[str, Handler]:
        unary: dict[str, _Work] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelInfer": self._model_infer,
        }
        unary.update(dict.fromkeys(_STATISTICS, _refusing("model statistics")))
        told = _MODEL_QUESTIONS | (_STATISTICS if self._config.statistics else {})
        for method, message in told.items():
            unary[method] = self._about_model(method, message)
        for what, methods in _REFUSED.items():
            unary.update(dict.fromkeys(methods, _refusing(what)))
        found: dict[str, Handler] = {
            f"/{SERVICE}/{method}": _guarded(work) for method, work in unary.items()
        }
        return {**found, f"/{SERVICE}/ModelStreamInfer": self._model_stream_infer}

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run what does not end with the call that began it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; where nobody did, the core has told it

    async def _read(self, context: Call) -> bytes:
        if context.has_asked:
            data = await context.read()  # nothing is waited for
        else:
            data = await self._read_in_time(context)
        if data is None:
            raise Invalid.because("message", None, "given")
        return data

    async def _read_in_time(self, context: Call) -> bytes | None:
        try:
            with self._limits.within(self._read_seconds):
                return await context.read()
        except TimeoutError:
            raise TimedOut("the request did not arrive in time") from None

    def _stall_limit(self) -> Limit:
        return self._limits.within(self._stall_seconds)

    async def _server_live(self, _context: Call) -> bytes:
        return bytes(pb.ServerLiveResponse(live=True).SerializeToString())

    async def _server_ready(self, _context: Call) -> bytes:
        asked = (client.is_ready() for client in self._clients.values())
        ready = all(await asyncio.gather(self._gateway.admission.ready(), *asked))
        return bytes(pb.ServerReadyResponse(ready=ready).SerializeToString())

    async def _server_metadata(self, _context: Call) -> bytes:
        found = pb.ServerMetadataResponse.FromString(
            await self._any_client().look("ServerMetadata", b"")
        )
        found.extensions[:] = offered(found.extensions, statistics=self._config.statistics)
        return bytes(found.SerializeToString())

    def _about_model(self, method: str, message: Any) -> _Work:
        """Return what passes a question about one model on, for a key that may use it."""

        async def work(context: Call) -> bytes:
            who = caller(context)
            await self._gateway.admission.known(who.license_key)
            data = await self._read(context)
            try:
                name = message.FromString(data).name
            except DecodeError:
                raise Invalid.because("message", None, f"a {method}Request") from None
            try:
                await self._gateway.admission.allowed(name, who.license_key)
            except NotFound:
                if method != "ModelReady":
                    raise
                return bytes(pb.ModelReadyResponse(ready=False).SerializeToString())
            return await self._any_client().look(method, data)

        return work

    def _any_client(self) -> TritonGrpc:
        """Return a pool that answers: every model is on every pool."""
        found = list(self._clients.values())
        return next((client for client in found if client.reachable), found[0])

    async def _model_infer(self, context: Call) -> bytes:
        who = caller(context)
        await self._gateway.admission.known(who.license_key)
        data = await self._read(context)
        inference = Inference(self._gateway, self._clients, who, data)
        del data
        context.goes_on(inference.leave)
        body: bytes
        try:
            body, headers = await self._carry(inference)
        except Exception as error:
            if inference.gone:
                raise EndedError from None  # what there was to tell, the core has told
            if isinstance(error, TollbookError):
                raise
            running = inference.admitted
            if isinstance(error, ServerError):
                error = ServerError(error.code, inference.told(error.details))
            headers = {} if running is None else self._gateway.first_headers(running)
            await refusals.abort(context, error, headers)
            raise
        context.set_trailing_metadata(refusals.trailing(headers))
        return body

    async def _carry(self, inference: Inference) -> tuple[bytes, Headers]:
        """Run an inference to its end, whether or not anybody waits for it."""
        await inference.admit()
        running = inference.running
        with inference.followed():
            request = inference.begin(stream=False)
            seconds = running.admitted.meter.seconds
            data = await inference.client.infer(request, seconds, inference.metadata)
            response = messages.answer(data)
            inference.take(response)
            body = bytes(response.SerializeToString())
        running.left(body)
        return body, self._gateway.finish(running)

    async def _model_stream_infer(self, context: Call) -> None:
        try:
            who = caller(context)
            await self._gateway.admission.known(who.license_key)
        except Exception as error:
            await refusals.abort(context, error)
            raise
        if self._is_stopping:
            await refusals.abort(context, refusals.stopping())
        session = StreamSession(
            self._gateway, self._clients, who, context, self.spawn, self._stall_limit
        )
        self._sessions.add(session)
        try:
            await session.serve()
        finally:
            self._sessions.discard(session)


def _guarded(work: _Work) -> Handler:
    """Return the handler of a unary call, which ends with the status of whatever is raised."""

    async def handle(context: Call) -> bytes:
        try:
            return await work(context)
        except EndedError:
            raise
        except Exception as error:
            await refusals.abort(context, error)
            raise

    return handle


def _refusing(what: str) -> _Work:
    """Return what refuses a method, whoever asks."""

    async def work(_context: Call) -> bytes:
        raise Forbidden(f"the gateway does not offer {what}")

    return work
