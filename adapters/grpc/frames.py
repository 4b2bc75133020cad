"""The frames of HTTP/2, told apart by their lengths, so that none is looked at by halves.

ngh2 forgets the half of a frame that had come when its stream ends: the peer would never get the
room of these bytes back, and some hundred such streams later it could send nothing at all.
"""

PREFACE_BYTES = 24
"""What a client says before its first frame."""
_HEAD_BYTES = 9
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
        while len(data) - end >= _HEAD_BYTES:
            size = _HEAD_BYTES + int.from_bytes(data[end : end + 3], "big")
            if size > _FRAME_BYTES_MAX:
                end = len(data)  # none may be so large: nothing behind it matters any more
            elif size > len(data) - end:
                break
            else:
                end += size
        self._rest = data[end:]
        return data[:end]
