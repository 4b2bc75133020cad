"""The SDK's clients and the registry of models, against the real server."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import anyio.from_thread
import pytest
from tollbook.client import Client
from tollbook.errors import Invalid, NotFound, Refused

from sdk.tests.driven import Driven
from tests.support.serving import Served


@pytest.fixture(params=["blocking", "asynchronous"])
def client(request: pytest.FixtureRequest, served: Served) -> Iterator[Any]:
    """Open a client of either kind."""
    if request.param == "blocking":
        with Client(served.url, key=served.key()) as client:
            yield client
        return
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        Driven(portal, served.url, served.key()) as client,
    ):
        yield client


def test_a_model_is_registered_released_withdrawn_and_read(
    client: Any, request: pytest.FixtureRequest
) -> None:
    name = f"org/{re.sub(r'[^a-z_]', '-', request.node.name)}"
    weights = "0a" * 32
    hashes = [{"alg": "SHA-256", "content": weights}]
    component = {"type": "machine-learning-model", "name": "gpt", "hashes": hashes}
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [component]}
    made = client.register_model(name, id=f"reg-{name[4:]}")
    assert (made.id, made.model) == (f"reg-{name[4:]}", name)
    assert client.register_model(name, id=made.id).position == made.position
    with pytest.raises(Refused) as taken:
        client.register_model(name)
    assert taken.value.code == "already_exists"
    day = datetime(2026, 1, 2, tzinfo=UTC)
    known = {"digest": weights, "bom": json.dumps(bom), "released_at": day}
    says = [{"name": "certification", "value": "ISO/IEC 42001"}]
    first = client.release_version(name, "1.0.0", provenance=says, **known)
    assert (first.model, first.version) == (name, "1.0.0")
    client.release_version(name, "1.1.0+build.2")
    with pytest.raises(Invalid) as wrong:
        client.release_version(name, "2.0.0", bom="{}")
    assert wrong.value.facts["field"].startswith("bom")
    assert client.yank_version(name, "1.1.0+build.2", "leaks").version == "1.1.0+build.2"
    found = client.model(name)
    assert (found.model, len(found.provenance_hash)) == (name, 64)
    one, other = found.versions
    assert (one.version, one.digest, one.released_at) == ("1.0.0", weights, day)
    assert (one.yanked_at, other.reason, other.provenance) == (None, "leaks", ())
    assert other.yanked_at >= other.released_at >= found.registered_at
    standings = {each.name: each.standing for each in one.provenance}
    assert standings["ml_bom.weights"] == "verified"
    assert standings["certification"] == "declared"
    assert {each.value for each in one.provenance} >= {"ISO/IEC 42001", "CycloneDX 1.6"}
    (short,) = (each for each in client.models() if each.model == name)
    assert (short.versions, short.yanked, short.newest, short.newest_at) == (2, 1, "1.0.0", day)
    outcome = client.outcome("register_model", made.id).done()
    assert (type(outcome).__name__, outcome.model) == ("ModelRegistered", name)
    with pytest.raises(NotFound):
        client.model("org/nobody")
