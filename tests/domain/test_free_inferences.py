"""What ran for nothing and no ledger knows: it explains a gap, once, and no gap of another time."""

import pytest

from domain.free_inferences import NEAR, Free, ended_free, may_have_run
from domain.reconciliation import BOUNDS, INSIDE, NEVER_SENT
from domain.server_counters import Counters, Sample
from tests.domain.reconciling import FAILED, LEFT, causes, one, servers, some

FIRST, LAST = Sample(100 * NEAR, 1, 2, {}, {}), Sample(200 * NEAR, 8, 9, {}, {})


def free(began: int = 140, ended: int = 150, id: str = "inf_1", reason: str = FAILED) -> Free:
    """Note an inference; its times in what is near."""
    return Free(id, "ada", "text", reason, began * NEAR, ended * NEAR)


@pytest.mark.parametrize(
    ("began", "ended", "when"),
    [
        pytest.param(140, 150, INSIDE, id="between the samples"),
        pytest.param(90, 150, BOUNDS, id="under way at the first"),
        pytest.param(150, 210, BOUNDS, id="under way at the last"),
        pytest.param(90, 210, BOUNDS, id="under way at both"),
        pytest.param(99, 100, BOUNDS, id="ended as the first was taken"),
        pytest.param(199, 200, BOUNDS, id="ended as the last was taken"),
        pytest.param(200, 201, BOUNDS, id="begun as the last was taken"),
        pytest.param(90, 98, None, id="ended before"),
        pytest.param(202, 203, None, id="begun after"),
    ],
)
def test_when_it_ran_is_told_by_its_gateways_clock(
    began: int, ended: int, when: str | None
) -> None:
    found = ended_free([free(began, ended)], FIRST, LAST)
    assert [each.when for each in found] == ([] if when is None else [when])


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        pytest.param(f"{FAILED}: boom", "errors", id="failed"),
        pytest.param(f"{FAILED}: [request id: inf_1] wrong shape", "refused", id="refused"),
        pytest.param(f"{FAILED}: [request id: inf_2] boom", "errors", id="of another's words"),
        pytest.param(f"{FAILED}: unexpected inference input 'X'", "refused", id="unknown input"),
        pytest.param(LEFT, "left", id="left"),
    ],
)
def test_it_is_the_cause_that_a_released_hold_would_be(reason: str, cause: str) -> None:
    found = ended_free([free(reason=reason)], FIRST, LAST)
    line = one(servers(textgen=Counters(success=2, failed=1)), *found, some(2))
    assert (causes(line), line.unexplained) == ({cause: 1}, 0)


def test_what_is_noted_twice_explains_one_gap() -> None:
    found = ended_free([free(), free(), free(id="inf_2")], FIRST, LAST)
    line = one(servers(textgen=Counters(success=5)), *found, some(2))
    assert (causes(line), line.unexplained) == ({"errors": 2}, 1)


def test_of_two_notes_of_one_inference_the_first_counts() -> None:
    found = ended_free([free(), free(190, 300, reason=NEVER_SENT[0])], FIRST, LAST)
    assert [(each.when, each.reason) for each in found] == [(INSIDE, FAILED)]


@pytest.mark.parametrize("reason", [*NEVER_SENT, "the server failed it: no server took it"])
def test_what_no_server_was_given_explains_nothing(reason: str) -> None:
    assert not may_have_run(reason)
    assert ended_free([free(reason=reason)], FIRST, LAST) == []
