"""Housekeeping: what time and new export lists have made due for licences, booked by commands.

Every decision looks at the clock and at the export list itself, so nothing waits for this; it makes
what has become true an event. The commands' ids say what they are for, so that it does not matter
how many processes do it, or how often. An id that a no has taken, because somebody was faster, is
followed by the next one at the next sweep.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from tollbook.errors import TollbookError, Unavailable, Unknown

from adapters.event_store.store import PostgresEventStore
from application.answers import Answer
from application.jobs import Item
from application.loading import load_export_list, load_license
from application.ports import ConnectionLostError, StoreFailedError
from application.tollbook import Tollbook
from domain.license import License
from domain.license_commands import ExpireLicense, SuspendLicense
from entrypoints.bootstrap import Database
from projections import licenses
from projections.paging import Page

ACTOR = "housekeeping"
EVERY_SECONDS = 60.0
BATCH = 500
SECONDS = 120.0
LEAVE_SECONDS = 2.0
"""So long what is under way is waited for: another sweep does it again, under the same ids."""

NAME_MAX = 118
"""The longest first id of a command: one that follows it has a number more."""

Advance = Callable[[int], None]
Command = ExpireLicense | SuspendLicense

_log = logging.getLogger("tollbook.housekeeping")


class Swept(NamedTuple):
    """The licences whose end was booked, and those that an export list suspended."""

    expired: list[str]
    suspended: list[str]
    export_list: int
    """The version of the list that was looked at."""


def sweep(
    tollbook: Tollbook, store: PostgresEventStore, advance: Advance = lambda _: None
) -> Swept:
    """Book the ends that have come, and suspend whom the export list in force concerns.

    The views say which licences to look at; the log says how they stand.
    """
    now = tollbook.now()
    expired = _send(tollbook, _due(store, now), advance)
    listed = load_export_list(store, store.head().position)
    concerned = _concerned(store, listed.version, sorted(listed.countries))
    return Swept(expired, _send(tollbook, concerned, advance), listed.version)


def _due(store: PostgresEventStore, now: int) -> Iterator[Command]:
    """Yield the commands that book the ends that have come by now, grace included.

    Their ids name the version of the licence: after a booking there is another one, whatever
    brings the licence back to life.
    """

    def page(after: str | None) -> Page:
        return licenses.ended(store.run, at=now, after=after, limit=BATCH)

    for license in _found(store, page):
        if license.status == "active" and license.ends_at() <= now:
            name = _name("expire", license.version, license.id)
            yield ExpireLicense(id=name, license=license.id)


def _concerned(
    store: PostgresEventStore, version: int, countries: Sequence[str]
) -> Iterator[Command]:
    """Yield the commands that suspend licences in countries of a list.

    Their ids name the list: a licence that somebody reinstates stays so until there is another.
    """

    def page(after: str | None) -> Page:
        return licenses.in_countries(store.run, countries, after=after, limit=BATCH)

    for license in _found(store, page) if countries else ():
        if license.status in ("active", "expired") and license.policy.countries is not None:
            name = _name("screen", version, license.id)
            reason = f"export list version {version}"
            yield SuspendLicense(id=name, license=license.id, reason=reason)


def _found(store: PostgresEventStore, page: Callable[[str | None], Page]) -> Iterator[License]:
    after: Any = None
    while True:
        found = page(after)
        position = store.head().position
        for item in found.items:
            license = load_license(store, item["license"], position)
            if license is not None:
                yield license
        after = found.next
        if after is None:
            return


def _name(word: str, number: int, license: str) -> str:
    """Return the id of a command that is the same whoever sends it."""
    name = f"{word}-{number}-{license}"
    digest = hashlib.sha256(license.encode()).hexdigest()[:32]
    return name if len(name) <= NAME_MAX else f"{word}-{number}-{digest}"


def _send(tollbook: Tollbook, commands: Iterator[Command], advance: Advance) -> list[str]:
    """Let the ledger decide the commands; return the licences whose command was done now."""
    done: list[str] = []
    while batch := list(islice(commands, BATCH)):
        wanted, tries = batch, 0
        while wanted:
            named = wanted if not tries else [_named_again(each, tries) for each in wanted]
            answers = tollbook.executor.execute(
                [Item(each, ACTOR) for each in named], timeout=SECONDS
            )
            found = list(zip(wanted, answers, strict=True))
            done += [each.license for each, answer in found if _is_done(answer)]
            wanted, tries = [each for each, answer in found if _is_taken(answer)], tries + 1
        advance(len(batch))
    return done


def _named_again(command: Command, tries: int) -> Command:
    """Return a command under the id that follows so many others: again one for all processes."""
    return replace(command, id=f"{command.id}.{tries}")


def _is_done(answer: Answer) -> bool:
    """Say whether a command was done now; raises what kept it from being decided."""
    if isinstance(answer.error, Unavailable | Unknown):
        raise answer.error
    return answer.done and not answer.repeated


def _is_taken(answer: Answer) -> bool:
    """Say whether an id has been used for nothing: refused before, or of another command.

    A no of this very moment is no reason to ask again at once.
    """
    is_reused = answer.error is not None and answer.error.code == "id_reused"
    return is_reused or (answer.repeated and not answer.done)


class Housekeeping:
    """A thread that sweeps every minute, beside whatever else this process does."""

    def __init__(
        self, tollbook: Tollbook, database: Database, every_seconds: float = EVERY_SECONDS
    ) -> None:
        """Begin at once; `stop` ends it."""
        self._tollbook = tollbook
        self._database = database
        self._every = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after what is under way, or without it when that takes too long."""
        self._stop.set()
        self._thread.join(LEAVE_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with closing(PostgresEventStore(self._database.app_url)) as store:
                    swept = sweep(self._tollbook, store)
                if swept.expired or swept.suspended:
                    _log.info(
                        "booked the end of %d licences, suspended %d",
                        len(swept.expired),
                        len(swept.suspended),
                    )
            except (TollbookError, ConnectionLostError, StoreFailedError) as error:
                _log.warning("housekeeping was put off: %s", error)
            except Exception:  # noqa: BLE001 - whatever it is, the next minute may go better
                _log.exception("housekeeping failed; it tries again")
            self._stop.wait(self._every)
