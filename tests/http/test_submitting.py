"""Commands that take too long: what was not begun is `overloaded`, what may have been `unknown`."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from tollbook.errors import TollbookError, Unavailable

from adapters.event_store.store import PostgresEventStore
from application.answers import Answer
from application.jobs import Item
from domain.command import Command
from domain.commands import parse
from entrypoints.http.submitting import Submitter
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, USAGE, a_customer, open_ledger

T = TypeVar("T")


def command(name: str) -> Command:
    """Return a command that holds the money for one inference."""
    body = {"id": name, "customer": "cust-1", "model": MODEL, "estimate": USAGE}
    return parse("reserve", body)


async def outcome(asked: Coroutine[Any, Any, list[Answer]]) -> str:
    """Return the code of what came back."""
    try:
        return (await asked)[0].code
    except TollbookError as error:
        return error.code


def test_a_deadline_says_whether_anything_may_have_been_done(
    embedded_database: TestDatabase,
) -> None:
    """One is being committed while the head is held, the other one waits behind it."""
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        blocker = PostgresEventStore(embedded_database.app_url)

        async def both() -> list[str]:
            submitter = Submitter(ledger.executor, 2.0)
            with blocker.locked():
                first = asyncio.create_task(outcome(submitter.submit([Item(command("first"))])))
                await asyncio.sleep(0.6)
                later = asyncio.create_task(outcome(submitter.submit([Item(command("later"))])))
                return [await first, await later]

        assert asyncio.run(both()) == ["unknown", "overloaded"]
        blocker.close()
        ledger.run("reserve", {**_body("after")}).result()
        # Nobody knew what became of the first; asking by its id tells. The other left its id free.
        assert ledger.outcome("reserve", "cust-1", "first").done
        assert ledger.run("reserve", _body("later")).repeated is False


def _body(name: str) -> dict[str, Any]:
    return {"id": name, "customer": "cust-1", "model": MODEL, "estimate": USAGE}


def test_many_at_once_are_each_given_their_own_answer(embedded_database: TestDatabase) -> None:
    """Finished jobs share a wake-up of the loop, and none is forgotten."""
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)

        async def all_of_them() -> list[str]:
            submitter = Submitter(ledger.executor)

            async def one(number: int) -> str:
                (answer,) = await submitter.submit([Item(command(f"r{number}"))])
                return answer.result()["id"]  # type: ignore[no-any-return]

            return await asyncio.gather(*(one(number) for number in range(500)))

        assert asyncio.run(all_of_them()) == [f"r{number}" for number in range(500)]


def test_a_caller_that_goes_away_undoes_nothing(embedded_database: TestDatabase) -> None:
    """Its command is decided all the same, once it is on its way."""
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)

        async def gone() -> None:
            submitter = Submitter(ledger.executor)
            task = asyncio.create_task(submitter.submit([Item(command("gone"))]))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(gone())
        ledger.run("reserve", _body("next")).result()
        assert ledger.outcome("reserve", "cust-1", "gone").done


async def until(is_true: Callable[[], bool]) -> None:
    """Wait for something that the executor does."""
    for _ in range(6_000):
        if is_true():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it has not happened")


def test_a_full_queue_is_said_at_once(embedded_database: TestDatabase) -> None:
    """Nobody waits for a place in it."""
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        ledger.executor._queue_max = 1
        blocker = PostgresEventStore(embedded_database.app_url)
        released = threading.Event()

        async def crowd() -> list[str]:
            submitter = Submitter(ledger.executor, 20.0)
            with blocker.locked():
                first = asyncio.create_task(outcome(submitter.submit([Item(command("a"))])))
                await until(ledger.executor._turn.locked)
                await until(lambda: not ledger.executor._queue)
                second = asyncio.create_task(outcome(submitter.submit([Item(command("b"))])))
                await until(lambda: bool(ledger.executor._queue))
                with pytest.raises(Unavailable) as full:
                    await submitter.submit([Item(command("c"))])
                assert full.value.code == "overloaded"
            released.set()
            return [await first, await second]

        assert asyncio.run(crowd()) == ["done", "done"]
        assert released.is_set()
        blocker.close()
