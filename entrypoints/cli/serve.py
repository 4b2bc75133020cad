"""`tollbook serve`: the HTTP API, the projector and housekeeping in one process."""

import argparse
import ipaddress
import os
import sys
from contextlib import ExitStack, closing, nullcontext
from typing import TYPE_CHECKING, Any

from tollbook.cli_support import Subparsers, add_command, print_json, print_text
from tollbook.errors import EXIT_DONE, Invalid

from entrypoints.cli.options import add_ledger_options, warn_of_password

if TYPE_CHECKING:
    from entrypoints.settings import Settings

DATA_DEFAULT = "tollbook-data"
PORT_DEFAULT = 8400


def register(subparsers: Subparsers) -> None:
    """Add the command to the console script."""
    parser = add_command(
        subparsers,
        "serve",
        "Serve the HTTP API, with the projector beside it in the same process.",
        run,
        examples=(
            "tollbook serve",
            "tollbook serve --data ./ledger --port 0 --json",
            "tollbook serve --database postgresql:///tollbook --no-projector",
        ),
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="where to listen (default: this machine alone)"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=PORT_DEFAULT,
        help=f"where to listen; 0 takes a free one and says which (default: {PORT_DEFAULT})",
    )
    parser.add_argument(
        "--no-projector", action="store_true", help="leave the views to `tollbook project`"
    )
    add_ledger_options(parser)
    parser.epilog = (
        f"{parser.epilog}\n\nWithout --data, --database and their variables the ledger is in "
        f"./{DATA_DEFAULT}."
    )


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; the start is one line, or one JSON document."""
    from adapters.api_keys import ApiKeys
    from adapters.event_store.store import PostgresEventStore
    from entrypoints.bootstrap import open_database, tollbook_on
    from entrypoints.fraud_watching import Notifying, Scoring, scores, security_webhook
    from entrypoints.housekeeping import Housekeeping
    from entrypoints.http.logs import Logging
    from entrypoints.http.server import Parts, listen, url_of
    from entrypoints.http.server import run as run_server
    from entrypoints.projecting import Following
    from entrypoints.settings import serve_settings_from

    if not 0 <= args.port <= 65_535:
        raise Invalid.because("port", args.port, "from 0 to 65535")
    limits = serve_settings_from()
    webhook, scoring = security_webhook(), scores()
    with ExitStack() as stack:
        stack.enter_context(Logging(limits.log_level))
        settings = _settings(args)
        listening = stack.enter_context(closing(listen(args.host, args.port)))
        database = stack.enter_context(open_database(settings))
        store = stack.enter_context(closing(PostgresEventStore(database.app_url)))
        keys = ApiKeys(store.run, database.master_key)
        tollbook = stack.enter_context(tollbook_on(database, serving=True))
        stack.callback(Housekeeping(tollbook, database).stop)
        if scoring:
            stack.callback(Scoring(database, lambda: nullcontext(tollbook)).stop)
        if webhook is not None:
            stack.callback(Notifying(database, webhook).stop)
        following = None
        if not args.no_projector:
            following = Following(database)
            stack.callback(following.stop)
        parts = Parts(
            database=database,
            tollbook=tollbook,
            keys=keys,
            settings=limits,
            projector_lives=None if following is None else following.is_alive,
        )
        first_key = keys.make_first_admin()
        url = url_of(listening)
        run_server(parts, listening, lambda: _say(args, settings, url, first_key))
    return EXIT_DONE


def _settings(args: argparse.Namespace) -> "Settings":
    """Return the ledger that is meant; without any word about it, a folder here."""
    from entrypoints.settings import settings_from

    warn_of_password(args)
    named = ("TOLLBOOK_DATABASE", "TOLLBOOK_DATABASE_FILE", "TOLLBOOK_DATA")
    data = args.data
    if data is None and args.database is None and not any(map(os.environ.get, named)):
        data = DATA_DEFAULT
    return settings_from(data, args.database)


def _say(args: argparse.Namespace, settings: "Settings", url: str, key: str | None) -> None:
    """Say where the server listens, and show the first admin key, this once."""
    if not _is_loopback(args.host):
        print(
            f"tollbook: {args.host} can be reached from elsewhere, and keys travel as they are: "
            "put a proxy with TLS in front",
            file=sys.stderr,
        )
    document: dict[str, Any] = {"url": url, "openapi": f"{url}/openapi.json"}
    if settings.data is not None:
        document["data"] = str(settings.data)
    if key is not None:
        document["admin_key"] = key
    if args.json:
        print_json(document)
    else:
        print_text(_told(document), sys.stdout)
    sys.stdout.flush()


def _told(document: dict[str, Any]) -> str:
    lines = [f"Tollbook listens on {document['url']} (Ctrl-C stops it)."]
    if "data" in document:
        lines.append(f"The ledger is in {document['data']}.")
    if "admin_key" in document:
        lines += [
            "The first admin key, shown this once; only a keyed hash of it is kept:",
            f"  {document['admin_key']}",
        ]
    return "\n".join(lines)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
