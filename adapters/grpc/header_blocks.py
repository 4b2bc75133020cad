"""What a block of headers says that libnghttp2 does not take: the last words of a call.

A value may not begin or end in a blank (RFC 9113, section 8.2.1), and libnghttp2 ends the stream of
one that does; but some errors of Triton end in one, and gRPC's own servers send them so. A peer
that was told to use no table (SETTINGS_HEADER_TABLE_SIZE of 0) sends blocks that are read each by
itself (RFC 7541).
"""

from hpack import Decoder, HPACKError

_HEAD_BYTES = 9
_HEADERS = 1
_END_STREAM, _END_HEADERS = 0x1, 0x4
_ENDS_ALL = _END_STREAM | _END_HEADERS

Headers = tuple[tuple[bytes, bytes], ...]


def last_of(frames: bytes, stream: int) -> Headers | None:
    """Return the headers with which a stream ends in these whole frames; None where it does not.

    Blocks in several frames, padded ones and those with a priority are passed over.
    """
    at = 0
    while at + _HEAD_BYTES <= len(frames):
        begin = at + _HEAD_BYTES
        at = begin + int.from_bytes(frames[at : at + 3], "big")
        kind, flags = frames[begin - 6], frames[begin - 5]
        number = int.from_bytes(frames[begin - 4 : begin], "big")
        if (kind, flags, number) == (_HEADERS, _ENDS_ALL, stream):
            return _read(frames[begin:at])
    return None


def _read(block: bytes) -> Headers | None:
    try:
        found = Decoder().decode(block, raw=True)
    except HPACKError:
        return None
    return tuple((bytes(name), bytes(value)) for name, value in found)
