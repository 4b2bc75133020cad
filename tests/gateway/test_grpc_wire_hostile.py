"""Floods, clients that take nothing, and bodies that nobody reads: what they cost the server."""

import socket
import time
from collections import Counter
from collections.abc import Callable

import ngh2
import pytest

from adapters.grpc import call, connection, server, untaken
from adapters.grpc.messages import framed
from tests.gateway import raw_grpc as raw
from tests.gateway.raw_grpc import OK, Client, asked
from tests.gateway.raw_grpc_served import Served
from tests.gateway.raw_grpc_served import nothing_left as nothing_left  # noqa: PLC0414 - a fixture
from tests.gateway.raw_grpc_served import served as served  # noqa: PLC0414 - a fixture

NO_WINDOW: dict[int, int] = {ngh2.Setting.INITIAL_WINDOW_SIZE: 0}
LARGE_WINDOW: dict[int, int] = {ngh2.Setting.INITIAL_WINDOW_SIZE: 2**31 - 1}
HOLD = raw.block(asked("/test/hold"))
UNAVAILABLE = 14


def opened(stream: int, block: bytes = HOLD) -> bytes:
    return raw.frame(raw.HEADERS, raw.END_HEADERS, stream, block)


def reset(stream: int) -> bytes:
    return raw.frame(raw.RESET, 0, stream, (8).to_bytes(4, "big"))


