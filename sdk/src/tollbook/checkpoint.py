"""Checkpoints (C2SP tlog-checkpoint): what a ledger says about all of its history, in three lines.

    origin: the name of the ledger
    size: the number of events, in decimal
    root: the base64 of the Merkle root over them

A checkpoint travels as the text of a signed note (``tollbook.note``). Whoever keeps one can later
ask for proof that the ledger has only grown since.
"""

import re
from dataclasses import dataclass
from typing import Self

from tollbook import strict_base64
from tollbook.errors import Invalid
from tollbook.merkle import EMPTY_ROOT, HASH_BYTES

MAX_SIZE = 2**63 - 1

_SIZE_TEXT = re.compile(r"0|[1-9][0-9]{0,18}")
_FORM = "three lines or more, none empty, each ending in a newline: origin, size, root"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The size and Merkle root of a ledger, under its name."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    """Further lines by others: kept on reading, never written by us."""

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise Invalid.because("origin", self.origin, "one line that is not empty")
        if not 0 <= self.size <= MAX_SIZE:
            raise Invalid.because("size", self.size, "from 0 to 2^63-1")
        if len(self.root) != HASH_BYTES:
            raise Invalid.because("root", self.root, f"{HASH_BYTES} bytes long")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise Invalid.because("root", self.root, "the root of the empty tree, as the size is 0")

    def text(self) -> str:
        """Write the note text of this checkpoint."""
        if self.extensions:
            raise Invalid.because("extensions", len(self.extensions), "none, for none is auditable")
        return f"{self.origin}\n{self.size}\n{strict_base64.encode(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the note text of a checkpoint."""
        lines = text.split("\n")
        # Every line ends in a newline, so there is nothing after the last one.
        if len(lines) < 4 or lines.pop() != "" or "" in lines:
            raise Invalid.because("checkpoint", text, _FORM)
        origin, size, root, *extensions = lines
        if not _SIZE_TEXT.fullmatch(size):
            raise Invalid.because("size", size, "decimal without leading zeros, below 2^63")
        return cls(origin, int(size), strict_base64.decode(root, "root"), tuple(extensions))
