"""`tollbook models`: the registry of models and their versions, and the export list."""

import argparse
from typing import Any

from tollbook.cli_support import Subparsers, add_command, add_group, emit, read_input
from tollbook.errors import EXIT_DONE, Invalid, NotFound

from entrypoints.cli import export_list
from entrypoints.cli.options import add_ledger_options, progress

ID_HELP = "the command's id (default: made of the names, so that the same again has no new effect)"


def register(subparsers: Subparsers) -> None:
    """Add the commands to the console script."""
    group = add_group(subparsers, "models", "Register models and versions; the export list.")
    registering = add_command(
        group,
        "register",
        "Register a model. The first one in a new --data DIR makes its ledger.",
        register_model,
        examples=("tollbook models register gpt4-equivalent --data ./ledger",),
    )
    registering.add_argument("model", metavar="MODEL", help="the model's name")
    _register_release(group)
    yanking = add_command(
        group,
        "yank",
        "Withdraw a version for ever: no licence admits it any more.",
        yank,
        examples=(
            "tollbook models yank gpt4-equivalent 4.1.0 --reason 'leaks prompts' --data ./ledger",
        ),
    )
    _add_version(yanking)
    yanking.add_argument("--reason", required=True, help="why, for those who run it")
    for parser in (registering, yanking):
        parser.add_argument("--id", metavar="ID", help=ID_HELP, dest="command")
        add_ledger_options(parser)
    listing = add_command(
        group,
        "list",
        "List the models in the order of their registration.",
        list_models,
        examples=("tollbook models list --data ./ledger",),
    )
    showing = add_command(
        group,
        "show",
        "Show a model: its versions, when they were released, and where they come from.",
        show,
        examples=("tollbook models show gpt4-equivalent --json --data ./ledger",),
    )
    showing.add_argument("model", metavar="MODEL", help="the model's name")
    for parser in (listing, showing):
        add_ledger_options(parser)
    export_list.register(group)


def _register_release(group: Subparsers) -> None:
    releasing = add_command(
        group,
        "release",
        "Release a version of a model, with its weights' digest and what is known of its origin.",
        release,
        examples=(
            "tollbook models release gpt4-equivalent 4.1.0 --data ./ledger",
            "tollbook models release gpt4-equivalent 4.2.0 --weights w.bin --bom bom.json",
            "tollbook models release gpt4-equivalent 4.3.0 --declare certification='ISO/IEC 42001'",
        ),
    )
    _add_version(releasing)
    weights = releasing.add_mutually_exclusive_group()
    weights.add_argument("--weights", metavar="FILE", help="the weights: their SHA-256 is taken")
    weights.add_argument("--digest", metavar="HEX", help="the SHA-256 of the weights")
    releasing.add_argument(
        "--bom", metavar="FILE", help="a CycloneDX ML-BOM in JSON (1.5 or later), which is checked"
    )
    releasing.add_argument(
        "--declare",
        metavar="NAME=TEXT",
        action="append",
        default=[],
        help="something to be known, as your word (may be given several times)",
    )
    releasing.add_argument(
        "--document",
        metavar="NAME=FILE",
        action="append",
        default=[],
        help="a document, by its SHA-256 (may be given several times)",
    )
    releasing.add_argument("--released-at", metavar="TIME", help="when it was (default: now)")
    releasing.add_argument("--id", metavar="ID", help=ID_HELP, dest="command")
    add_ledger_options(releasing)


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="the model's name")
    parser.add_argument("version", metavar="VERSION", help="such as 4.1.0 or 4.1.0-rc.1")


def register_model(args: argparse.Namespace) -> int:
    """Register a model under its name."""
    from entrypoints.cli.acting import carry_out, opened, told

    body = {"id": args.command or args.model, "model": args.model}
    with opened(args, create=True) as tollbook:
        result = carry_out(tollbook, "register_model", body)
    emit(args, result, told(f"Registered model {args.model}", result))
    return EXIT_DONE


def release(args: argparse.Namespace) -> int:
    """Release a version; files are hashed here, and the ML-BOM is checked."""
    from entrypoints.cli.acting import carry_out, given, opened, told

    body: dict[str, Any] = {
        "id": args.command or f"{args.model}:{args.version}",
        **given(args, "model", "version", "digest", "released_at"),
        "provenance": [
            *({"name": name, "value": text} for name, text in map(_pair, args.declare)),
            *({"name": name, "digest": _sha256(file)} for name, file in map(_pair, args.document)),
        ],
    }
    if args.weights is not None:
        body["digest"] = _sha256(args.weights)
    if args.bom is not None:
        body["bom"] = _text(args.bom)
    with opened(args) as tollbook:
        result = carry_out(tollbook, "release_model_version", body)
    if "digest" in body:
        result["digest"] = body["digest"]
    emit(args, result, told(f"Released version {args.version} of {args.model}", result))
    return EXIT_DONE


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Invalid.because("provenance", text, "NAME=TEXT or NAME=FILE")
    return name, value


def _text(file: str) -> str:
    from tollbook.mlbom import MAX_BYTES

    try:
        return read_input(file, max_bytes=MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise Invalid.because("bom", f"byte {error.start}", "JSON in UTF-8") from None


def _sha256(path: str) -> str:
    """Hash a file of any length; a terminal sees how far it is."""
    import hashlib

    from tollbook.cli_support import open_input

    digest = hashlib.sha256()
    with open_input(path) as file, progress() as bars:
        size = file.seek(0, 2) if file.seekable() else None
        if size is not None:
            file.seek(0)
        advance = bars.start("bytes", size)
        while chunk := file.read(1_048_576):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def yank(args: argparse.Namespace) -> int:
    """Withdraw a version."""
    from entrypoints.cli.acting import carry_out, opened, told

    body = {
        "id": args.command or f"{args.model}:{args.version}",
        "model": args.model,
        "version": args.version,
        "reason": args.reason,
    }
    with opened(args) as tollbook:
        result = carry_out(tollbook, "yank_model_version", body)
    emit(args, result, told(f"Yanked version {args.version} of {args.model}", result))
    return EXIT_DONE


def list_models(args: argparse.Namespace) -> int:
    """List every model in short."""
    from entrypoints.cli.acting import opened, reading
    from entrypoints.cli.model_tables import list_text
    from entrypoints.model_documents import model_page

    found: list[dict[str, Any]] = []
    after: int | None = 0
    with opened(args) as tollbook:
        while after is not None:
            items, after = model_page(reading(tollbook), after, 1000)
            found.extend(items)
    emit(args, {"models": found}, list_text(found))
    return EXIT_DONE


def show(args: argparse.Namespace) -> int:
    """Show a model with all its versions."""
    from entrypoints.cli.acting import opened, reading
    from entrypoints.cli.model_tables import model_text
    from entrypoints.model_documents import model_document

    with opened(args) as tollbook:
        document = model_document(reading(tollbook), args.model)
    if document is None:
        detail = f"there is no model {args.model} in the registry"
        raise NotFound(detail, field="model", value=args.model)
    emit(args, document, model_text(document))
    return EXIT_DONE