def wait(served: Served, is_true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("at_once", [True, False])
def test_calls_that_are_left_as_soon_as_they_are_made_leave_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    monkeypatch.setattr(server, "CALLS_MAX", 2_000)
    before = served.begun
    for _ in range(5):
        with Client(served.port) as client:
            client.settle()
            pieces = [opened(each) + reset(each) for each in range(1, 1_801, 2)]
            for piece in [b"".join(pieces)] if at_once else pieces:
                client.raw(piece)
            client.settle()
    # Together they are more than may be under way: none is any more.
    assert served.is_idle()
    assert served.begun - before <= (0 if at_once else 4_500)


def test_who_leaves_too_many_calls_is_sent_away_and_nobody_else(served: Served) -> None:
    with served.client() as other, served.client() as client:
        stream = other.ask(asked(), end=False)
        client.settle()
        client.raw(b"".join(opened(each) + reset(each) for each in range(1, 6_001, 2)))
        client.until(lambda: client.goaway is not None)
        other.send(stream, framed(b"still here"), end=True)
        assert other.answer(stream).body[5:] == b"still here"


def test_thousands_of_calls_without_a_body_wait_and_are_gone_with_their_client(
    served: Served,
) -> None:
    served.ended.clear()
    with served.client() as client:
        client.settle()
        client.raw(b"".join(opened(each) for each in range(1, 10_001, 2)))
        client.settle()
        wait(served, lambda: len(served.server.calls) == 5_000)
        with served.client() as other:
            assert other.call().status == OK
        served.ended.clear()
    served.idle()
    assert Counter(served.ended) == {"cancelled": 5_000}


def test_calls_beyond_what_the_process_takes_are_told_to_come_later(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CALLS_MAX", 3)
    with served.client() as client:
        held = [client.ask(asked("/test/hold"), end=False) for _ in range(3)]
        found = client.answer(client.ask(asked(), end=False))
        assert found.status == UNAVAILABLE
        for stream in held:
            client.reset(stream)
        served.idle()
        assert client.call().status == OK


def test_answers_that_nobody_takes_are_kept_up_to_a_bound(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untaken, "UNTAKEN_MAX", 50)
    monkeypatch.setattr(untaken, "UNTAKEN_BYTES_MAX", 3_000_000)
    with served.client(NO_WINDOW) as client:
        for path, kept in (("/test/early", 50), ("/test/large", 9)):
            answers = [client.answers[client.ask(asked(path))] for _ in range(200)]
            client.until(lambda: sum(one.is_closed for one in answers) == 200 - kept)  # noqa: B023
            client.settle()
            assert {one.reset for one in answers} == {None, ngh2.ErrorCode.CANCEL}
            assert len(served.server.untaken) == kept
            assert served.run(_queued(served)) <= 3_000_000


async def _queued(served: Served) -> int:
    return sum(each.h2.queued_body_size() for each in served.server.connections)


def test_an_answer_that_is_not_taken_is_left_and_one_that_is_taken_slowly_is_not(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untaken, "UNTAKEN_SECONDS", 0.3)
    window = 1_000
    settings: dict[int, int] = {ngh2.Setting.INITIAL_WINDOW_SIZE: window}
    with served.client(settings, auto_window_update=False) as client:
        client.h2.set_local_window_size(1_000_000)
        slow = client.ask(asked("/test/large"))
        never = client.ask(asked("/test/large"))
        for _ in range(20):
            window += 1_000
            client.h2.set_local_window_size(window, stream_id=slow)
            client.settle()
            time.sleep(0.05)
        assert client.answers[never].reset == ngh2.ErrorCode.CANCEL
        client.h2.set_local_window_size(400_000, stream_id=slow)
        client.flush()
        found = client.answer(slow)
        assert (found.status, len(found.body)) == (OK, 300_005)


def test_a_client_that_reads_nothing_from_its_socket_is_left(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STUCK_SECONDS", 0.4)
    served.ended.clear()
    with served.client(LARGE_WINDOW) as client:
        client.h2.set_local_window_size(2**31 - 1)
        client.ask(asked("/test/many"), end=False)
        for _ in range(30):
            client.ask(asked("/test/large"))
        wait(served, lambda: "cancelled" in served.ended or "left" in served.ended)
    served.idle()


@pytest.mark.parametrize("how", ["of the stream", "of the connection", "by settings"])
def test_who_writes_goes_on_when_its_client_makes_room(served: Served, how: str) -> None:
    settings: dict[int, int] = {
        ngh2.Setting.INITIAL_WINDOW_SIZE: 300_000 if how == "of the connection" else 1_000
    }
    with served.client(settings, auto_window_update=False) as client:
        if how != "of the connection":
            client.h2.set_local_window_size(300_000)
        stream = client.ask(asked("/test/each"), framed(b"x" * 200_000), end=False)
        client.until(lambda: len(client.answers[stream].body) in (1_000, 65_535))
        client.settle()
        if how == "of the connection":
            client.h2.set_local_window_size(300_000)
        elif how == "of the stream":
            client.h2.set_local_window_size(300_000, stream_id=stream)
        else:
            client.h2.update_settings({ngh2.Setting.INITIAL_WINDOW_SIZE: 300_000})
        client.flush()
        client.until(lambda: len(client.answers[stream].body) == 200_005)
        client.send(stream, framed(b"next"), end=True)
        found = client.answer(stream)
        assert (found.status, found.body[-4:]) == (OK, b"next")


def test_an_end_behind_a_window_that_is_used_up_is_not_lost(served: Served) -> None:
    with served.client(auto_window_update=False) as client:
        stream = client.ask(asked("/test/echo"), framed(b"x" * (65_535 - 5)), end=False)
        client.until(lambda: len(client.answers[stream].body) == 65_535)
        client.settle()
        client.settle()
        assert client.answers[stream].reset is None
        client.h2.set_local_window_size(10**6, stream_id=stream)
        client.h2.set_local_window_size(10**6)
        client.flush()
        assert client.answer(stream).status == OK


def test_an_early_answer_has_its_client_stop_sending(served: Served) -> None:
    with served.client() as client:
        stream = client.ask(asked("/test/early"), framed(b"x" * 60_000)[:-1], end=False)
        found = client.answer(stream)
        assert (found.status, found.body[5:]) == (OK, b"early")
        client.until(lambda: found.is_closed)
        assert found.reset == ngh2.ErrorCode.NO_ERROR


@pytest.mark.parametrize("path", ["/test/early", "/test/other", "/test/large"])
def test_room_for_bodies_that_nobody_reads_is_given_back(served: Served, path: str) -> None:
    body = framed(b"x" * 60_000)
    with served.client() as client:
        for _ in range(90):  # 5.4 MB, where 4 may be on their way
            found = client.answer(client.ask(asked(path), body))
            assert found.status in (OK, 12)
        assert client.call(message=b"x" * 900_000).status == OK


def test_room_for_half_a_frame_whose_call_ends_is_given_back(served: Served) -> None:
    refused = raw.block(asked("/test/other"))
    body = raw.frame(raw.DATA, 0, 0, bytes(16_384))
    with served.client() as client:
        client.settle()
        for stream in range(1, 341, 2):  # 2.8 MB of halves
            whole = body[:5] + stream.to_bytes(4, "big") + body[9:]
            client.raw(opened(stream, refused) + whole[:-100])
            time.sleep(0.005)  # now it is over
            client.raw(whole[-100:])
        (held,) = [each for each in served.server.connections if each.h2.local_window_size]
        wait(served, lambda: held.h2.local_window_size >= 2**21 - 16_384)


def test_one_clients_endless_body_leaves_room_for_its_other_calls(served: Served) -> None:
    with served.client() as client:
        upload = client.ask(asked("/test/each"), b"", end=False)
        for number in range(100):
            client.send(upload, framed(bytes([number]) * 40_000))
            assert client.call().status == OK
        client.send(upload, b"", end=True)
        assert len(client.answer(upload).body) == 100 * 40_005


def test_halves_of_large_messages_are_held_up_to_a_bound(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call, "HELD_MAX", 150_000)
    half = framed(b"x" * 60_000)[:-1]
    with served.client() as client, served.client() as other:
        client.settle()
        halves = [client.ask(asked(), half, end=False) for _ in range(2)]
        wait(served, lambda: served.server.held == 2 * len(half))
        assert other.answer(other.ask(asked(), half, end=False)).status == UNAVAILABLE
        for stream in halves:
            client.send(stream, b"x", end=True)
            assert client.answer(stream).status == OK
        assert other.call(message=b"x" * 60_000).status == OK
        client.ask(asked(), half, end=False)
    wait(served, lambda: served.server.held == 0)


def test_a_message_that_is_cut_off_is_counted_once_when_it_goes(served: Served) -> None:
    half = framed(b"x" * 60_000)[:-1]
    with served.client() as client:
        for _ in range(3):
            assert client.answer(client.ask(asked(), half, end=True)).status not in (OK, None)
    assert served.server.held == 0


@pytest.mark.parametrize(
    "piece",
    [
        raw.frame(raw.WINDOW, 0, 0, (1).to_bytes(4, "big")),
        raw.frame(raw.SETTINGS, 0, 0, b"\0\4" + (1).to_bytes(4, "big")),
        raw.frame(raw.DATA, 0, 1),
        raw.frame(raw.WINDOW, 0, 1, (0).to_bytes(4, "big")),
        raw.frame(2, 0, 3, bytes(5)),
        raw.frame(99, 0, 0, bytes(5)),
    ],
    ids=["room", "settings", "empty pieces", "no room", "priorities", "unknown frames"],
)
def test_a_flood_of_small_frames_holds_up_nobody_for_long(served: Served, piece: bytes) -> None:
    with served.client() as other, served.client(NO_WINDOW) as client:
        client.settle()
        for _ in range(2_000):
            client.ask(asked("/test/each"), framed(b"x" * 1_000), end=False)
        client.settle()
        client.raw(piece * 20_000)
        began = time.monotonic()
        assert other.call().status == OK
        assert time.monotonic() - began < 5


def test_headers_that_are_small_on_the_wire_and_large_here_do_not_add_up(served: Served) -> None:
    # The first puts 4,000 bytes into the table; each further byte repeats them.
    first = raw.block(asked("/test/other")) + b"\x40\x01x\x7f\xa1\x1e" + b"x" * 4_000
    again = raw.block(asked("/test/other")) + b"\xbe" * 15
    calls = opened(1, first) + b"".join(opened(each, again) for each in range(3, 4_001, 2))
    with socket.create_connection(("127.0.0.1", served.port), 10) as client:
        client.sendall(raw.PREFACE + raw.frame(raw.SETTINGS, 0, 0) + calls)
        client.sendall(raw.frame(raw.PING, 0, 0, b"are you?"))
        came = b""
        while raw.frame(raw.PING, 1, 0, b"are you?") not in came:
            piece = client.recv(1 << 20)
            assert piece
            came = came[-16:] + piece
        served.idle()
