"""`tollbook gateway`: the metering gateway in front of Triton, as a process of its own."""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tollbook.cli_support import Subparsers, add_command, print_json, print_text
from tollbook.errors import EXIT_DONE, Invalid

from entrypoints.cli.options import add_kafka_options, add_ledger_options, kafka_of, settings_of
from entrypoints.tuning import tune_grpc

GRPC_PORT, HTTP_PORT = 8501, 8500
PORT_MAX = 65_535
REDIS = "TOLLBOOK_REDIS"


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
            "tollbook gateway --config gateway.toml --database postgresql:///tollbook --json",
        ),
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="its pools and its meters")
    parser.add_argument(
        "--check", action="store_true", help="compare the meters with the servers' models, and stop"
    )
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
        "--intents",
        metavar="DIR",
        help="where it writes down what it is about to do (default: DIR/gateway of the ledger, or "
        "./tollbook-gateway); its name is added",
    )
    add_kafka_options(parser, "publish usage there, for `tollbook stream run` to settle")
    parser.add_argument(
        "--redis",
        metavar="URL",
        help=f"have it hand out allowances, so that few admissions wait for the ledger; a URL with "
        f"a password belongs in ${REDIS} (default: that)",
    )
    add_ledger_options(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; the start is one line, or one JSON document."""
    tune_grpc()
    from entrypoints.bootstrap import open_database, tollbook_on
    from entrypoints.gateway.assembling import Kafka
    from entrypoints.gateway.config import read_config
    from entrypoints.gateway.server import Ports, check, check_published, serve
    from entrypoints.http.logs import Logging
    from entrypoints.kafka_access import kafka_access
    from entrypoints.settings import serve_settings_from

    ports = Ports(args.host, args.grpc_port, args.http_port, args.monitor_port)
    for name, port in zip(("grpc-port", "http-port", "monitor-port"), ports[1:], strict=True):
        if not 0 <= port <= PORT_MAX:
            raise Invalid.because(name, port, f"from 0 to {PORT_MAX}")
    config = read_config(Path(args.config))
    settings, limits = settings_of(args), serve_settings_from()
    if args.check:
        checked = check(config)
        if any(meter.pipeline is not None for meter in config.model):
            with open_database(settings, create=False) as database:
                check_published(database, config)
        _say(args, {"checked": checked}, f"Every meter fits its model ({checked} checked).")
        return EXIT_DONE
    home = intents_of(args, settings.data) / config.name
    with ExitStack() as stack:
        stack.enter_context(Logging(limits.log_level))
        database = stack.enter_context(open_database(settings, create=False))
        tollbook = stack.enter_context(tollbook_on(database, serving=True))
        address = kafka_of(args)
        kafka = None if address is None else Kafka(address, args.topic, kafka_access())
        redis = args.redis or os.environ.get(REDIS) or None

        def ready(found: dict[str, Any]) -> None:
            _say_ports(args, found)

        serve(database, tollbook, config, home, ports, ready, kafka, redis)
    return EXIT_DONE


def intents_of(args: argparse.Namespace, data: Path | None) -> Path:
    """Return where gateways of a ledger write down what they do, each below its own name."""
    if args.intents is not None:
        return Path(args.intents)
    return Path("tollbook-gateway") if data is None else data / "gateway"


def _say_ports(args: argparse.Namespace, found: dict[str, Any]) -> None:
    lines = [
        f"KServe v2 over gRPC: {found['grpc']}",
        f"KServe v2 over HTTP: {found['http']}",
        f"Health and metrics:  {found['monitor']}",
        "Ctrl-C stops it.",
    ]
    _say(args, found, "\n".join(lines))


def _say(args: argparse.Namespace, document: dict[str, Any], text: str) -> None:
    if args.json:
        print_json(document)
    else:
        print_text(text, sys.stdout)
    sys.stdout.flush()
