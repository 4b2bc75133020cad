"""Handing out places: a slice of N inferences that the ledger holds, shared by several gateways.

A slice is one reservation for N inferences of one question. What hands its places out is no
second ledger: it may forget everything at any time, and then hands out nothing. It never hands
out more than N places of a slice, and says when everything that was drawn has been told.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

INFERENCES_MAX = 1_000_000
"""A slice has no more places."""
TERMS_BYTES_MAX = 65_536
"""Terms are no longer, in UTF-8."""

Why = Literal["none", "spent", "ending", "closed", "abandoned"]
"""`none`: there is no slice; `spent`: no place is left; `ending`: it is not drawn from any more;
`closed`: somebody closed it; `abandoned`: what hands it out may have gone back in time."""


class Slice(NamedTuple):
    """What is handed out."""

    reservation: str
    """The reservation that pays; a slice has no other name, and is published once."""
    inferences: int
    """How many places it has."""
    draw_until: int
    """From here on nothing is drawn, in the ledger's microseconds."""
    terms: str
    """What whoever draws has to know; only gateways read it."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Places that were drawn: whoever gets them may use each once."""

    reservation: str
    count: int
    """At least one, at most as many as were asked for."""
    left: int
    """How many more there were at that moment."""


class NoDraw(NamedTuple):
    """Why no place was drawn."""

    why: Why


class Allowances(Protocol):
    """What one gateway does with the slices of one ledger.

    A gateway is one process: one that takes the name of another could not know what that drew.
    Instants are the caller's idea of the ledger's time, in microseconds. Where the answer of a
    call is lost, it may have taken effect; each may be made again, but for `publish`.
    """

    async def publish(self, key: str, new: Slice, now: int) -> None:
        """Make a slice the current one of a question's digest, and close the one before.

        Its reservation is published once, whatever comes of it: where the answer is lost it
        may be drawn from, and is released like any other, when `is_tallied` says so.
        """

    async def draw(self, key: str, count: int, now: int) -> Drawn | NoDraw:
        """Draw places of the current slice; where the answer is lost, they are wasted."""

    async def terms(self, reservation: str) -> str | None:
        """Return the terms of a slice, as long as they are known."""

    async def close_slice(self, reservation: str) -> None:
        """End drawing from a slice, for every gateway and for ever."""

    async def tally(self, reservation: str) -> bool:
        """Note that the ledger knows what became of everything that this gateway drew.

        It is noted of closed slices alone: of an open one there could be more.
        Unless the answer is no, it may have been noted: places that are not used yet are void.
        """

    async def is_tallied(self, reservation: str) -> bool:
        """Say whether every gateway that drew from a closed slice has tallied it.

        It is never true of a slice that may have been forgotten, even in part.
        """

    async def forget(self, reservation: str) -> None:
        """Drop all that is known of a slice, which nobody asks about any more."""

    async def close(self) -> None:
        """Let go of what reaches it; slices stay."""


def checked(new: Slice) -> Slice:
    """Return a slice that can be published, or raise ValueError."""
    if not 1 <= new.inferences <= INFERENCES_MAX:
        raise ValueError(f"a slice has 1 to {INFERENCES_MAX} places, not {new.inferences}")
    if len(new.terms.encode()) > TERMS_BYTES_MAX:
        raise ValueError(f"the terms of a slice are at most {TERMS_BYTES_MAX} bytes")
    return new
