"""Thousands of mixed inferences in CI: each charge equals what the models' own logs say.

Two gateways stand before one Triton, and differ in what becomes of streams whose clients leave.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapters.triton.server import TritonServer
from tests.faults.invariants import assert_sound
from tests.gateway import model_accounts as counting
from tests.gateway.both_fronts import serving_both
from tests.gateway.grpc_serving import before, wait
from tests.gateway.mixed_load import Mixture
from tests.gateway.mixed_seen import Seen
from tests.gateway.model_accounts import Ledgered, Line
from tests.gateway.rig import METERS, Licensee, Rig, rig_on
from tests.support.databases import fresh_database
from tests.support.servers import embedded_server
from tests.support.sizes import in_full_or
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

STEPS, INFERENCES = in_full_or(260, 980), in_full_or(500, 2_000)
"""At each gateway so many steps, which are more inferences at both, whoever leaves too early."""
CUSTOMERS = 6
UNIT = "output_tokens"


class Ran(NamedTuple):
    """One gateway's run."""

    seen: Seen
    ledger: dict[str, Ledgered]
    after_cancel: str


@contextmanager
def opened(config: pytest.Config) -> Iterator[tuple[Rig, str]]:
    """Open a ledger of this test's own, to be audited at the end."""
    with fresh_database(embedded_server(config)) as made, rig_on(made.parts) as rig:
        yield rig, made.super_url


def ran(rig: Rig, triton: TritonServer, home: Path, after_cancel: str, seed: str) -> Ran:
    """Run half of all inferences, to the end of the last."""
    meters = [{**each, "after_cancel": after_cancel} for each in METERS]
    licensees = [rig.licensee() for _ in range(CUSTOMERS)]
    with serving_both(rig, home, before(triton, meters=meters, name=after_cancel)) as served:
        mixture = Mixture(served.grpc, served.http, licensees, f"{seed}-{after_cancel}")
        seen = rig.call(mixture.run(iter(range(STEPS))), 200)
        wait(lambda: not served.gateway.running and not served.gateway.settler.backlog)
    wait(lambda: all_logged(triton, seen, licensees))
    return Ran(seen, counting.ledgered(licensees), after_cancel)


def all_logged(triton: TritonServer, seen: Seen, licensees: list[Licensee]) -> bool:
    """Say whether the models have written down everything that was charged."""
    lines = accounts(triton)
    charged = {id for id, each in counting.ledgered(licensees).items() if each.charge}
    return charged <= lines.keys() | seen.cached.keys()


def accounts(triton: TritonServer) -> dict[str, Line]:
    assert triton.model_log is not None
    return counting.accounts(triton.model_log)


def expected(id: str, found: Ran, lines: dict[str, Line]) -> dict[str, Any] | None:
    """Return what an inference is to be charged, from the models' logs alone; None for nothing."""
    line = lines.get(id)
    if line is None:
        original = found.seen.cached.get(id)
        return None if original is None else counting.from_the_cache(counting.used(lines[original]))
    produced = line["outcome"] == "ok" or line["chunks"]
    return counting.used(line) if produced else None


def check(id: str, found: Ran, lines: dict[str, Line]) -> None:
    """Compare one inference's charge with the count."""
    entry, line = found.ledger[id], lines.get(id)
    should, charge = expected(id, found, lines), entry.charge
    usage = None if charge is None else dict(charge.usage)
    if charge is not None:
        assert charge.charged == counting.worth(entry.held.model, charge.usage), id
    left = (
        found.after_cancel == "stop"
        and line is not None
        and line["model"] == "textgen_stream"
        and id not in found.seen.right
    )
    if left and should is not None:
        told = 0 if usage is None else usage[UNIT]
        assert found.seen.words[id] <= told <= should[UNIT], (id, usage, line)
        assert usage is None or usage["input_tokens"] == should["input_tokens"], id
    else:
        assert usage == should, (id, str(line), found.after_cancel)


@pytest.mark.timeout(300)
def test_every_charge_equals_an_independent_count_of_what_the_models_did(
    triton: TritonServer, pytestconfig: pytest.Config, tmp_path: Path, seed: int
) -> None:
    with opened(pytestconfig) as (rig, super_url):
        before_all = accounts(triton).keys()
        runs = [ran(rig, triton, tmp_path / how, how, str(seed)) for how in ("stop", "drain")]
        lines = accounts(triton)
        ours = lines.keys() - before_all
        for found in runs:
            for id, entry in found.ledger.items():
                check(id, found, lines)
                assert len(entry.ends) == 1, (id, entry.ends)
                assert entry.parked is None, (entry.parked.detail, lines.get(id))
            assert found.seen.right <= found.ledger.keys()
            assert_only_errors_that_were_asked_for(found.seen)
        assert ours <= runs[0].ledger.keys() | runs[1].ledger.keys(), "something ran unheld"
        everything = [each for found in runs for each in found.ledger.values()]
        assert len(everything) > INFERENCES
        assert {money.held for money in assert_sound(super_url).values()} == {0}


def assert_only_errors_that_were_asked_for(seen: Seen) -> None:
    """Check that nobody got an error but who asked for one, or did not wait."""
    asked_for = ("fails: ", "hurried: ", "left: ")
    others = {said for said in seen.errors if not said.startswith(asked_for)}
    assert all("boom: the text is refused" in said for said in others), others
    assert any(said.startswith("hurried: grpc") for said in seen.errors)
    assert any(said.startswith("hurried: http") for said in seen.errors)
    assert seen.cached
