"""How a no travels over gRPC: a status, its words, and the problem document beside them."""

import json
import logging
from typing import NoReturn

import grpc
from tollbook.errors import TollbookError, Unavailable

from adapters.grpc.call import Call
from adapters.triton.grpc_client import ServerError, ServerLost
from entrypoints.gateway import asking
from entrypoints.gateway.core import REMAINING, Headers
from entrypoints.http.problems import TimedOut

logger = logging.getLogger("tollbook.gateway")

VALUE_BYTES_MAX = 4_096
"""Clients drop an answer whose metadata is larger than 8 KiB in all."""

LOST = {
    grpc.StatusCode.DEADLINE_EXCEEDED: "the model took longer than this gateway waits",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "the answer is larger than this gateway carries",
}
"""What a client is told when no answer came: nothing about addresses behind the gateway."""


def problem(error: TollbookError) -> str:
    """Return the problem document of a refusal, in ASCII and of a bounded size."""
    found = error.problem()
    text = json.dumps(found, separators=(",", ":"), default=str)
    if len(text) <= VALUE_BYTES_MAX:
        return text
    short = {"code": error.code, "title": error.title, "detail": error.message[:500]}
    return json.dumps(short, separators=(",", ":"))


def trailing(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Return what an answer says about itself, as metadata."""
    return tuple(
        (name, value)
        for name, value in headers.items()
        if name != REMAINING or len(value) <= VALUE_BYTES_MAX
    )


def lost(error: ServerLost) -> tuple[grpc.StatusCode, str]:
    """Return the status and the words for a client whose answer did not come."""
    return error.code, LOST.get(error.code, "the model's server does not answer")


def own(error: TollbookError) -> tuple[grpc.StatusCode, str, str]:
    """Return status, words and problem document of a refusal of ours."""
    return asking.grpc_status(error), error.message, problem(error)


def unexpected(error: BaseException) -> TollbookError:
    """Log what is nobody's fault but ours, and return what a client is told of it."""
    logger.error("a call failed", exc_info=error)
    return TollbookError("the gateway failed: its log says why")


def stopping() -> TollbookError:
    """Return what the clients of streams are told when the gateway stops."""
    return Unavailable("the gateway stops: connect again")


def stalled() -> TollbookError:
    """Return what the client of a stream is told that does not take its messages."""
    return TimedOut("messages of this stream were not taken in time")


async def abort(context: Call, error: Exception, headers: Headers | None = None) -> NoReturn:
    """End a call with an error."""
    beside = trailing(headers or {})
    if isinstance(error, ServerError):
        await context.abort(error.code, error.details, beside)
    if isinstance(error, ServerLost):
        await context.abort(*lost(error), beside)
    refused = error if isinstance(error, TollbookError) else unexpected(error)
    status, words, document = own(refused)
    await context.abort(status, words, (*beside, (asking.PROBLEM_HEADER, document)))
