"""What gRPC puts on HTTP/2: read as it was written, however it is cut, and refused where broken."""

import gzip
import struct
import tracemalloc
import zlib
from itertools import pairwise

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as some

from adapters.grpc import messages
from adapters.grpc.frames import PREFACE_BYTES, Frames
from adapters.grpc.messages import MessageError, Messages

MOST = 1000
INTERNAL, TOO_LARGE = grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED
BROKEN = {
    "a flag without an encoding": ("identity", 1, b"x", INTERNAL),
    "a flag that there is not": ("gzip", 2, b"x", INTERNAL),
    "what is no gzip": ("gzip", 1, b"junk", INTERNAL),
    "a gzip cut off": ("gzip", 1, gzip.compress(b"x" * 99)[:-3], INTERNAL),
    "more behind a gzip": ("gzip", 1, gzip.compress(b"x") + b"y", INTERNAL),
    "a bomb": ("gzip", 1, gzip.compress(b"x" * 500_000), TOO_LARGE),
    "a byte too many": ("deflate", 1, zlib.compress(b"x" * (MOST + 1)), TOO_LARGE),
    "an encoding that there is not": ("br", 1, b"x", INTERNAL),
}

texts = some.text(some.characters(codec="utf-8"))
names = some.from_regex(r"[a-z0-9_.][a-z0-9_.-]{0,20}", fullmatch=True).filter(
    lambda name: not name.startswith("grpc-") and name not in ("te", "content-type")
)
plain = some.tuples(
    names.filter(lambda name: not name.endswith("-bin")),
    some.text(some.characters(min_codepoint=32, max_codepoint=126)),
)
binary = some.tuples(names.map(lambda name: f"{name}-bin"), some.binary())


def flagged(flag: int, data: bytes) -> bytes:
    return struct.pack(">BI", flag, len(data)) + data


@given(texts)
def test_words_are_read_as_they_were_said_and_travel_as_printable_ascii(words: str) -> None:
    said = messages.quoted(words)
    assert all(0x20 <= byte < 0x7F for byte in said)
    assert messages.unquoted(said) == words


@given(some.binary())
def test_no_words_of_a_peer_are_too_broken_to_be_read(said: bytes) -> None:
    assert isinstance(messages.unquoted(said), str)


@given(some.floats(min_value=0.001, max_value=9e4))
def test_a_timeout_is_read_as_it_was_written_to_a_millisecond(given_seconds: float) -> None:
    assert messages.seconds(messages.timeout(given_seconds)) == pytest.approx(
        given_seconds, abs=0.0006
    )


@given(some.floats(min_value=0, max_value=1e30))
def test_every_timeout_has_the_form_that_servers_read(given_seconds: float) -> None:
    assert messages.seconds(messages.timeout(given_seconds)) > 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1H", 3600), ("2M", 120), ("3S", 3), ("4m", 0.004), ("5u", 5e-6), ("6n", 6e-9), ("0S", 0)],
)
def test_each_unit_of_a_timeout_is_known(text: str, seconds: float) -> None:
    assert messages.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "S", "1", "-1S", "1.5S", " 1S", "1 S", "1s", "123456789S", "\u0661S", "\u00b2S", "1_0S"],
)
def test_a_broken_timeout_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a timeout is"):
        messages.seconds(text)


def taken(found: Messages, pieces: list[bytes]) -> list[bytes]:
    """Return the messages in the pieces, each taken as soon as it is there."""
    came = []
    for piece in pieces:
        found.feed(piece)
        while not found.missing():
            came.append(found.take())
    return came


@given(some.lists(some.binary(max_size=60), max_size=5), some.data())
def test_messages_are_found_however_a_body_is_cut(said: list[bytes], data: some.DataObject) -> None:
    body = b"".join(messages.framed(each) for each in said)
    cuts = data.draw(some.lists(some.integers(0, len(body)), max_size=8))
    edges = [0, *sorted(cuts), len(body)]
    pieces = [body[begin:end] for begin, end in pairwise(edges)]
    found = Messages(MOST)
    assert taken(found, pieces) == said
    assert found.waiting == 0


def test_a_body_cut_at_every_byte_has_the_same_messages() -> None:
    said = [b"", b"a", b"bc" * 40, gzip.compress(b"d" * 500)]
    body = b"".join([*map(messages.framed, said[:3]), flagged(1, said[3])])
    for cut in range(len(body) + 1):
        assert taken(Messages(MOST, "gzip"), [body[:cut], body[cut:]])[3:] == [b"d" * 500]
    pieces = [body[each : each + 1] for each in range(len(body))]
    assert taken(Messages(MOST, "gzip"), pieces)[:3] == said[:3]


def test_a_body_that_ends_inside_a_message_is_told_at_every_byte() -> None:
    body = messages.framed(b"hello")
    for cut in range(1, len(body)):
        found = Messages(MOST)
        found.feed(body[:cut])
        assert found.missing() == (5 - cut if cut < 5 else len(body) - cut)
        with pytest.raises(MessageError, match="cut off"):
            found.take()


