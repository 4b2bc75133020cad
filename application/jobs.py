"""Jobs: commands waiting for their decision, with who sent them and who waits for the answers."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from tollbook.errors import Conflict, Invalid, TollbookError, Unavailable

from application.answers import Answer
from application.ports import FencedError, Rider, StoreFailedError
from domain.command import Command
from domain.values import check_key_text

logger = logging.getLogger("tollbook.executor")

COMMANDS_MAX = 2_000
"""The most commands one job may carry, one on a whole pipeline counting as twice all that it may
stand for: deciding them should take less than the 250 ms by which a decision's time may differ from
the database's clock (see application/splitting.py)."""

Ways = Sequence[Command]
"""Commands of which the first is wanted that the ledger keeps a trace of."""

Done = tuple[Command, str]
"""A command that may have been done before, and the scope of its key."""


class Item:
    """One command of a job."""

    __slots__ = (
        "actor",
        "answer",
        "at",
        "causation",
        "command",
        "correlation",
        "otherwise",
        "problem",
        "unless",
    )

    def __init__(
        self,
        command: Command,
        actor: str = "system",
        correlation: str | None = None,
        causation: str | None = None,
        at: int | None = None,
        otherwise: Callable[[TollbookError], Sequence[Ways]] | None = None,
        unless: Done | None = None,
    ) -> None:
        """Take a command; `at` sets the time of a ledger that follows a recorded trace.

        Where the ledger does not do the command, it decides what `otherwise` returns in its place:
        each in the first of its ways that leaves a trace. What `unless` names answers for the item
        where it was done before; nothing is decided then.
        An actor, correlation or causation that is no text of 1 to 512 bytes is answered as
        `invalid`, for this command alone.
        """
        self.problem = _problem_of(actor, correlation, causation)
        self.command = command
        self.actor = actor
        self.correlation = correlation
        self.causation = causation
        self.at = at
        self.otherwise = otherwise
        self.unless = unless
        self.answer: Answer | None = None

    def instead(self, command: Command) -> "Item":
        """Return the same with another command."""
        return Item(command, self.actor, self.correlation, self.causation, self.at)


def _problem_of(actor: str, correlation: str | None, causation: str | None) -> Invalid | None:
    """Return what is wrong with the texts of an envelope, if anything is."""
    try:
        check_key_text("actor", actor)
        if correlation is not None:
            check_key_text("correlation", correlation)
        if causation is not None:
            check_key_text("causation", causation)
    except Invalid as problem:
        return problem.kept()
    return None


class Job:
    """Commands that are decided one after another, in one transaction unless that takes too long.

    `atomic` makes them all-or-nothing; `riders` move stream offsets with them. `on_done` is
    called in the executor's thread, so it must be quick and must not raise.
    """

    __slots__ = ("_ready", "atomic", "deadline", "items", "on_done", "riders", "size")

    def __init__(
        self,
        items: Sequence[Item],
        *,
        atomic: bool = False,
        riders: Sequence[Rider] = (),
        deadline: float | None = None,
        on_done: Callable[["Job"], None] | None = None,
    ) -> None:
        """Group items; `deadline` is on the executor's monotonic clock, in seconds."""
        self.items = items
        self.size = sum([item.command.WEIGHT for item in items])
        self.atomic = atomic
        self.riders = riders
        self.deadline = deadline
        self.on_done = on_done
        self._ready: threading.Event | None = None

    @property
    def is_divisible(self) -> bool:
        """Say whether its items may be decided in several transactions."""
        return not self.atomic and not self.riders and len(self.items) > 1

    def parts(self, most: int) -> "list[Job]":
        """Return jobs of so many of its items at most, in their order."""
        starts = range(0, len(self.items), most)
        return [Job(self.items[at : at + most], deadline=self.deadline) for at in starts]

    def fail(self, error: TollbookError) -> None:
        """Answer every item with the same error."""
        for item in self.items:
            item.answer = Answer(item.command.id, None, error=error)
        self.finish()

    def expect_wait(self) -> None:
        """Prepare for `wait`; a job that is finished before it is queued needs none of this."""
        self._ready = threading.Event()

    def finish(self) -> None:
        """Tell whoever waits that every item has its answer."""
        try:
            if self.on_done is not None:
                self.on_done(self)
        except Exception:
            logger.exception("whoever waited for a job failed to take its answers")
        finally:
            if self._ready is not None:
                self._ready.set()

    def wait(self, timeout: float | None) -> bool:
        """Wait until the job is finished; False when the time ran out first."""
        return self._ready is None or self._ready.wait(timeout)

    def answers(self) -> list[Answer]:
        """Return the answers, one per item and in their order."""
        return [item.answer for item in self.items if item.answer is not None]


def too_late() -> Unavailable:
    """Return the error of a job that nobody has decided by its deadline."""
    return Unavailable(
        "the deadline passed before the decision: nothing was done", code="overloaded"
    )


def failure_of(error: Exception) -> TollbookError:
    """Return what whoever waits for a job is told when that alone stopped it."""
    if isinstance(error, FencedError):
        return Conflict("the stream's offset has moved: this worker is fenced", code="fenced")
    if isinstance(error, StoreFailedError):
        return Unavailable(f"nothing was written: {error}")
    if isinstance(error, TollbookError):
        return error.kept()
    return Unavailable(f"internal error: {type(error).__name__}")


def without_frames(error: Exception) -> Exception:
    """Return an error without the frames that it came through: they hold the batch, and it too."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)


def in_time(jobs: Iterable[Job], now: float) -> list[Job]:
    """Tell jobs whose deadline has passed, and return the others."""
    live = []
    for job in jobs:
        if job.deadline is not None and now > job.deadline:
            job.fail(too_late())
        else:
            live.append(job)
    return live
