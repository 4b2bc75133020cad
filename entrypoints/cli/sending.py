"""Many commands from one file or list, in batches: what became of each, and of all.

Batches that are committed stay committed when a later one fails; sending the same again is
harmless, because the ledger knows every record that it has seen.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from tollbook.errors import EXIT_DONE, EXIT_REFUSED, Invalid, TollbookError, Unavailable, Unknown

from application.answers import Answer
from application.jobs import Item
from application.usage_intake import usage_command, usage_result
from domain.command import Command
from domain.commands import ChargeUsage
from entrypoints.cli.acting import actor
from entrypoints.cli.records import Entry

if TYPE_CHECKING:
    from application.tollbook import Tollbook

BATCH = 500
SECONDS = 120.0

Result = dict[str, Any]


class Tally:
    """What became of each record: how many of each status, and the results worth showing."""

    def __init__(self, statuses: Sequence[str], *, every: bool) -> None:
        """Count these statuses; keep every result, or those that need somebody's attention."""
        self.counts = dict.fromkeys(statuses, 0)
        self.results: list[Result] = []
        self.charged: dict[str, int] = {}
        self._every = every

    def add(self, result: Result, *, quiet: bool) -> None:
        """Count a result; a quiet one is kept only if every one is."""
        self.counts[result["status"]] += 1
        if self._every or not quiet:
            self.results.append(result)

    def document(self) -> dict[str, Any]:
        """Return the counts and the results kept."""
        return {**self.counts, "records": sum(self.counts.values()), "results": self.results}

    def exit_code(self) -> int:
        """Return 3 when a record was refused; parked ones are kept, so nothing is lost."""
        return EXIT_REFUSED if self.counts["refused"] else EXIT_DONE


class Prepared(NamedTuple):
    """One record on its way: the command it makes, or why it makes none."""

    entry: Entry
    command: Command | None
    problem: TollbookError | None


def prepare(entry: Entry, make: Callable[[ChargeUsage], Command]) -> Prepared:
    """Read an entry's event and make its command."""
    if entry.problem is not None:
        return Prepared(entry, None, entry.problem)
    try:
        return Prepared(entry, make(usage_command(entry.event)), None)
    except Invalid as error:
        return Prepared(entry, None, error)


def send_records(
    tollbook: "Tollbook",
    found: Iterable[Entry],
    tally: Tally,
    advance: Callable[[int], None],
    make: Callable[[ChargeUsage], Command] = lambda command: command,
) -> None:
    """Send every entry and count what became of it."""
    waiting = iter(found)
    while batch := [prepare(entry, make) for entry in islice(waiting, BATCH)]:
        commands = [each.command for each in batch if each.command is not None]
        answers = iter(decide(tollbook, commands, sum(tally.counts.values())))
        for each in batch:
            result = _result(each, next(answers) if each.command is not None else None)
            tally.add(result, quiet=result["status"] in ("accepted", "duplicate"))
        advance(sum(each.entry.size for each in batch))


def decide(tollbook: "Tollbook", commands: Sequence[Command], before: int) -> list[Answer]:
    """Let the ledger decide commands together; raises when it cannot decide one."""
    try:
        items = [Item(command, actor()) for command in commands]
        answers = tollbook.executor.execute(items, timeout=SECONDS)
        for answer in answers:
            if isinstance(answer.error, Unavailable | Unknown):
                raise answer.error
    except TollbookError as error:
        error.message += (
            f" ({before:,} records were answered before; sending all again is harmless)"
        )
        error.facts.setdefault("answered", before)
        raise
    return answers


def _result(prepared: Prepared, answer: Answer | None) -> Result:
    """Return what became of a record, and where in the file it stands."""
    place = dict([prepared.entry.place])
    if answer is None or prepared.command is None:
        event, problem = prepared.entry.event, prepared.problem
        known = event if isinstance(event, dict) else {}
        names = {key: known.get(key) for key in ("id", "source")}
        shown = None if problem is None else problem.problem()
        return {**place, **names, "status": "refused", "problem": shown}
    return {**place, **usage_result(answer, getattr(prepared.command, "source", None))}
