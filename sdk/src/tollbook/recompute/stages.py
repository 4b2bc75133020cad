"""What binds the stages of a customer's runs through pipelines, and how the last ones ended."""

from collections.abc import Container
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """What ended a stage's reservation: the command, and the event with its payload."""

    command: str
    name: str
    data: dict[str, Any]


def stage_id(whole: str, stage: str) -> str:
    """Return the id of a stage's reservation, or of the command on it."""
    return f"{whole}.{stage}"


class Runs:
    """The runs of which a stage has no outcome yet, and those that ended at one instant."""

    __slots__ = ("_at", "ended", "held", "outcomes")

    def __init__(self) -> None:
        """Start without any."""
        self.held: dict[str, dict[str, Any]] = {}
        """By id, in the form of docs/formats/state.md without the customer."""
        self.ended: dict[str, dict[str, Any]] = {}
        self.outcomes: dict[str, Outcome] = {}
        """By the stage's reservation; of one instant alone, so that memory stays bounded."""
        self._at = 0

    def end(self, reservation: str, outcome: Outcome, at: int, still: Container[str]) -> None:
        """Take the outcome of a reservation, which may be a stage; `still` are those left open."""
        if at != self._at:
            self._at = at
            self.ended.clear()
            self.outcomes.clear()
        whole = reservation.rpartition(".")[0]
        run = self.held.get(whole)
        if run is None:
            return
        self.outcomes[reservation] = outcome
        if not any(stage_id(whole, stage) in still for stage in run["stages"]):
            self.ended[whole] = self.held.pop(whole)
