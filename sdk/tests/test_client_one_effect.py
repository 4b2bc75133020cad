"""One effect per id, for any weather: a ledger as a model, and faults as Hypothesis finds them."""

import json
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from tollbook.client.calls import Call, Named, Request
from tollbook.client.retrying import Lost, Policy, Received, Wait, converse
from tollbook.errors import Refused, TollbookError, Unknown

CALL = Call(
    Request("POST", "/v1/reservations", b'{"id":"r-1"}'),
    lambda document: document["position"],
    Named("reserve", "r-1"),
)


class Try(NamedTuple):
    """What happens to one try: whether it reaches the ledger, and what comes back instead."""

    reaches: bool
    instead: Received | Lost | None
    """None lets the ledger's own answer through."""


def says(status: int, code: str) -> Received:
    """Make an answer of the server."""
    return Received(status, {}, json.dumps({"code": code}).encode())


HIDING: list[Received | Lost] = [
    Lost("cut", sent=True),
    says(504, "unknown"),
    says(500, "internal"),
    Received(502, {}, b"<h1>Bad Gateway</h1>"),
    Received(503, {}, b""),
    Received(200, {}, b"<h1>Welcome</h1>"),
]
"""What may come back whether or not the ledger has done what was asked."""

BARRING: list[Received | Lost] = [
    Lost("refused", sent=False),
    says(503, "overloaded"),
    says(503, "unavailable"),
    says(429, "rate_limited"),
    says(408, "timeout"),
    says(401, "unauthorized"),
    Received(429, {}, b"slow down"),
    Received(404, {}, b"<h1>No such host</h1>"),
]
"""What comes back only when the request has not reached the ledger."""

barred = st.builds(Try, st.just(value=False), st.sampled_from(BARRING))
hidden = st.builds(Try, st.booleans(), st.sampled_from(HIDING))
tries = st.one_of(hidden, barred, st.just(Try(reaches=True, instead=None)))


class Ledger:
    """Decides a command once, and gives the same answer to its id for ever."""

    def __init__(self, *, poor: bool) -> None:
        """A poor customer's command is refused, and stays refused."""
        self.poor = poor
        self.effects = 0
        self.answer: Received | None = None

    def take(self) -> Received:
        """Carry out the command, or say again what became of it."""
        if self.answer is None:
            self.effects += not self.poor
            refusal = says(402, "insufficient_balance")
            self.answer = refusal if self.poor else Received(200, {}, b'{"position": 7}')
        return self.answer


def meet(ledger: Ledger, weather: list[Try], climate: Try) -> Any:
    """Let a client meet a ledger in some weather, and in a climate that stays after it.

    Returns the client's answer or its error.
    """
    now, coming = 0.0, iter(weather)
    talk = converse(CALL, Policy(1.0, 5.0), lambda: now, lambda: 1.0)
    outcome: Received | Lost | None = None
    try:
        while True:
            action = talk.send(outcome)
            if isinstance(action, Wait):
                now, outcome = now + action.seconds, None
                continue
            now += 0.1
            this = next(coming, climate)
            answer = ledger.take() if this.reaches else None
            outcome = this.instead or answer
    except StopIteration as end:
        return end.value
    except TollbookError as error:
        return error


@settings(max_examples=500)
@given(st.lists(hidden | barred, max_size=4), tries, st.booleans())
def test_what_the_client_says_is_true_of_the_ledger(
    weather: list[Try], climate: Try, poor: bool
) -> None:
    ledger = Ledger(poor=poor)
    end = meet(ledger, weather, climate)
    assert ledger.effects <= 1
    if end == 7:
        assert ledger.effects == 1
    elif isinstance(end, Unknown):
        assert (end.facts["kind"], end.facts["id"]) == ("reserve", "r-1")
    elif isinstance(end, Refused) and end.code == "insufficient_balance":
        assert ledger.answer is not None
    else:
        # Every other error promises that nothing was done.
        assert isinstance(end, TollbookError)
        assert ledger.answer is None


@given(st.lists(tries, max_size=5), tries, st.booleans())
def test_asking_again_with_the_same_id_finds_the_truth(
    weather: list[Try], climate: Try, poor: bool
) -> None:
    ledger = Ledger(poor=poor)
    meet(ledger, weather, climate)
    end = meet(ledger, [], Try(reaches=True, instead=None))
    assert (end.code == "insufficient_balance") if poor else (end == 7)
    assert ledger.effects == (not poor)
