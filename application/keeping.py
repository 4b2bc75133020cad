"""Keeping: what is recorded in place of a command that the ledger does not do."""

from collections.abc import Callable

from tollbook.errors import Unavailable

from application.answers import Answer
from application.jobs import Item, Ways
from domain.command import Command

Known = Callable[[Command, str], Answer | None]
"""Returns the answer that a command's key has already, given the scope of that key."""


class UnkeptError(Unavailable):
    """An item can neither be done nor kept: its job fails, and no other."""


def kept(item: Item, decided: Callable[[Item], Answer], known: Known) -> Answer:
    """Decide an item, or what it says otherwise; raises UnkeptError where none leaves a trace."""
    done = None if item.unless is None else known(*item.unless)
    if done is not None and done.done:
        return done
    answer = decided(item)
    error = answer.problem()
    if item.otherwise is None or error is None or isinstance(error, Unavailable):
        if item.otherwise is not None and answer.recorded is None:
            raise UnkeptError(f"{item.command.id} can neither be done nor kept: {error}")
        return answer
    for ways in item.otherwise(error):
        answer = _first(item, ways, decided)
    return answer


def _first(item: Item, ways: Ways, decided: Callable[[Item], Answer]) -> Answer:
    """Decide one way after another, each only where another has the id of the one before."""
    error = None
    for command in ways:
        answer = decided(item.instead(command))
        if answer.recorded is not None:
            return answer
        error = answer.error
        if error is None or error.code != "id_reused":
            break
    raise UnkeptError(f"{item.command.id} can neither be done nor kept: {error}")
