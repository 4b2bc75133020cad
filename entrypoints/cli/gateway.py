"""`tollbook gateway`: the metering gateway in front of Triton, as a process of its own."""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tollbook.cli_support import Subparsers, add_command, print_json, print_text
from tollbook.errors import EXIT_DONE, Invalid
from tollbook.variables import unread

from entrypoints.cli.options import (
    add_kafka_options,
    add_ledger_options,
    kafka_of,
    logger,
    settings_of,
)

if TYPE_CHECKING:
    from entrypoints.bootstrap import Database
    from entrypoints.gateway.assembling import Kafka
    from entrypoints.gateway.config import GatewayConfig
    from entrypoints.settings import Settings

GRPC_PORT, HTTP_PORT = 8501, 8500
MEMBER = "--member"
"""Says to a process that others of its crew listen on its ports."""
PORT_MAX = 65_535
REDIS, DATABASE = "TOLLBOOK_REDIS", "TOLLBOOK_DATABASE"


def register(subparsers: Subparsers) -> None:
    """Add the command to the console script."""
    parser = add_command(
        subparsers,
        "gateway",
        "Meter, license and charge the inferences of a Triton server, standing in front of it.",
        run,
        examples=(
            "tollbook gateway --config gateway.toml --data ./ledger",
            "tollbook gateway --config gateway.toml --check --data ./ledger",
            "tollbook gateway --config gateway.toml --data ./ledger --processes 4",
            "tollbook gateway --config gateway.toml --database postgresql:///tollbook --json",
        ),
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="its pools and its meters")
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare the meters with the servers' models and the ledger's prices, ask Kafka if it "
        "is given, and stop",
    )
    _add_listening_options(parser)
    parser.add_argument(
        "--intents",
        metavar="DIR",
        help="where it writes down what it is about to do (default: DIR/gateway of the ledger, or "
        "./tollbook-gateway); its name is added",
    )
    add_kafka_options(parser, "publish usage there, for `tollbook stream run` to settle")
    parser.add_argument(
        "--redis",
        metavar="URL",
        help=f"have it hand out allowances to all gateways, so that few admissions wait for the "
        f"ledger; a URL with a password belongs in ${REDIS} (default: that, or none: see "
        f"`in_process` in docs/gateway.md)",
    )
    add_ledger_options(parser)