def test_a_message_is_too_large_before_it_has_come() -> None:
    found = Messages(MOST)
    found.feed(struct.pack(">BI", 0, MOST + 1))
    with pytest.raises(MessageError) as raised:
        found.missing()
    assert raised.value.status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert taken(Messages(MOST), [messages.framed(b"x" * MOST)]) == [b"x" * MOST]


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_unpacked_is_refused(what: str) -> None:
    encoding, flag, data, status = BROKEN[what]
    found = Messages(MOST, encoding)
    found.feed(flagged(flag, data))
    with pytest.raises(MessageError) as raised:
        found.take()
    assert raised.value.status is status


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_what_is_not_marked_as_compressed_is_taken_as_it_is(encoding: str) -> None:
    assert taken(Messages(MOST, encoding), [messages.framed(b"plain")]) == [b"plain"]
    assert messages.is_known(encoding)
    assert not messages.is_known("br")


def test_the_smallest_pieces_take_no_more_room_than_what_they_hold() -> None:
    found = Messages(2**30)
    tracemalloc.start()
    try:
        for _ in range(200_000):
            found.feed(b"xy")
            found.feed(b"")
        assert tracemalloc.get_traced_memory()[0] < 450_000
    finally:
        tracemalloc.stop()
    assert found.waiting == 400_000


def test_many_messages_in_one_piece_are_taken_without_copying_the_rest_each_time() -> None:
    found = Messages(MOST)
    found.feed(messages.framed(b"") * 400_000)  # each time would be 400 GB
    for _ in range(400_000):
        found.take()
    assert found.waiting == 0


@given(some.lists(some.one_of(plain, binary)))
def test_metadata_is_read_as_it_was_written(said: list[tuple[str, str | bytes]]) -> None:
    assert messages.metadata_of(tuple(messages.headers_of(said))) == tuple(said)


@pytest.mark.parametrize(
    ("value", "found"),
    [(b"YQ", [b"a"]), (b"YQ==", [b"a"]), (b"", [b""]), (b"YQ,YWI=", [b"a", b"ab"])],
)
def test_binary_metadata_comes_with_padding_or_without_and_in_lists(
    value: bytes, found: list[bytes]
) -> None:
    assert messages.metadata_of(((b"x-bin", value),)) == tuple(("x-bin", each) for each in found)


@pytest.mark.parametrize("value", [b"a*b", b"Y", b"YQ==YQ==", b"\xff"])
def test_broken_binary_metadata_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="base64"):
        messages.metadata_of(((b"x-bin", value),))


@pytest.mark.parametrize("value", [None, b"", b"-1", b"x", b"17", b"9" * 5000, "\u00b2".encode()])
def test_a_status_that_there_is_not_is_unknown(value: bytes | None) -> None:
    assert messages.status_of(value) is grpc.StatusCode.UNKNOWN


def test_every_status_is_read_as_it_was_written() -> None:
    for status in grpc.StatusCode:
        headers = dict(messages.status(status, "words"))
        assert messages.status_of(headers[b"grpc-status"]) is status


@pytest.mark.parametrize(
    ("method", "kind", "is_call"),
    [
        (b"POST", b"application/grpc", True),
        (b"POST", b"application/grpc+proto", True),
        (b"POST", b"application/grpc; charset=x", True),
        (b"POST", b"Application/gRPC", True),
        (b"POST", b"application/grpc-web", False),
        (b"POST", b"application/json", False),
        (b"POST", b"", False),
        (b"GET", b"application/grpc", False),
    ],
)
def test_only_a_post_of_grpcs_own_type_is_a_call(method: bytes, kind: bytes, is_call: bool) -> None:
    assert messages.is_grpc({b":method": method, b"content-type": kind}) is is_call


@given(some.lists(some.binary(max_size=40), max_size=5), some.data())
def test_frames_come_whole_however_they_are_cut(said: list[bytes], data: some.DataObject) -> None:
    wanted = [len(each).to_bytes(3, "big") + bytes(6) + each for each in said]
    preface = b"p" * data.draw(some.sampled_from([0, PREFACE_BYTES]))
    wire = preface + b"".join(wanted)
    edges = [0, *sorted(data.draw(some.lists(some.integers(0, len(wire)), max_size=8))), len(wire)]
    ends = {len(preface) + len(b"".join(wanted[:count])) for count in range(len(wanted) + 1)}
    frames, came = Frames(len(preface)), b""
    for begin, end in pairwise(edges):
        came += frames.whole(wire[begin:end])
        assert len(came) in ends or len(came) == end <= len(preface)
    assert came == wire


def test_a_frame_that_is_too_large_is_not_waited_for() -> None:
    head = (16_385).to_bytes(3, "big") + bytes(6)
    assert Frames(0).whole(head + b"x") == head + b"x"
    assert Frames(PREFACE_BYTES).whole(b"GET / HTTP/1.1") == b"GET / HTTP/1.1"
