"""What is read from trace files that a real Triton wrote; README.md beside them says when."""

import json
from pathlib import Path

import pytest

from adapters.triton.trace_format import parsed
from domain.device_time import Trace, batches, microseconds, times

RECORDED = Path(__file__).parent / "traces"


def traces(name: str) -> tuple[Trace, ...]:
    found, last = parsed(json.loads((RECORDED / f"{name}.json").read_text("utf-8")))
    assert last > max(trace.began for trace in found)
    return found


@pytest.mark.parametrize(
    ("name", "computed", "answered"),
    [
        ("unary_grpc", 1, True),
        ("unary_http", 1, True),
        ("cache_miss", 1, True),
        ("cache_hit", 0, True),
        ("error", 1, True),
        ("error_of_batch", 1, True),
        ("deadline", 1, False),  # it ran to its end, for nobody
        ("stream", 1, True),
        ("stream_error", 1, True),
        ("stream_cancelled", 1, True),
    ],
)
def test_a_request_is_read_as_one_trace(name: str, computed: int, *, answered: bool) -> None:
    (trace,) = traces(name)
    assert len(trace.spans) == computed
    assert (trace.answered, trace.ran, trace.leaf) == (answered, True, True)
    assert trace.request
    (time,) = times([trace]).values()
    assert time == sum(microseconds(batch) for batch in batches([trace]))
    assert (time > 0) is bool(computed)


def test_three_requests_of_a_batch_share_its_time_exactly() -> None:
    found = traces("batch")
    ((batch, members),) = batches(found).items()
    assert len(members) == len(found) == 3
    shares = times(found)
    assert sum(shares.values()) == microseconds(batch)
    assert max(shares.values()) - min(shares.values()) <= 1
    # Three times too much is what the requests' own times add up to.
    naive = sum(end - start for trace in found for start, end in trace.spans)
    assert naive == 3 * (batch.end - batch.start)


def test_an_ensembles_stages_count_and_its_root_does_not() -> None:
    found = traces("ensemble")
    assert len({trace.request for trace in found}) == 1
    roots = [trace for trace in found if not trace.leaf]
    assert [(trace.model, trace.spans) for trace in roots] == [("pipeline", ())]
    (time,) = times(found).values()
    assert time == sum(microseconds(batch) for batch in batches(found)) > 0
    assert len(batches(found)) == len(found) - 1
