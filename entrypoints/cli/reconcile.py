"""`tollbook reconcile`: what was charged, against what others have counted of it."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tollbook.cli_support import Subparsers, add_command, add_group, emit
from tollbook.errors import EXIT_DIFFERENCES, EXIT_DONE, Invalid
from tollbook.times import format_instant, parse_instant

from entrypoints.cli.gateway import intents_of
from entrypoints.cli.options import add_ledger_options, progress, settings_of

if TYPE_CHECKING:
    from domain.reconciliation import Ended, Sold
    from domain.server_counters import Sample
    from entrypoints.gateway.config import GatewayConfig


def register(subparsers: Subparsers) -> None:
    """Add the commands to the console script."""
    group = add_group(subparsers, "reconcile", "Compare what was charged with what others count.")
    triton = add_command(
        group,
        "triton",
        "Compare a gateway's charges with its servers' own counters; exit 1 on a gap that nothing "
        "explains.",
        reconcile_triton,
        examples=(
            "tollbook reconcile triton --config gateway.toml --data ./ledger",
            "tollbook reconcile triton --config g.toml --from 2026-01-01T00:00:00Z --data ./ledger",
        ),
    )
    for name, where in (("from", "begin"), ("to", "end")):
        triton.add_argument(
            f"--{name}",
            metavar="TIME",
            dest=f"{name}_time",
            help=f"{where} at the sample nearest to this (default: the "
            f"{'first' if name == 'from' else 'last'} there is)",
        )
    triton.add_argument(
        "--gateway",
        action="append",
        default=[],
        metavar="NAME",
        help="another gateway on this ledger and before the same servers (may be given several "
        "times)",
    )
    sampling = add_command(
        group,
        "sample",
        "Write down now what a gateway's servers have counted, as the gateway does by itself.",
        sample,
        examples=("tollbook reconcile sample --config gateway.toml --data ./ledger",),
    )
    for parser in (triton, sampling):
        parser.add_argument("--config", required=True, metavar="FILE", help="the gateway's own")
        parser.add_argument(
            "--intents",
            metavar="DIR",
            help="where the gateway writes down what it does, if it was told (its --intents)",
        )
        add_ledger_options(parser)


def sample(args: argparse.Namespace) -> int:
    """Take one sample and say what is in it."""
    import asyncio

    from entrypoints.bootstrap import open_database
    from entrypoints.gateway.config import read_config
    from entrypoints.gateway.sampling import sampler_on

    config = read_config(Path(args.config))
    settings = settings_of(args)
    home = intents_of(args, settings.data) / config.name

    with open_database(settings, create=False) as database:

        async def taking() -> "Sample":
            async with sampler_on(database, config, home) as sampler:
                return await sampler.take()

        taken = asyncio.run(taking())
    servers = sorted(taken.servers)
    document = {"at": format_instant(taken.at), "position": taken.after, "servers": servers}
    text = f"{document['at']}: {', '.join(servers)}, at position {taken.after:,}."
    emit(args, document, text)
    return EXIT_DONE


def reconcile_triton(args: argparse.Namespace) -> int:
    """Compare every model; exit 1 when a gap is unexplained."""
    from adapters import sample_log
    from domain.reconciliation import reconciled
    from domain.server_counters import counted
    from entrypoints.cli.listing import up_to_date
    from entrypoints.cli.reconcile_tables import document_of, reconciliation_text
    from entrypoints.gateway.config import read_config
    from entrypoints.gateway.sampling import counters_of
    from projections.inferences import ended

    config = read_config(Path(args.config))
    intents = intents_of(args, settings_of(args).data)
    folder = counters_of(intents / config.name)
    asked = _instant(args.from_time, "from"), _instant(args.to_time, "to")
    chosen = between(sample_log.read(folder, *asked), *asked, folder)
    counts = counted(chosen)
    first, last = chosen[0], chosen[-1]
    with progress() as bars, up_to_date(args, bars) as views:
        if views.position < last.after:
            rule = f"the ledger of these samples: they go on to position {last.after}"
            raise Invalid.because("ledger", f"at position {views.position}", rule)
        advance = bars.start("Compare", None)
        names = (config.name, *args.gateway)
        found = ended(views.run, names, first, last, counts.unseen)
        found += noted(intents, names, first, last)
        advance(len(found))
        lines = reconciled(counts, found, sold(config))
    document = document_of(lines, chosen, counts, views.position)
    emit(args, document, reconciliation_text(document))
    return EXIT_DONE if document["explained"] else EXIT_DIFFERENCES


def noted(intents: Path, names: "Iterable[str]", first: "Sample", last: "Sample") -> "list[Ended]":
    """Return what ran for nothing between two samples, as some gateways have noted it here."""
    from adapters import sample_log
    from domain.free_inferences import ended_free
    from entrypoints.gateway.sampling import counters_of

    folders = [counters_of(intents / name) for name in names]
    notes = (sample_log.notes(folder, first.at, last.at) for folder in folders)
    return ended_free((each for found in notes for each in found), first, last)


def between(
    samples: "Sequence[Sample]", begin: int | None, end: int | None, folder: Path
) -> "Sequence[Sample]":
    """Return the samples from the one nearest to a time to that nearest to another.

    Raises Invalid where there are no two, naming the first and the last there are.
    """
    if not samples:
        raise Invalid.because(
            "intents", str(folder), "where a gateway has written samples: there is none"
        )
    first, last = samples[0].at, samples[-1].at
    there_are = f"samples go from {format_instant(first)} to {format_instant(last)}"
    begin, end = first if begin is None else begin, last if end is None else end
    if begin > last or end < first:
        name, instant = ("from", begin) if begin > last else ("to", end)
        raise Invalid.because(name, format_instant(instant), f"near a sample: {there_are}")
    places = [_nearest(samples, instant) for instant in (begin, end)]
    if places[0] >= places[1]:
        rule = f"an interval with two samples: {there_are}"
        asked = f"{format_instant(begin)} to {format_instant(end)}"
        raise Invalid.because("from", asked, rule)
    return samples[places[0] : places[1] + 1]


def _nearest(samples: "Sequence[Sample]", instant: int) -> int:
    return min(range(len(samples)), key=lambda place: abs(samples[place].at - instant))


def _instant(text: str | None, name: str) -> int | None:
    return None if text is None else parse_instant(text, name)


def sold(config: "GatewayConfig") -> "Sold":
    """Return what a gateway offers, by the names of the price book."""
    from domain.meters import waits_for_traces
    from domain.reconciliation import Sold
    from domain.stages import OF_PIPELINE

    models: dict[str, Any] = {}
    for meter in config.model:
        name = meter.priced_as if meter.pipeline is None else f"{OF_PIPELINE}{meter.pipeline}"
        models[name] = (*models.get(name, ()), meter.name)
    alone = (meter for meter in config.model if meter.pipeline is None)
    timed = (meter.priced_as for meter in alone if waits_for_traces(meter))
    return Sold(models, frozenset(timed))
