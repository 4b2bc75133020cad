"""The commands that the SDK itself brings: checking notes and computing roots, offline."""

import argparse
import re

from tollbook import merkle, note
from tollbook.cli_support import Subparsers, add_command, add_group, emit, open_input, read_input
from tollbook.errors import EXIT_DONE, Invalid

# The digits of a leaf hash and the longest end of a line.
MAX_LINE_BYTES = 66
LEAF_RULE = "a leaf hash of 64 lower-case hex digits"

_LEAF_TEXT = re.compile(rb"[0-9a-f]{64}")


def register(subparsers: Subparsers) -> None:
    """Add the SDK's commands to the frame."""
    notes = add_group(subparsers, "note", "Check signed notes.")
    verify = add_command(
        notes,
        "verify",
        "Check that trusted keys have signed a note, and print its text.",
        verify_note,
        ["tollbook note verify checkpoint.txt --key 'example.com/ledger+530d903a+Aeky...'"],
    )
    verify.add_argument("file", metavar="FILE", help="the signed note, or - for standard input")
    verify.add_argument(
        "--key",
        metavar="VKEY",
        action="append",
        required=True,
        help="a trusted verifier key, name+id+base64; may be given several times",
    )
    trees = add_group(subparsers, "merkle", "Compute Merkle trees (RFC 6962).")
    root = add_command(
        trees,
        "root",
        "Compute the Merkle root over leaf hashes.",
        merkle_root,
        ["tollbook merkle root leaves.txt"],
    )
    root.add_argument("file", metavar="FILE", help="one leaf hash a line, in lower-case hex, or -")


def verify_note(args: argparse.Namespace) -> int:
    """Check a note against the trusted keys and print its text."""
    trusted = [note.Verifier.parse(key) for key in args.key]
    opened = note.verify(read_input(args.file, max_bytes=note.MAX_NOTE_BYTES), trusted)
    keys = [str(key) for key in opened.verified]
    signed_by = "\n".join(f"signed by {key}" for key in keys)
    emit(args, {"text": opened.text, "signed_by": keys}, f"{opened.text}\n{signed_by}")
    return EXIT_DONE


def merkle_root(args: argparse.Namespace) -> int:
    """Compute the root over the leaf hashes of a file."""
    tree = merkle.Frontier()
    with open_input(args.file) as file:
        while line := file.readline(MAX_LINE_BYTES):
            digits = line.rstrip(b"\r\n")
            if not _LEAF_TEXT.fullmatch(digits):
                raise Invalid.because(f"line {tree.size + 1}", digits, LEAF_RULE)
            tree.append(bytes.fromhex(digits.decode()))
    root = tree.root().hex()
    emit(args, {"size": tree.size, "root": root}, f"{tree.size} leaves, root {root}")
    return EXIT_DONE
