"""Request ids: every request has one, from its sender or made here, and every answer names it."""

import itertools
import os
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = b"x-request-id"

_WELL_FORMED = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class RequestIds:
    """An ASGI middleware: puts `request_id` into the request's state, and its header on answers."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app; the ids that are made count up from a beginning of this process's own."""
        self._app = app
        self._begin = b"req_" + os.urandom(8).hex().encode()
        self._numbers = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the sender's id if it is well-formed, else make one."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == HEADER), b"")
        name = given if _WELL_FORMED.fullmatch(given) else self._make()
        scope.setdefault("state", {})["request_id"] = name.decode()

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER, name)]
            await send(message)

        await self._app(scope, receive, named)

    def _make(self) -> bytes:
        return b"%b%08x" % (self._begin, next(self._numbers))
