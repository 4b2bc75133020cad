"""`tollbook stream`: settle usage from Kafka, make its topics, and look at how far it is."""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from tollbook.cli_support import Subparsers, add_command, add_group, emit, print_json, print_text
from tollbook.errors import EXIT_DONE, Invalid

from entrypoints.cli.options import (
    KAFKA,
    add_kafka_options,
    add_ledger_options,
    kafka_of,
    settings_of,
)

PARTITIONS_MAX = 1_000
STUCK_SECONDS_MAX = 86_400
_TALKATIVE = ("aiokafka", "faust", "mode", "streams.resuming")


def register(subparsers: Subparsers) -> None:
    """Add the group to the console script."""
    group = add_group(subparsers, "stream", "Usage on Kafka: settle it, and see how far that is.")
    run = add_command(
        group,
        "run",
        "Settle usage from Kafka, as one worker; more workers share the partitions.",
        work,
        examples=(
            "tollbook stream run --kafka 127.0.0.1:9092 --data ./ledger",
            "tollbook stream run --kafka b1:9092,b2:9092 --database postgresql:///tollbook",
        ),
    )
    run.add_argument(
        "--stuck-seconds",
        type=int,
        default=60,
        metavar="N",
        help="end, to be started again, where records lie for so long (default: 60)",
    )
    make = add_command(
        group,
        "topics",
        "Make the topics of usage and of dead letters.",
        topics,
        examples=("tollbook stream topics --kafka 127.0.0.1:9092 --partitions 8",),
    )
    for name, default, told in (
        ("--partitions", 8, "of the usage topic: so many workers can share it"),
        ("--replication", 1, "copies of each record, on as many brokers"),
        ("--retention-days", 14, "how long Kafka keeps a record"),
    ):
        words = f"{told} (default: {default})"
        make.add_argument(name, type=int, default=default, metavar="N", help=words)
    look = add_command(
        group,
        "status",
        "Show how many records are not settled yet, and how many events not scored.",
        status,
        examples=("tollbook stream status --kafka 127.0.0.1:9092 --data ./ledger --json",),
    )
    for parser, purpose in ((run, "settle from"), (make, "make them on"), (look, "ask")):
        add_kafka_options(parser, f"the brokers to {purpose}")
    for parser in (run, look):
        add_ledger_options(parser)


def work(args: argparse.Namespace) -> int:
    """Settle until told to stop; the start is one line, or one JSON document."""
    import asyncio
    import logging

    import uvloop

    from adapters.kafka.topics import checked_name
    from entrypoints.bootstrap import open_database
    from entrypoints.fraud_process import FraudProcess
    from entrypoints.fraud_watching import scores, security_webhook
    from entrypoints.http.logs import Logging
    from entrypoints.kafka_access import kafka_access
    from entrypoints.ledger_process import LedgerProcess
    from entrypoints.settings import serve_settings_from
    from entrypoints.streaming import run
    from entrypoints.tuning import tune
    from streams.worker import Source

    if not 1 <= args.stuck_seconds <= STUCK_SECONDS_MAX:
        value = args.stuck_seconds
        raise Invalid.because("stuck-seconds", value, f"from 1 to {STUCK_SECONDS_MAX}")
    access = kafka_access()
    source = Source(_address(args), checked_name(args.topic), args.stuck_seconds, access.options)
    scoring, fraud = scores(), None

    def told(document: Mapping[str, object]) -> None:
        if args.json:
            print_json(dict(document))
        else:
            words = f"Settling {source.topic} from {source.address}. Ctrl-C stops it."
            print_text(words, sys.stdout)
        sys.stdout.flush()

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    with ExitStack() as stack:
        stack.enter_context(Logging(serve_settings_from().log_level))
        database = stack.enter_context(open_database(settings_of(args), create=False))
        ledger = LedgerProcess(database)
        stack.callback(ledger.stop)
        tune()  # nobody waits for each answer here
        if scoring or security_webhook() is not None:
            fraud = FraudProcess(database)
            stack.callback(fraud.stop)
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        watched = fraud if scoring else None
        runner.run(run(database, ledger, source, told, access=access, fraud=watched))
    # The ledger is closed; closing the loop would wait for what is left of Faust, for ever maybe.
    os._exit(EXIT_DONE)


def topics(args: argparse.Namespace) -> int:
    """Make the topics that are not there, and say which are new."""
    import asyncio

    from adapters.kafka.topics import checked_name, make_topics
    from entrypoints.kafka_access import kafka_access
    from streams.dead_letters import SUFFIX

    for name in ("partitions", "replication", "retention_days"):
        if not 1 <= getattr(args, name) <= PARTITIONS_MAX:
            value = getattr(args, name)
            raise Invalid.because(name.replace("_", "-"), value, f"from 1 to {PARTITIONS_MAX}")
    topic = checked_name(args.topic)
    wanted = {topic: args.partitions, topic + SUFFIX: 1}
    numbers = args.replication, args.retention_days
    made = asyncio.run(make_topics(_address(args), wanted, *numbers, kafka_access()))
    lines = [f"{name}: {'made' if is_new else 'there already'}" for name, is_new in made.items()]
    emit(args, {"topics": made}, "\n".join(lines))
    return EXIT_DONE


def status(args: argparse.Namespace) -> int:
    """Say how far the ledger is behind the topic."""
    import asyncio

    from entrypoints.bootstrap import open_database
    from entrypoints.kafka_access import kafka_access
    from entrypoints.streaming import standing

    access = kafka_access()
    with open_database(settings_of(args), create=False) as database:
        found = asyncio.run(standing(database, _address(args), args.topic, access))
    emit(args, found, "\n".join(_told(found)))
    return EXIT_DONE


def _told(found: dict[str, Any]) -> Iterator[str]:
    fraud = found["fraud"]
    yield f"{found['behind']:,} records of {found['topic']} are not settled yet."
    yield f"{fraud['behind']:,} events of the ledger are not scored yet."
    if not fraud["scoring"]:
        yield "Nobody scores now."
    if (notices := fraud["notices"]) is not None and notices["tries"]:
        tries, error = notices["tries"], notices["error"]
        yield f"Security has not taken the next notice in {tries} tries: {error}"


def _address(args: argparse.Namespace) -> str:
    address = kafka_of(args)
    if address is None:
        raise Invalid.because("kafka", None, f"HOST:PORT, by --kafka or {KAFKA}")
    return address
