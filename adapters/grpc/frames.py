"""The frames of HTTP/2, told apart by their lengths, so that none is looked at by halves.

ngh2 forgets the half of a frame that had come when its stream ends: the peer would never get the
room of these bytes back, and some hundred such streams later it could send nothing at all.
"""

from struct import Struct

PREFACE_BYTES = 24
"""What a client says before its first frame."""
_HEAD_BYTES = 9
_LENGTH_AND_KIND = Struct(">I").unpack_from
"""Three bytes of length; the fourth is another number."""
_FRAME_BYTES_MAX = _HEAD_BYTES + 16_384


class Frames:
    """Keeps the beginning of a frame until the rest has come."""

    __slots__ = ("_preface", "_rest")

    def __init__(self, preface: int) -> None:
        """Expect as many bytes before the first frame."""
        self._preface = preface
        self._rest = b""

    def whole(self, data: bytes) -> bytes:
        """Return what is whole with what came now; of the preface, all that is there."""
        if self._rest:
            data = self._rest + data
        end = min(self._preface, len(data))
        self._preface -= end
        there = len(data)
        while there - end >= _HEAD_BYTES:
            size = _HEAD_BYTES + (_LENGTH_AND_KIND(data, end)[0] >> 8)
            if size > _FRAME_BYTES_MAX:
                end = there  # none may be so large: nothing behind it matters any more
            elif size > there - end:
                break
            else:
                end += size
        if end == there:
            self._rest = b""
            return data
        self._rest = data[end:]
        return data[:end]
