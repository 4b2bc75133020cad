"""`tollbook project`: keep the read models up to date with the ledger, as a process of its own."""

import argparse
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tollbook.cli_support import Subparsers, add_command, emit
from tollbook.errors import EXIT_DONE

from entrypoints.cli.options import add_ledger_options, progress, settings_of

if TYPE_CHECKING:
    from entrypoints.bootstrap import Database


def register(subparsers: Subparsers) -> None:
    """Add the command to the console script."""
    parser = add_command(
        subparsers,
        "project",
        "Keep the views (balances, charges, usage ...) up to date with the ledger.",
        run,
        examples=(
            "tollbook project --data ./ledger",
            "tollbook project --database postgresql:///tollbook --until-caught-up --json",
            "tollbook project --data ./ledger --rebuild --until-caught-up",
        ),
    )
    parser.add_argument(
        "--until-caught-up", action="store_true", help="stop when nothing is left to do"
    )
    parser.add_argument(
        "--rebuild", action="store_true", help="build the views anew, beside the live ones"
    )
    add_ledger_options(parser)


def run(args: argparse.Namespace) -> int:
    """Project until nothing is left or until told to stop; then say where the views stand."""
    from entrypoints.bootstrap import open_database
    from entrypoints.tuning import tune

    tune()
    with open_database(settings_of(args), create=False) as database, _until_told() as stop:
        with progress() as bars:
            _project(args, database, stop, bars.start)
        document = _standing(database)
    emit(args, document, _told(document))
    return EXIT_DONE


def _project(
    args: argparse.Namespace,
    database: "Database",
    stop: threading.Event,
    bar: Callable[[str, int], Callable[[int], None]],
) -> None:
    from entrypoints.projecting import bring_up_to_date, catch_up, follow, rebuild

    standing = _standing(database)
    if args.rebuild:
        rebuild(database, bar("Rebuild", standing["head"]), stop)
    else:
        bring_up_to_date(database, bar("Rebuild", standing["head"]), stop)
    advance = bar("Project", _standing(database)["events_behind"])
    if args.until_caught_up and not stop.is_set():
        catch_up(database, _standing(database)["head"], advance, stop)
    elif not stop.is_set():
        follow(database, stop, advance)


def _standing(database: "Database") -> dict[str, Any]:
    from contextlib import closing

    from adapters.event_store.store import PostgresEventStore
    from projections.checkpoint import lag

    with closing(PostgresEventStore(database.app_url)) as store:
        return lag(store.run)


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and SIGINT set, so that the batch on its way is written."""
    stop = threading.Event()
    kept = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _told(standing: dict[str, Any]) -> str:
    """Say where the views stand, for a person."""
    lines = [f"The views hold everything up to position {standing['position']:,}."]
    if standing["events_behind"]:
        lines.append(f"{standing['events_behind']:,} events are still to come.")
    if standing["parked"]:
        lines.append(
            f"{standing['parked']:,} could not be taken in: see views.parked_events; "
            "--rebuild tries them again."
        )
    return "\n".join(lines)
