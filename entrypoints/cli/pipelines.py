"""`tollbook pipelines`: publish pipelines, look at them and at runs, give a run's holds back."""

import argparse
from typing import Any

from tollbook.cli_support import Subparsers, add_command, add_group, emit, read_input
from tollbook.errors import EXIT_DONE, Invalid

from entrypoints.cli.options import add_ledger_options
from entrypoints.cli.tables import shown_name


def register(subparsers: Subparsers) -> None:
    """Add the commands to the console script."""
    group = add_group(subparsers, "pipelines", "Publish pipelines; see and release their runs.")
    publishing = add_command(
        group,
        "publish",
        "Publish a pipeline from a file; what is published already is left as it is.",
        publish,
        examples=("tollbook pipelines publish rag.toml --data ./ledger",),
    )
    publishing.add_argument("file", metavar="FILE", help="TOML or JSON, or - for standard input")
    publishing.add_argument("--id", metavar="ID", help="the command's id", dest="command")
    listing = add_command(
        group,
        "list",
        "List the pipelines as they were published last.",
        list_pipelines,
        examples=("tollbook pipelines list --data ./ledger",),
    )
    showing = add_command(
        group,
        "show",
        "Show a pipeline: its stages in their order.",
        show,
        examples=("tollbook pipelines show rag --json --data ./ledger",),
    )
    showing.add_argument("pipeline", metavar="PIPELINE", help="the pipeline's name")
    for parser in (publishing, listing, showing):
        add_ledger_options(parser)
    _register_ensemble(group)
    _register_runs(group)


def _register_ensemble(group: Subparsers) -> None:
    asking = add_command(
        group,
        "ensemble",
        "Write the file of a pipeline whose stages are the steps of one of Triton's ensembles.",
        ensemble,
        examples=("tollbook pipelines ensemble rag --triton 127.0.0.1:8000 > rag.toml",),
    )
    asking.add_argument("model", metavar="MODEL", help="the ensemble's name on the server")
    asking.add_argument(
        "--triton", metavar="HOST:PORT", required=True, help="where the server speaks HTTP"
    )
    asking.add_argument("--name", metavar="PIPELINE", help="its name here (default: the model's)")


def _register_runs(group: Subparsers) -> None:
    looking = add_command(
        group,
        "run",
        "Show a run through a pipeline: what each stage holds and has cost.",
        show_run,
        examples=("tollbook pipelines run run-1 --data ./ledger",),
    )
    releasing = add_command(
        group,
        "release",
        "Give back every stage of a run that has had no outcome yet.",
        release,
        examples=("tollbook pipelines release run-1 --reason 'it hangs' --data ./ledger",),
    )
    releasing.add_argument("--reason", metavar="TEXT", help="why, for those who look later")
    releasing.add_argument(
        "--id", metavar="ID", help="the command's id (default: the run's)", dest="command"
    )
    for parser in (looking, releasing):
        parser.add_argument("run_id", metavar="RUN", help="the id under which it was reserved")
        add_ledger_options(parser)


def publish(args: argparse.Namespace) -> int:
    """Publish the next version of a pipeline, unless the newest one is the same."""
    from domain.commands import parse
    from domain.pipeline_commands import PublishPipeline
    from entrypoints.cli.acting import carry_out, opened, reading, told
    from entrypoints.pipeline_documents import newest_of

    body = _read(args.file)
    wanted = parse("publish_pipeline", {**body, "id": args.command or "unpublished"})
    assert isinstance(wanted, PublishPipeline)
    with opened(args, create=True) as tollbook:
        newest = newest_of(reading(tollbook), wanted.pipeline)
        if args.command is None and newest.stages == wanted.stages:
            known = {"pipeline": newest.name, "version": newest.version, "repeated": True}
            emit(args, known, f"Version {newest.version} of {newest.name} says so already")
            return EXIT_DONE
        name = args.command or f"{wanted.pipeline}:{newest.version + 1}"
        result = carry_out(tollbook, "publish_pipeline", {**body, "id": name})
    emit(args, result, told(f"Published version {result['version']} of {wanted.pipeline}", result))
    return EXIT_DONE


def _read(file: str) -> dict[str, Any]:
    """Read a pipeline's file: TOML or JSON, with the fields that the API takes."""
    import tomllib

    from tollbook import canonical

    try:
        text = read_input(file).decode("utf-8-sig")
        is_json = text.lstrip().startswith("{")
        found = canonical.loads(text.encode()) if is_json else tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Invalid(f"{shown_name(file)}: {error}", field="file", rule="TOML or JSON") from None
    if "id" in found:
        raise Invalid.because("id", None, "absent: the option --id says it")
    return dict(found)


def ensemble(args: argparse.Namespace) -> int:
    """Ask a Triton server what an ensemble runs, and write that as a pipeline's file."""
    from adapters.triton.ensembles import as_toml, read_ensemble

    stages = read_ensemble(args.triton, args.model)
    name = args.name or args.model
    emit(args, {"pipeline": name, "stages": stages}, as_toml(name, stages))
    return EXIT_DONE


def list_pipelines(args: argparse.Namespace) -> int:
    """List every pipeline."""
    from entrypoints.cli.acting import opened, reading
    from entrypoints.cli.pipeline_tables import list_text
    from entrypoints.pipeline_documents import every_pipeline

    with opened(args) as tollbook:
        found = every_pipeline(reading(tollbook))
    emit(args, {"pipelines": found}, list_text(found))
    return EXIT_DONE


def show(args: argparse.Namespace) -> int:
    """Show a pipeline with its stages."""
    from entrypoints.cli.acting import opened, reading
    from entrypoints.cli.pipeline_tables import pipeline_text
    from entrypoints.pipeline_documents import pipeline_document

    with opened(args) as tollbook:
        document = pipeline_document(reading(tollbook), args.pipeline)
    emit(args, document, pipeline_text(document))
    return EXIT_DONE


def show_run(args: argparse.Namespace) -> int:
    """Show a run as it stands now."""
    from entrypoints.cli.acting import opened, reading
    from entrypoints.cli.pipeline_tables import run_text
    from entrypoints.pipeline_documents import run_document

    with opened(args) as tollbook:
        now = tollbook.now()
        document = run_document(reading(tollbook), args.run_id, None, None, now)
    emit(args, document, run_text(document))
    return EXIT_DONE


def release(args: argparse.Namespace) -> int:
    """Give back what a run still holds."""
    from entrypoints.cli.acting import carry_out, given, opened, reading, told
    from entrypoints.cli.tables import amount
    from entrypoints.pipeline_documents import run_document

    with opened(args) as tollbook:
        run = run_document(reading(tollbook), args.run_id, None, None, tollbook.now())
        whose = {"pipeline": run["pipeline"], "reserved": args.run_id}
        body = {"id": args.command or args.run_id, **whose, **given(args, "reason")}
        result = carry_out(tollbook, "release_pipeline", body)
    line = f"Released {amount(result['released'])} of run {args.run_id}"
    emit(args, result, told(line, result))
    return EXIT_DONE
