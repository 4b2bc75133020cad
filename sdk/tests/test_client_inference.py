"""An inference as a block of code: held on the way in, settled or given back on the way out."""

from typing import Any

import anyio
import pytest
from tollbook.client import AsyncClient, Money
from tollbook.errors import Invalid, Refused

from sdk.tests.ledger_server import KEY, LedgerServer

USAGE = {"input_tokens": 3}


def test_a_block_holds_and_settles_what_was_used(server: LedgerServer, client: Any) -> None:
    with client.inference("ada", "small", {"output_tokens": 9}, id="r-1") as inference:
        inference.used(output_tokens=2)
        inference.used(output_tokens=3, input_tokens=1)
    assert inference.charged == inference.settlement.charged == Money.of(1, "USD")
    body = server.done[inference.settle_id][0]
    assert body["usage"] == {"input_tokens": 1, "output_tokens": 5}
    assert [path for _, path, _ in server.tries] == [
        "/v1/reservations",
        "/v1/reservations/r-1/settle",
    ]


def test_a_block_that_fails_before_any_usage_gives_the_hold_back(
    server: LedgerServer, client: Any
) -> None:
    with pytest.raises(ZeroDivisionError), client.inference("ada", "small", USAGE, id="r-1"):
        raise ZeroDivisionError
    assert server.tries[-1][1] == "/v1/reservations/r-1/release"


def fail_midway(block: Any, seen: list[Any]) -> None:
    """Use something and fail."""
    with block as inference:
        seen.append(inference)
        inference.used(output_tokens=2)
        raise ZeroDivisionError


def test_a_block_that_fails_midway_settles_what_was_produced(
    server: LedgerServer, client: Any
) -> None:
    seen: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        fail_midway(client.inference("ada", "small", USAGE), seen)
    assert server.done[seen[0].settle_id][0]["usage"] == {"output_tokens": 2}


def test_a_block_that_used_nothing_gives_the_hold_back(server: LedgerServer, client: Any) -> None:
    with client.inference("ada", "small", USAGE) as inference:
        inference.used()
    assert inference.released.released == Money.of(1, "USD")
    assert inference.charged == Money.of(0, "USD")


def test_a_block_that_says_nothing_about_its_usage_raises_and_keeps_the_hold(
    server: LedgerServer, client: Any
) -> None:
    with pytest.raises(Invalid, match="without a word"), client.inference("ada", "small", USAGE):
        pass
    assert len(server.tries) == 1


def test_a_failing_settlement_does_not_hide_why_the_block_failed(
    server: LedgerServer, client: Any
) -> None:
    server.refusals["/v1/reservations/r-1/settle"] = 409, {"code": "already_settled"}
    seen: list[Any] = []
    with pytest.raises(ZeroDivisionError) as caught:
        fail_midway(client.inference("ada", "small", USAGE, id="r-1"), seen)
    assert seen[0].failure.code == "already_settled"
    assert "closing the inference r-1 failed" in caught.value.__notes__[0]


def test_a_failing_settlement_of_a_good_block_is_raised(server: LedgerServer, client: Any) -> None:
    server.refusals["/v1/reservations/r-1/settle"] = 409, {"code": "already_settled"}
    with pytest.raises(Refused), client.inference("ada", "small", USAGE, id="r-1") as inference:
        inference.used(output_tokens=2)


def test_a_refused_hold_never_enters_the_block(server: LedgerServer, client: Any) -> None:
    server.refusals["/v1/reservations"] = 402, {"code": "insufficient_balance"}
    with pytest.raises(Refused), client.inference("ada", "small", USAGE):
        raise ZeroDivisionError
    assert len(server.tries) == 1


def test_a_cancelled_block_settles_before_it_ends(server: LedgerServer) -> None:
    async def cancelled() -> str:
        async with AsyncClient(server.url, key=KEY) as client:
            block = client.inference("ada", "small", USAGE)
            with anyio.CancelScope() as scope:
                async with block as inference:
                    inference.used(output_tokens=2)
                    server.faults = ["answer lost"]
                    scope.cancel()
                    await anyio.sleep_forever()
            return block.settle_id

    settled = anyio.run(cancelled)
    assert server.effects[settled] == 1
    assert len(server.tries) == 3
