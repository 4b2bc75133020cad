"""When the client tries again, as a pure conversation: no socket, no clock, no chance."""

import json
from typing import Any, NamedTuple

import pytest
from tollbook.client.calls import Call, Named, Request
from tollbook.client.retrying import (
    CAP_SECONDS,
    Lost,
    Policy,
    Received,
    Send,
    Wait,
    converse,
    pause,
)
from tollbook.errors import (
    Conflict,
    Invalid,
    NotFound,
    Refused,
    TollbookError,
    Unavailable,
    Unknown,
)

COMMAND = Call(
    Request("POST", "/v1/reservations", b'{"id":"r-1"}'),
    lambda document: document["held"],
    Named("reserve", "r-1"),
)
READING = Call(Request("GET", "/v1/reservations/r-1"), lambda document: document["held"])
GOOD = Received(200, {}, b'{"held": 7}')
UNSENT = Lost("refused", sent=False)
CUT = Lost("reset by peer", sent=True)


class Ended(NamedTuple):
    """What a conversation did."""

    value: Any
    error: TollbookError | None
    sends: int
    waits: list[float]
    elapsed: float


def problem(status: int, code: str, headers: dict[str, str] | None = None) -> Received:
    """Make an answer as the ledger's server writes it."""
    body = json.dumps({"code": code, "title": "No", "detail": "because", "field": "x"})
    return Received(status, headers or {}, body.encode())


def foreign(status: int) -> Received:
    """Make an answer that something in between has written."""
    return Received(status, {}, b"<h1>Sorry</h1>")


def hold(
    call: Call[Any], *outcomes: Received | Lost, deadline: float = 60.0, each: float = 0.01
) -> Ended:
    """Hold a conversation on a clock that moves by the waits and by each try.

    The last outcome is repeated for as long as the client tries.
    """
    now, sends, waits = 0.0, 0, []
    script = list(outcomes)
    talk = converse(call, Policy(15.0, deadline), lambda: now, lambda: 0.5)
    outcome: Received | Lost | None = None
    try:
        while True:
            action = talk.send(outcome)
            if isinstance(action, Wait):
                waits.append(action.seconds)
                now += action.seconds
                outcome = None
                continue
            assert isinstance(action, Send)
            assert action.request == call.request
            assert 0 < action.timeout <= 15
            sends += 1
            now += each
            outcome = script.pop(0) if len(script) > 1 else script[0]
    except StopIteration as end:
        return Ended(end.value, None, sends, waits, now)
    except TollbookError as error:
        return Ended(None, error, sends, waits, now)


@pytest.mark.parametrize(
    "first",
    [
        UNSENT,
        CUT,
        problem(429, "rate_limited"),
        problem(503, "overloaded"),
        problem(503, "unavailable"),
        problem(504, "unknown"),
        problem(408, "timeout"),
        problem(500, "internal"),
        foreign(502),
        foreign(503),
        foreign(504),
        foreign(429),
        Received(200, {}, b"<h1>Welcome</h1>"),
        Received(200, {}, b'{"other": 1}'),
        Received(200, {}, b"[" * 100_000),
        Received(200, {}, b"\xff"),
    ],
)
@pytest.mark.parametrize("call", [COMMAND, READING])
def test_what_may_pass_is_tried_again_until_it_has(call: Call[Any], first: Received | Lost) -> None:
    assert hold(call, first, first, first, GOOD)[:3] == (7, None, 4)


@pytest.mark.parametrize(
    ("outcomes", "times"),
    [
        ((UNSENT, UNSENT, UNSENT, GOOD), 1),
        ((problem(503, "overloaded"), UNSENT, GOOD), 1),
        ((CUT, problem(503, "overloaded"), GOOD), 0),
        ((Lost("certificate", sent=False, lasting=True),), 0),
    ],
)
def test_an_address_where_nobody_listens_is_told_once(
    outcomes: tuple[Received | Lost, ...], times: int, caplog: pytest.LogCaptureFixture
) -> None:
    hold(COMMAND, *outcomes)
    told = [each.getMessage() for each in caplog.records]
    assert len(told) == times
    assert all(each.startswith("the server does not answer: refused; ") for each in told)


FINAL = [
    (problem(402, "insufficient_balance"), Refused),
    (problem(403, "account_blocked"), Refused),
    (problem(404, "not_found"), NotFound),
    (problem(409, "id_reused"), Conflict),
    (problem(409, "already_settled"), Refused),
    (problem(410, "expired"), Refused),
    (problem(422, "invalid"), Invalid),
    (problem(422, "unknown_model"), Refused),
    (problem(401, "unauthorized"), Refused),
    (problem(403, "forbidden"), Refused),
    (problem(413, "too_large"), Invalid),
    (problem(415, "unsupported_media_type"), Invalid),
    (problem(405, "method_not_allowed"), Invalid),
    (foreign(302), TollbookError),
    (foreign(404), TollbookError),
    (foreign(407), TollbookError),
]


@pytest.mark.parametrize("call", [COMMAND, READING])
@pytest.mark.parametrize(("answer", "kind"), FINAL)
def test_what_will_not_pass_is_raised_at_once(
    call: Call[Any], answer: Received, kind: type[TollbookError]
) -> None:
    ended = hold(call, answer, GOOD)
    assert type(ended.error) is kind
    assert ended.sends == 1


