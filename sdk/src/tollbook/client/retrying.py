"""When to try again: the whole conversation about one call, without a socket or a clock in it.

`converse` says what to do next (send, or wait) and is told what came of it; the two clients only
carry that out, so they cannot differ. Every try of a command carries the same id and the same
body, and the ledger gives the same answer to it for ever; so trying again is always safe, and it
is also how an unknown outcome becomes known.

An outcome is uncertain once a try may have reached the ledger and no answer of the ledger's came
back. A command that ends so raises `Unknown`, with the id to ask by.
"""

import json
import logging
from collections.abc import Callable, Generator, Mapping
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Generic, NamedTuple, TypeVar

from tollbook.client.calls import Call, Request
from tollbook.client.problems import (
    BEFORE_THE_LEDGER,
    NOTHING_DONE,
    error_of,
    foreign_error,
    problem_of,
)
from tollbook.errors import Tampered, TollbookError, Unavailable, Unknown

T = TypeVar("T")

logger = logging.getLogger("tollbook.client")

BASE_SECONDS = 0.1
CAP_SECONDS = 5.0
"""The bounds of a wait between two tries; a `Retry-After` may ask for more."""


class Policy(NamedTuple):
    """How long to try."""

    timeout: float = 15.0
    """Seconds for one try; more than the 10 s after which the server answers `unknown`."""
    deadline: float = 60.0
    """Seconds for all tries and the waits between them."""


class Send(NamedTuple):
    """Send a request, and wait at most so long for the whole answer."""

    request: Request
    timeout: float


class Wait(NamedTuple):
    """Do nothing for so many seconds."""

    seconds: float


class Received(NamedTuple):
    """An answer came; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lost(NamedTuple):
    """No answer came; `sent` means that the request may have reached the server."""

    detail: str
    sent: bool
    lasting: bool = False
    """Trying again cannot help: the server's certificate is not valid, say."""


Talk = Generator[Send | Wait, Received | Lost | None, T]


class Verdict(NamedTuple, Generic[T]):
    """What one try came to: a value, or an error, or (with parts to try again) both."""

    value: T | None = None
    error: TollbookError | None = None
    again: bool = False
    uncertain: bool = False
    """This try may have had an effect that nobody has told."""
    decisive: bool = False
    """This answer also says what became of every earlier try."""
    wait: float = 0.0
    """What the server asked to wait."""


def converse(
    call: Call[T], policy: Policy, clock: Callable[[], float], chance: Callable[[], float]
) -> Talk[T]:
    """Hold the conversation about a call; `chance` gives numbers from 0 up to 1."""
    end = clock() + policy.deadline
    uncertain = warned = False
    tries = 0
    while True:
        outcome = yield Send(call.request, min(policy.timeout, end - clock()))
        assert outcome is not None
        verdict = judge(call, outcome)
        uncertain = (uncertain or verdict.uncertain) and not verdict.decisive
        delay = pause(tries, chance()) + verdict.wait
        if not verdict.again or clock() + delay >= end:
            return _end(call, verdict, uncertain)
        if isinstance(outcome, Lost) and not outcome.sent and not warned:
            # The server may be starting anew; but the address may be wrong, and a minute is long.
            logger.warning("%s; trying again for %.1f s at most", verdict.error, end - clock())
            warned = True
        tries += 1
        yield Wait(delay)


def pause(tries: int, chance: float) -> float:
    """Return how long to wait after so many tries: by chance, below a bound that doubles."""
    bound: float = min(CAP_SECONDS, BASE_SECONDS * 2 ** min(tries, 16))
    return bound * chance


def judge(call: Call[T], outcome: Received | Lost) -> Verdict[T]:
    """Say what one try came to."""
    if isinstance(outcome, Lost):
        silence = Unavailable(f"the server does not answer: {outcome.detail}")
        return Verdict(error=silence, again=not outcome.lasting, uncertain=outcome.sent)
    if 200 <= outcome.status < 300:
        return _judge_success(call, outcome)
    problem = problem_of(outcome.body)
    if problem is None:
        error = foreign_error(outcome.status, outcome.body)
        uncertain = outcome.status >= 500
        return Verdict(
            error=error, again=error.retryable, uncertain=uncertain, wait=_asked(outcome)
        )
    error = error_of(problem, outcome.status)
    if "x-request-id" in outcome.headers:
        error.facts.setdefault("request_id", outcome.headers["x-request-id"])
    if error.code in NOTHING_DONE:
        return Verdict(error=error, again=True, wait=_asked(outcome))
    if outcome.status >= 500:
        again = not isinstance(error, Tampered)
        return Verdict(error=error, again=again, uncertain=True, wait=_asked(outcome))
    return Verdict(error=error, decisive=error.code not in BEFORE_THE_LEDGER)


def _judge_success(call: Call[T], outcome: Received) -> Verdict[T]:
    try:
        value = call.read(json.loads(outcome.body, parse_float=Decimal))
    except (TollbookError, ValueError, LookupError, TypeError, RecursionError) as error:
        unreadable = Unavailable(f"the answer cannot be read: {error}", code="unexpected_answer")
        return Verdict(error=unreadable, again=True, uncertain=True)
    return Verdict(value=value, again=call.unfinished(value), decisive=True)


def _end(call: Call[T], verdict: Verdict[T], uncertain: bool) -> T:
    if verdict.error is None:
        # Whoever asked for many things at once sees from each item what became of it.
        return verdict.value  # type: ignore[return-value]
    if call.command is None or not uncertain:
        raise verdict.error
    if isinstance(verdict.error, Unknown):
        cause, error = verdict.error.__cause__, verdict.error
        error.facts |= call.command._asdict()
        raise error from cause
    raise Unknown(
        f"what became of {call.command.kind} {call.command.id} is unknown: ask by its id, or send "
        f"it again with the same id ({verdict.error.message})",
        **call.command._asdict(),
    ) from verdict.error


def _asked(outcome: Received) -> float:
    """Return the seconds of a Retry-After, which may be a number or a date."""
    text = outcome.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), 86_400))
    try:
        # By the server's own clock, since ours may be wrong.
        until = parsedate_to_datetime(text) - parsedate_to_datetime(outcome.headers["date"])
    except (ValueError, LookupError, TypeError):
        return 0.0
    return max(0.0, until.total_seconds())