def _add_listening_options(parser: argparse.ArgumentParser) -> None:
    """Let the command say where it listens, and by how many processes."""
    parser.add_argument(
        "--host", default="127.0.0.1", help="where to listen (default: this machine alone)"
    )
    for name, port, what in (
        ("--grpc-port", GRPC_PORT, "gRPC"),
        ("--http-port", HTTP_PORT, "HTTP"),
        ("--monitor-port", 0, "health and metrics"),
    ):
        told = f"where to listen for {what}; 0 takes a free one (default: {port})"
        parser.add_argument(name, type=int, default=port, metavar="PORT", help=told)
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="so many serve on the same two ports, each on a core; each has a port of its own for "
        "health and metrics, one after another from --monitor-port on (default: 1)",
    )
    parser.add_argument(MEMBER, action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; the start is one line, or one JSON document."""
    from entrypoints.bootstrap import open_database
    from entrypoints.gateway.config import read_config
    from entrypoints.http.logs import Logging
    from entrypoints.settings import serve_settings_from

    _check_numbers(args)
    config = read_config(Path(args.config))
    limits, kafka = serve_settings_from(), _kafka(args)
    if args.check:
        checked = _checked(config, _settings(args), kafka)
        _say(args, {"checked": checked}, f"Every meter fits its model ({checked} checked).")
        return EXIT_DONE
    with ExitStack() as stack:
        stack.enter_context(Logging(limits.log_level))
        settings = _settings(args)
        database = stack.enter_context(open_database(settings, create=False))
        if args.processes > 1:
            return _run_crew(args, stack)
        home = intents_of(args, settings.data) / config.name
        _serve(args, config, home, database, kafka, stack)
    return EXIT_DONE


def _settings(args: argparse.Namespace) -> "Settings":
    """Return the ledger that is meant; say that a password in the address of Redis can be read."""
    if args.redis:
        from adapters.redis.client import holds_password  # slow to import, and most need none

        if holds_password(args.redis):
            logger.warning(
                "--redis holds a password, and every user of this machine may read the options of "
                "a command: put the address into %s",
                REDIS,
            )
    return settings_of(args)


def _kafka(args: argparse.Namespace) -> "Kafka | None":
    """Return the Kafka that is to be published to, if one is named; raises Invalid."""
    from entrypoints.gateway.assembling import Kafka
    from entrypoints.kafka_access import kafka_access

    address = kafka_of(args)
    return None if address is None else Kafka(address, args.topic, kafka_access())


def _checked(config: "GatewayConfig", settings: "Settings", kafka: "Kafka | None") -> int:
    """Compare a file with the servers and the ledger; return how many models fit."""
    from entrypoints.bootstrap import open_database
    from entrypoints.gateway.checking import check_http
    from entrypoints.gateway.pricing import check_prices
    from entrypoints.gateway.server import check, check_published

    checked = check(config)
    asyncio.run(check_http(config))
    if kafka is not None:
        from adapters.kafka.topics import partitions  # slow to import, and most need none

        asyncio.run(partitions(*kafka))
    with open_database(settings, create=False) as database:
        check_published(database, config)
        check_prices(database, config.model)
    return checked


def _check_numbers(args: argparse.Namespace) -> None:
    """Raise Invalid for a number that an option cannot be."""
    from entrypoints.gateway.crew import PROCESSES_MAX

    if not 1 <= args.processes <= PROCESSES_MAX:
        raise Invalid.because("processes", args.processes, f"from 1 to {PROCESSES_MAX}")
    last = PORT_MAX - (args.processes - 1)
    for name, port, most in (
        ("grpc-port", args.grpc_port, PORT_MAX),
        ("http-port", args.http_port, PORT_MAX),
        ("monitor-port", args.monitor_port, last),
    ):
        if not 0 <= port <= most:
            raise Invalid.because(name, port, f"from 0 to {most}")


def _serve(
    args: argparse.Namespace,
    config: "GatewayConfig",
    home: Path,
    database: "Database",
    kafka: "Kafka | None",
    stack: ExitStack,
) -> None:
    """Serve as one process."""
    from entrypoints.bootstrap import tollbook_on
    from entrypoints.gateway.server import Ports, serve

    ports = Ports(args.host, args.grpc_port, args.http_port, args.monitor_port, args.member)
    tollbook = stack.enter_context(tollbook_on(database, serving=True))
    redis = args.redis or os.environ.get(REDIS) or None

    def ready(found: dict[str, Any]) -> None:
        _say_ports(args, found)

    serve(database, tollbook, config, home, ports, ready, kafka, redis)


def _run_crew(args: argparse.Namespace, stack: ExitStack) -> int:
    """Keep the processes of a gateway, each a gateway of one process with ports of its own."""
    from entrypoints.gateway import crew
    from entrypoints.gateway.server import LEAVE_SECONDS

    ports = {
        name: stack.enter_context(crew.reserved(args.host, port))
        for name, port in (("grpc-port", args.grpc_port), ("http-port", args.http_port))
    }

    def command(monitor: int) -> list[str]:
        own = options_of_member(args, {**ports, "monitor-port": monitor})
        return [sys.executable, "-P", "-m", "tollbook", "gateway", *own]

    orders = crew.Orders(command, LEAVE_SECONDS, environment_of_member(args))
    first = args.monitor_port
    monitors = [first and first + number for number in range(args.processes)]
    return crew.run(orders, monitors, lambda found: _say_ports(args, found))


def options_of_member(args: argparse.Namespace, ports: Mapping[str, int]) -> list[str]:
    """Return what a process of a crew is told in its options, which every user may read."""
    names = ("config", "host", "intents", "kafka", "topic", "data")
    given = {**{name: getattr(args, name) for name in names}, **ports}
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return [*options, *(["--json"] if args.json else []), MEMBER]


def environment_of_member(
    args: argparse.Namespace, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment of a process of a crew: addresses may hold passwords."""
    given = {DATABASE: args.database, REDIS: args.redis}
    told = unread(environment)  # once is enough, whatever the number of processes
    kept = {name: value for name, value in environment.items() if name not in told}
    return {**kept, **{name: value for name, value in given.items() if value}}


def intents_of(args: argparse.Namespace, data: Path | None) -> Path:
    """Return where gateways of a ledger write down what they do, each below its own name."""
    if args.intents is not None:
        return Path(args.intents)
    return Path("tollbook-gateway") if data is None else data / "gateway"


def _say_ports(args: argparse.Namespace, found: dict[str, Any]) -> None:
    lines = [
        f"KServe v2 over gRPC: {found['grpc']}",
        f"KServe v2 over HTTP: {found['http']}",
        f"Health and metrics:  {', '.join(found.get('monitors', [found['monitor']]))}",
        "Ctrl-C stops it.",
    ]
    _say(args, found, "\n".join(lines))


def _say(args: argparse.Namespace, document: dict[str, Any], text: str) -> None:
    if args.json or args.member:
        print_json(document)
    else:
        print_text(text, sys.stdout)
    sys.stdout.flush()
