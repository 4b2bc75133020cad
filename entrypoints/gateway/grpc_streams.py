"""Streams over gRPC: each request of a stream is an inference of its own.

Each goes to its server on a stream of its own, so that whatever the server says belongs to it
without doubt. They are sent in the order in which they came; their answers may interleave.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
from tollbook.errors import TollbookError

from adapters.grpc.call import Call, EndedError
from adapters.limits import Limit
from adapters.triton.grpc_client import ServerError, ServerLost, ServerStopped, TritonStream
from entrypoints.gateway import grpc_messages as messages
from entrypoints.gateway import grpc_refusals as refusals
from entrypoints.gateway.core import Gateway, Headers
from entrypoints.gateway.grpc_inference import Caller, Clients, Inference

AT_ONCE = 32
"""So many inferences of one stream run at once; then no more of its requests are read."""

Patience = Callable[[], Limit]
Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]
_Turn = asyncio.Future[None]


class _Relay:
    """One inference of a stream, and the stream to its server once there is one."""

    __slots__ = ("failure", "inference", "upstream")

    def __init__(self, inference: Inference) -> None:
        self.inference = inference
        self.upstream: TritonStream | None = None
        self.failure: str | None = None
        """What the server said, where it said an error."""

    def leave(self) -> None:
        """Take note that the client is gone: by the meter, the server stops or goes on."""
        self.inference.gone = True
        self.stop_if_left()

    def stop_if_left(self) -> None:
        """Stop the server for a client that is gone, once something came that can be charged.

        Before that it works all the same, and whoever left would have it work for nothing.
        """
        if self.upstream is None or not self.inference.gone:
            return
        running = self.inference.running
        if running.admitted.meter.after_cancel == "stop" and running.has_produced:
            self.upstream.stop()


class StreamSession:
    """One client's stream."""

    __slots__ = (
        "_caller",
        "_clients",
        "_context",
        "_gateway",
        "_handler",
        "_has_all",
        "_headers",
        "_is_gone",
        "_is_stopping",
        "_patience",
        "_relays",
        "_spawn",
        "_stopped",
        "_tasks",
        "_writing",
    )

    def __init__(
        self,
        gateway: Gateway,
        clients: Clients,
        caller: Caller,
        context: Call,
        spawn: Spawn,
        patience: Patience,
    ) -> None:
        """Serve a stream whose key is known; what is spawned outlives it.

        A client that leaves a message untaken for longer than `patience` lets it is left.
        """
        self._gateway = gateway
        self._clients = clients
        self._caller = caller
        self._context = context
        self._spawn = spawn
        self._patience = patience
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._relays: set[_Relay] = set()
        self._handler: asyncio.Task[Any] | None = None
        self._headers: Headers = {}
        self._is_gone = self._is_stopping = False
        self._has_all = False
        """Whether its client has sent all that it will."""
        self._stopped: TollbookError | None = None
        """Why we end the stream, where it is we who do."""

    async def serve(self) -> None:
        """Serve the stream until its client has no more requests and has every answer."""
        self._handler = asyncio.current_task()
        try:
            await self._read_all()
            if self._tasks:
                await asyncio.wait(self._tasks)
        except EndedError:
            self._leave()
            raise
        except asyncio.CancelledError:
            self._leave()
            if self._stopped is None and not self._is_stopping:
                raise
            self._stopped = self._stopped or refusals.stopping()
        if self._stopped is not None:
            await refusals.abort(self._context, self._stopped, self._headers)
        self._context.set_trailing_metadata(refusals.trailing(self._headers))

    def stop(self) -> None:
        """End the stream as soon as none of its inferences runs: the gateway stops."""
        self._is_stopping = True
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        # A client that asks for nothing more has all of it then: for that one nothing went wrong.
        if self._is_stopping and not self._tasks and not self._has_all:
            self._break_off(refusals.stopping())

    def _break_off(self, why: TollbookError) -> None:
        self._stopped = why
        if self._handler is not None:
            self._handler.cancel()

    async def _read_all(self) -> None:
        """Read requests and begin an inference with each."""
        turn: _Turn | None = None
        loop = asyncio.get_running_loop()
        while True:
            data = await self._context.read()
            if data is None:
                self._has_all = True
                return
            if self._is_stopping:  # it came while others end, and does not begin any more
                return
            mine: _Turn = loop.create_future()
            task = self._spawn(self._infer(data, turn, mine))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            turn = mine
            while len(self._tasks) >= AT_ONCE:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        self._end_if_idle()

    async def _infer(self, data: bytes, before: _Turn | None, mine: _Turn) -> None:
        """Carry one inference; `mine` is done when the next one may be sent."""
        relay: _Relay | None = None
        try:
            relay = _Relay(Inference(self._gateway, self._clients, self._caller, data))
            del data
            relay.inference.gone = self._is_gone
            self._relays.add(relay)
            await self._carry(relay, before, mine)
        except ServerStopped:
            pass  # its client is gone, and the core knows
        except Exception as error:  # noqa: BLE001 - what is not expected is logged and told
            await self._refuse(relay, error)
        finally:
            if relay is not None:
                self._relays.discard(relay)
            if not mine.done():
                mine.set_result(None)

    async def _carry(self, relay: _Relay, before: _Turn | None, mine: _Turn) -> None:
        inference = relay.inference
        await inference.admit()
        running = inference.running
        with inference.followed():
            if before is not None:
                await before
            request = inference.begin(stream=True)
            seconds = running.admitted.meter.seconds
            relay.upstream = inference.client.stream(request, seconds, inference.metadata)
            if not inference.in_sequence:
                mine.set_result(None)
            await self._relay(relay, relay.upstream)

    async def _relay(self, relay: _Relay, upstream: TritonStream) -> None:
        """Pass the messages of one answer on."""
        running = relay.inference.running
        while (data := await upstream.read()) is not None:
            if running.ended:
                continue
            message = messages.stream_answer(data)
            response = message.infer_response
            is_last = messages.is_last(response)
            is_empty = not response.outputs and not message.error_message
            if message.error_message:
                relay.failure = message.error_message
                message.error_message = relay.inference.told(relay.failure)
                relay.inference.restore(response)
            else:
                relay.inference.take(response)
                relay.stop_if_left()
            is_shown = relay.inference.wants_last or not (is_last and is_empty)
            piece = bytes(message.SerializeToString()) if is_shown else b""
            if is_shown and not self._is_gone:
                running.left(len(piece).to_bytes(4, "big") + piece)
            if is_last:
                self._end(relay)
            if is_shown:
                await self._write(piece)
        self._end_at_close(relay)

    def _end_at_close(self, relay: _Relay) -> None:
        """End an inference whose server closed the stream without marking a last message."""
        running = relay.inference.running
        if running.ended:
            return
        if relay.failure is None and not running.has_produced:
            words = "the server closed the stream without an answer"
            raise ServerLost(grpc.StatusCode.UNAVAILABLE, words, sent=True)
        self._end(relay)

    def _end(self, relay: _Relay) -> None:
        running = relay.inference.running
        if relay.failure is None:
            self._headers = self._gateway.finish(running)
        else:
            self._headers = self._gateway.first_headers(running)
            self._gateway.failed(running, relay.failure)

    async def _refuse(self, relay: _Relay | None, error: Exception) -> None:
        """Tell the client about one inference that did not come about; the stream goes on."""
        document = None
        if isinstance(error, ServerError):
            assert relay is not None
            words = relay.inference.told(error.details)
        elif isinstance(error, ServerLost):
            _, words = refusals.lost(error)
        else:
            refused = error if isinstance(error, TollbookError) else refusals.unexpected(error)
            _, words, document = refusals.own(refused)
        client_id = "" if relay is None else relay.inference.client_id
        await self._write(messages.refusal(client_id, words, document))

    async def _write(self, data: bytes) -> None:
        """Send one message; a client that is gone, or takes nothing for long, gets none."""
        if self._is_gone:
            return
        try:
            with self._patience():
                async with self._writing:
                    if not self._is_gone:
                        await self._context.write(data)
        except TimeoutError:
            self._leave()
            self._break_off(refusals.stalled())
        except Exception:  # noqa: BLE001 - whatever is said of a call that is over: it is over
            self._leave()

    def _leave(self) -> None:
        """Take note that nobody takes answers any more."""
        self._is_gone = True
        for relay in tuple(self._relays):
            relay.leave()