def test_a_refusal_has_its_code_its_words_and_its_facts() -> None:
    body = {"code": "insufficient_balance", "title": "No", "status": 402, "required": "2"}
    answer = Received(402, {"x-request-id": "q-9"}, json.dumps({**body, "detail": "poor"}).encode())
    error = hold(COMMAND, answer).error
    assert error is not None
    assert (error.code, error.message) == ("insufficient_balance", "poor")
    assert error.facts == {"required": "2", "request_id": "q-9"}
    assert not error.retryable


def test_facts_may_have_any_name() -> None:
    body = {"code": "expired", "message": "m", "retryable": 1, "self": 2, "ratio": 0.5}
    error = hold(COMMAND, Received(410, {}, json.dumps(body).encode())).error
    assert error is not None
    assert (error.message, error.retryable) == ("expired", False)
    assert type(error.facts["message"]) is str
    assert type(error.facts["ratio"]) is not float


NEVER_DONE = [UNSENT, problem(503, "overloaded"), problem(429, "rate_limited"), foreign(429)]
MAYBE_DONE = [CUT, problem(504, "unknown"), problem(500, "internal"), foreign(502), foreign(503)]


@pytest.mark.parametrize("outcome", NEVER_DONE)
def test_when_no_try_can_have_had_an_effect_the_end_is_unavailable(
    outcome: Received | Lost,
) -> None:
    ended = hold(COMMAND, outcome)
    assert type(ended.error) is Unavailable
    assert ended.error.retryable


@pytest.mark.parametrize("outcome", MAYBE_DONE)
def test_when_a_try_may_have_had_an_effect_the_end_is_unknown_with_the_id(
    outcome: Received | Lost,
) -> None:
    ended = hold(COMMAND, outcome)
    assert type(ended.error) is Unknown
    assert (ended.error.facts["kind"], ended.error.facts["id"]) == ("reserve", "r-1")


@pytest.mark.parametrize("later", [*NEVER_DONE, problem(401, "unauthorized"), foreign(404)])
@pytest.mark.parametrize("first", MAYBE_DONE)
def test_what_one_try_left_open_stays_open_until_the_ledger_answers(
    first: Received | Lost, later: Received | Lost
) -> None:
    assert type(hold(COMMAND, first, later).error) is Unknown


@pytest.mark.parametrize("first", MAYBE_DONE)
@pytest.mark.parametrize(
    ("later", "kind"),
    [
        (problem(402, "insufficient_balance"), Refused),
        (problem(409, "id_reused"), Conflict),
        (problem(404, "not_found"), NotFound),
    ],
)
def test_the_ledgers_answer_to_a_later_try_settles_what_the_first_left_open(
    first: Received | Lost, later: Received, kind: type[TollbookError]
) -> None:
    assert type(hold(COMMAND, first, later).error) is kind


@pytest.mark.parametrize("outcome", [UNSENT, CUT, foreign(502), problem(503, "overloaded")])
def test_reading_never_ends_as_an_unknown_outcome(outcome: Received | Lost) -> None:
    assert type(hold(READING, outcome).error) is Unavailable


@pytest.mark.parametrize("deadline", [0.5, 5.0, 60.0])
@pytest.mark.parametrize("outcome", [UNSENT, CUT, problem(503, "overloaded")])
def test_tries_and_waits_end_at_the_deadline(outcome: Received | Lost, deadline: float) -> None:
    ended = hold(COMMAND, outcome, deadline=deadline)
    assert ended.sends > 1
    assert deadline / 2 <= ended.elapsed + CAP_SECONDS
    assert ended.elapsed <= deadline + 0.01


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    busy = problem(429, "rate_limited", {"retry-after": "61"})
    ended = hold(COMMAND, busy)
    assert (ended.sends, ended.waits) == (1, [])
    assert type(ended.error) is Unavailable


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "\u0667"}, 0.0),
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:28:09 GMT",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            9.0,
        ),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:09 GMT"}, 0.0),
        ({}, 0.0),
    ],
)
@pytest.mark.parametrize("answer", [problem(429, "rate_limited"), problem(503, "overloaded")])
def test_the_server_may_ask_for_a_longer_wait(
    answer: Received, headers: dict[str, str], asked: float
) -> None:
    ended = hold(COMMAND, answer._replace(headers=headers), GOOD)
    assert ended.waits == [pytest.approx(pause(0, 0.5) + asked)]


def test_the_bound_of_a_wait_doubles_up_to_a_cap_and_chance_picks_below_it() -> None:
    bounds = [pause(tries, 1.0) for tries in range(8)]
    assert bounds == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert pause(10**6, 1.0) == CAP_SECONDS
    assert [pause(tries, 0.0) for tries in (0, 5, 50)] == [0.0, 0.0, 0.0]


def test_a_lasting_failure_is_not_tried_again() -> None:
    ended = hold(COMMAND, Lost("certificate has expired", sent=False, lasting=True), GOOD)
    assert ended.sends == 1
    assert type(ended.error) is Unavailable


def test_parts_that_are_unfinished_are_asked_for_again_and_returned_at_the_end() -> None:
    batch = Call(COMMAND.request, lambda d: d["held"], COMMAND.command, lambda held: held != 7)
    part = Received(200, {}, b'{"held": 6}')
    assert hold(batch, part, part, GOOD)[:3] == (7, None, 3)
    ended = hold(batch, CUT, part)
    assert (ended.value, ended.error) == (6, None)
    assert ended.sends > 3
