"""What a type checker sees: mypy holds the assertions below, and one test holds what runs."""

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import pytest
from tollbook.client import (
    AsyncClient,
    AsyncInference,
    Balance,
    BlockingInference,
    Client,
    CommandResult,
    Event,
    Hold,
    LeaseGranted,
    ModelInShort,
    ModelVersion,
    ModelVersionDone,
    Settlement,
    Trial,
    UsageResult,
    Validation,
)

USAGE = {"input_tokens": 3}


def blocking_types(client: Client) -> None:
    """Hold the types of the blocking client; never called."""
    assert_type(client.reserve("ada", "small", USAGE), Hold)
    assert_type(client.settle("r-1", USAGE, final=False), Settlement)
    assert_type(client.balance("ada", at=7), Balance)
    assert_type(client.usage([]), list[UsageResult])
    assert_type(client.commands([], atomic=True), list[CommandResult])
    assert_type(client.events(), Iterator[Event])
    assert_type(client.validate("small", license="lic-1"), Validation)
    assert_type(client.try_validation("small", license="lic-1"), Trial)
    assert_type(client.lease("lic-1", "small", "0a" * 32), LeaseGranted)
    assert_type(client.model("m").versions, tuple[ModelVersion, ...])
    assert_type(client.models(), Iterator[ModelInShort])
    assert_type(client.inference("ada", "small", USAGE), BlockingInference)
    client.reserve("ada", "small", {"input_tokens": 0.5})  # type: ignore[dict-item]
    client.reserve("ada", model="small")  # type: ignore[call-arg]


async def asynchronous_types(client: AsyncClient) -> None:
    """Hold the types of the asynchronous client; never called."""
    assert_type(await client.reserve("ada", "small", USAGE), Hold)
    assert_type(await client.settle("r-1", USAGE), Settlement)
    assert_type(await client.usage([]), list[UsageResult])
    assert_type(await client.release_version("m", "1.0.0"), ModelVersionDone)
    assert_type(client.events(after=3), AsyncIterator[Event])
    assert_type(client.inference("ada", "small", USAGE), AsyncInference)


def methods(client: type) -> dict[str, str]:
    """Return the public methods of a client with their parameters."""
    return {
        name: str(inspect.signature(getattr(client, name)).replace(return_annotation=None))
        for name in dir(client)
        if not name.startswith("_")
    }


def test_both_clients_have_the_same_methods() -> None:
    assert methods(Client) == methods(AsyncClient)
    assert len(methods(Client)) > 20


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_method_says_what_it_does(kind: type) -> None:
    assert [name for name in methods(kind) if not inspect.getdoc(getattr(kind, name))] == []
