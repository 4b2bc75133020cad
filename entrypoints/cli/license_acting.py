"""How the commands about licences act: through the desk, which makes keys and hashes secrets."""

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tollbook.cli_support import read_input
from tollbook.errors import Invalid

from entrypoints.cli.acting import actor, naming_the_id
from entrypoints.cli.options import settings_of

if TYPE_CHECKING:
    from adapters.event_store.store import PostgresEventStore
    from application.license_desk import LicenseDesk
    from application.tollbook import Tollbook
    from entrypoints.bootstrap import Database
    from entrypoints.cli.listing import Views
    from entrypoints.license_documents import LicenseSeen

LISTS = ("features", "gpus")
"""Facts whose value is a list of names."""

KEY_FILE_BYTES = 1_000

ID_HELP = "the command's id (default: a new one, which is shown); the same again has no new effect"


class Licensing(NamedTuple):
    """A ledger with its desk, and a store to read from."""

    tollbook: "Tollbook"
    desk: "LicenseDesk"
    store: "PostgresEventStore"
    database: "Database"


@contextmanager
def licensing(args: argparse.Namespace) -> Iterator[Licensing]:
    """Open the ledger that a command's options name, with the desk of its licences."""
    from adapters.event_store.store import PostgresEventStore
    from entrypoints.bootstrap import license_desk, open_database, tollbook_on

    with (
        open_database(settings_of(args), create=False) as database,
        tollbook_on(database) as tollbook,
        closing(PostgresEventStore(database.app_url)) as store,
    ):
        yield Licensing(tollbook, license_desk(database, store), store, database)


def act(args: argparse.Namespace, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """Let the ledger decide one command about a licence and return its answer."""
    with licensing(args) as ledger, naming_the_id(body["id"]):
        prepared = ledger.desk.prepare(kind, body, ledger.store)
        answer = ledger.tollbook.run(kind, prepared.body, actor=actor())
        added = ledger.desk.complete(prepared, answer, ledger.store)
        return {**answer.result(), **added, "repeated": answer.repeated}


def seen(ledger: Licensing, name: str) -> "LicenseSeen":
    """Return a licence as it stands now; raises NotFound for an unknown one."""
    from application.license_desk import no_license
    from entrypoints.license_documents import license_seen

    found = license_seen(ledger.store, name, ledger.tollbook.now())
    if found is None:
        raise no_license(name)
    return found


def now_of(views: "Views") -> int:
    """Return the ledger's time, from views that hold everything up to it."""
    query = "SELECT greatest(clock_us(), recorded_at) FROM ledger_head"
    return int(views.run(query, ())[0][0])


def add_facts(parser: argparse.ArgumentParser) -> None:
    """Let a command take facts about the request."""
    parser.add_argument(
        "--fact",
        metavar="NAME[:HOW]=VALUE",
        action="append",
        default=[],
        help="something known of the request, and how: declared (as where nothing is said),"
        " observed, signed or attested; lists are separated by commas (may be given several times)",
    )
    parser.add_argument(
        "--component",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a hardware component of the machine, kept as a keyed hash (may be given several"
        " times)",
    )


def facts_of(args: argparse.Namespace, *, hardware: bool = True) -> dict[str, Any]:
    """Return the facts that the options give, under the command's own field; nothing for none."""
    facts: dict[str, Any] = {}
    for text in args.fact:
        name, value = pair("fact", text)
        name, _, how = name.partition(":")
        given: Any = value.split(",") if name in LISTS else value
        facts[name] = {"value": given, "from": how} if how else given
    if hardware and args.component:
        facts["hardware"] = components(args)
    return {"facts": facts} if facts else {}


def components(args: argparse.Namespace) -> dict[str, str]:
    """Return the hardware components that the options give."""
    return dict(pair("component", text) for text in args.component)


def pair(field: str, text: str) -> tuple[str, str]:
    """Take NAME=VALUE apart."""
    name, equals, value = text.partition("=")
    if not equals:
        raise Invalid.because(field, text, "NAME=VALUE")
    return name, value


def key_from(path: str) -> str:
    """Read a licence key from a file: on the command line it would be seen by everybody."""
    try:
        return read_input(path, max_bytes=KEY_FILE_BYTES).decode("ascii").strip()
    except UnicodeDecodeError:
        rule = "a file with a licence key"
        raise Invalid(f"{path} must be {rule}", field="key_file", rule=rule) from None


def overrides_from(path: str | None) -> dict[str, Any]:
    """Read what a licence changes of its template, as JSON, under the command's own field."""
    return {} if path is None else {"overrides": json_from(path, "overrides")}


def json_from(path: str, field: str) -> Any:
    """Read a JSON object from a file."""
    from tollbook import canonical

    found = canonical.loads(read_input(path))
    if type(found) is not dict:
        raise Invalid.because(field, path, "a file with a JSON object")
    return found
