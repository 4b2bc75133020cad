"""How calls end when their client, their connection or the whole server does, in every phase."""

import time

import ngh2
import pytest

from tests.gateway.raw_grpc import Client, asked
from tests.gateway.raw_grpc_served import NO_WINDOW, PHASES, Served
from tests.gateway.raw_grpc_served import nothing_left as nothing_left  # noqa: PLC0414 - a fixture
from tests.gateway.raw_grpc_served import served as served  # noqa: PLC0414 - a fixture


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("how", ["reset", "reset at once", "cut", "farewell", "half closed"])
def test_a_call_whose_client_leaves_is_over_at_once(served: Served, phase: str, how: str) -> None:
    path, body, end, settings = PHASES[phase]
    served.ended.clear()
    with served.client(settings, auto_window_update=False) as client:
        stream = client.ask(asked(path), body, end=end)
        if how != "reset at once":
            client.settle()
        if how.startswith("reset"):
            client.reset(stream)
            served.idle()
            client.settle()
        elif how == "farewell":
            client.h2.terminate_connection()
            client.flush()
            client.socket.close()
        elif how == "half closed":
            client.socket.shutdown(1)
            client.rest()
    served.idle()
    finishes = path in ("/test/large", "/test/early")
    allowed = {"answered"} if finishes else {"cancelled", "left"}
    assert set(served.ended) <= (allowed | {"cancelled"})
    assert len(served.ended) <= 1


def test_a_handler_that_takes_no_notice_of_its_clients_leaving_runs_on_alone(
    served: Served,
) -> None:
    served.ended.clear()
    with served.client() as client:
        stream = client.ask(asked("/test/stubborn"))
        client.settle()
        client.reset(stream)
        client.settle()
        assert not served.is_idle()
        served.idle()
    assert served.ended == ["answered"]


def test_a_handler_that_has_refused_is_not_cancelled_in_what_it_has_left_to_do(
    served: Served,
) -> None:
    served.ended.clear()
    with served.client() as client:
        found = client.answer(client.ask(asked("/test/refuse")))
        assert (found.status, found.is_closed) == (5, True)
    served.idle()
    assert served.ended == ["left"]


def test_a_call_whose_time_has_passed_is_cancelled_and_told(served: Served) -> None:
    for path in ("/test/hold", "/test/echo", "/test/stubborn"):
        served.ended.clear()
        with served.client() as client:
            found = client.answer(client.ask(asked(path, grpc_timeout="100m"), b"", end=False))
            assert found.status == 4
            client.until(lambda: found.is_closed)  # noqa: B023
            assert found.reset == ngh2.ErrorCode.NO_ERROR
            served.idle()
    with served.client(NO_WINDOW) as client:
        stream = client.ask(asked("/test/many", grpc_timeout="100m"), b"", end=False)
        client.until(lambda: bool(client.answers[stream].headers))
        time.sleep(0.2)
        client.reset(stream)


def test_random_calls_that_end_at_random_moments_leave_nothing(served: Served) -> None:
    for round_ in range(40):
        settings = NO_WINDOW if round_ % 3 == 0 else {}
        with Client(served.port, settings) as client:
            streams = []
            for number in range(30):
                path, body, end, _ = list(PHASES.values())[(number * 7 + round_) % len(PHASES)]
                streams.append((client.ask(asked(path), body, end=end), end))
                if number % (2 + round_ % 5) == 0:
                    client.reset(streams[(number * 3) % len(streams)][0])
            if round_ % 4:
                client.settle()
