"""Many commands of one request of which some were not decided: what the whole request is told."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tollbook.errors import TollbookError, Unavailable, Unknown

from application.answers import Answer
from entrypoints.http.many import _submitted
from entrypoints.http.routing import Call

NOT_DONE = Unavailable("nothing was done")
TOO_LATE = Unavailable("the deadline passed", code="overloaded")
OPEN = Unknown("the deadline passed during the commit")


def submitted(*errors: TollbookError | None) -> list[Answer]:
    """Return the answers of a request whose commands failed so, or whose ids were free (None)."""
    answers = [Answer(f"c-{n}", None, error=error) for n, error in enumerate(errors)]

    async def submit(_items: Any, *, atomic: bool) -> list[Answer]:
        assert not atomic
        return answers

    service = SimpleNamespace(submitter=SimpleNamespace(submit=submit))
    call = cast(Call, SimpleNamespace(service=service))
    return asyncio.run(_submitted(call, answers))


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ((NOT_DONE, NOT_DONE), NOT_DONE),
        ((TOO_LATE, NOT_DONE), TOO_LATE),
        ((OPEN, NOT_DONE), OPEN),
        ((NOT_DONE, OPEN), OPEN),
    ],
)
def test_where_nothing_is_known_to_be_done_the_request_fails_and_says_what_may_have_happened(
    errors: tuple[TollbookError, ...], told: TollbookError
) -> None:
    with pytest.raises(type(told)) as raised:
        submitted(*errors)
    assert raised.value is told


def test_where_something_was_answered_each_command_has_its_own_answer() -> None:
    assert [answer.error for answer in submitted(None, OPEN, NOT_DONE)] == [None, OPEN, NOT_DONE]
