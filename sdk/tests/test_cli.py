"""The command ``tollbook``: exit codes, problem documents, plug-ins, quiet ends."""

import argparse
import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import tollbook
from tollbook import cli, errors, merkle, note
from tollbook.cli_support import Subparsers, add_command, add_group, emit, read_input

SIGNER = note.Signer.generate("example.com/ledger")
OTHER = note.Signer.generate("example.com/other")

# A process of its own, in which nothing that happens to be installed has a say.
WITHOUT_PLUGINS = """
import sys
from tollbook import cli
cli.entry_points = lambda group: ()
sys.exit(cli.main())
"""


@pytest.fixture
def note_file(tmp_path: Path) -> str:
    path = tmp_path / "note.txt"
    path.write_bytes(note.sign("a text\n", [SIGNER]))
    return str(path)


def act(args: argparse.Namespace) -> int:
    """Do what the argument of the test's own command says."""
    if args.outcome == "refused":
        raise errors.Refused("too little", code="insufficient_balance", required="2")
    if args.outcome == "interrupt":
        raise KeyboardInterrupt
    if args.outcome == "hostile":
        raise errors.Invalid("\x1b[31mred\u202e is not \xfc")
    if args.outcome == "bug":
        raise ZeroDivisionError("division\ud800")
    emit(args, {"differences": ["\ud800"]}, "one difference")
    return errors.EXIT_DIFFERENCES


def register_act(subparsers: Subparsers) -> None:
    """Register one group and one command."""
    group = add_group(subparsers, "test", "Test.")
    add_command(group, "act", "Act.", act, ["tollbook test act"]).add_argument("outcome")


def register_nothing(subparsers: Subparsers) -> None:
    """Fail as a plug-in may that is half upgraded."""
    raise RuntimeError("half an upgrade")


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Replace the installed plug-ins by those that a test puts into this list."""
    found: list[EntryPoint] = []
    monkeypatch.setattr(cli, "entry_points", lambda group: [p for p in found if p.group == group])
    monkeypatch.setitem(sys.modules, "a_plugin", sys.modules[__name__])
    return found


@pytest.fixture
def with_act(plugins: list[EntryPoint]) -> None:
    plugins.append(EntryPoint("act", "a_plugin:register_act", cli.COMMANDS_GROUP))


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tollbook {tollbook.__version__}\n"


def test_a_good_note_verifies(note_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    vkey = str(SIGNER.verifier)
    keys = ["--key", vkey, "--key", str(OTHER.verifier)]
    assert cli.main(["note", "verify", note_file, *keys, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"text": "a text\n", "signed_by": [vkey]}
    assert cli.main(["note", "verify", note_file, *keys]) == 0
    assert capsys.readouterr().out == f"a text\n\nsigned by {vkey}\n"


def test_a_note_by_another_key_is_a_difference(
    note_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["note", "verify", note_file, "--json", "--key", str(OTHER.verifier)]
    assert cli.main(arguments) == errors.EXIT_DIFFERENCES
    assert json.loads(capsys.readouterr().out)["code"] == "signature_missing"


def test_a_merkle_root_is_computed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(5)]
    file = tmp_path / "leaves"
    file.write_text("\r\n".join(leaf.hex() for leaf in leaves))
    assert cli.main(["merkle", "root", str(file), "--json"]) == 0
    expected = {"size": 5, "root": merkle.root_of(leaves).hex()}
    assert json.loads(capsys.readouterr().out) == expected
    for bad in ("", "x" * 64, "A" * 64, "0" * 65, "0" * 10**6):
        file.write_text(f"{'0' * 64}\n{bad}\n")
        assert cli.main(["merkle", "root", str(file)]) == errors.EXIT_USAGE
        assert "line 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["note"],
        ["note", "verify"],
        ["note", "verify", "/nowhere", "--key", "bad"],
        ["note", "verify", "/nowhere", "--key", str(SIGNER.verifier)],
        ["note", "verify", "/", "--key", str(SIGNER.verifier)],
        ["merkle", "root", "/nowhere", "--unknown"],
        ["--vers"],
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == errors.EXIT_USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "tollbook: " in captured.err
    assert cli.main([*arguments, "--json"]) == errors.EXIT_USAGE
    assert json.loads(capsys.readouterr().out)["code"] in {"usage", "invalid"}


@pytest.mark.parametrize(("arguments", "program"), [([], "tollbook"), (["note"], "tollbook note")])
def test_wrong_usage_says_where_to_read_what_there_is(
    arguments: list[str], program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(arguments)
    assert f"(what there is: {program} --help)" in capsys.readouterr().err


@pytest.mark.usefixtures("with_act")
@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [("refused", 3, "insufficient_balance"), ("bug", 4, "internal")],
)
def test_a_failure_prints_its_problem(
    outcome: str, status: int, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["test", "act", outcome, "--json"]) == status
    captured = capsys.readouterr()
    assert json.loads(captured.out)["code"] == code
    assert captured.err.count("\n") == 1
    assert cli.main(["test", "act", outcome]) == status
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("with_act")
def test_a_command_chooses_its_exit(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["test", "act", "differ", "--json"]) == errors.EXIT_DIFFERENCES
    assert json.loads(capsys.readouterr().out) == {"differences": ["\ud800"]}


@pytest.mark.usefixtures("with_act")
def test_help_shows_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["test", "act", "--help"]) == 0
    assert "examples:\n  tollbook test act" in capsys.readouterr().out


@pytest.mark.usefixtures("with_act")
def test_a_traceback_is_shown_on_request_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.main(["test", "act", "bug"])
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv(cli.TRACEBACK_VARIABLE, "1")
    cli.main(["test", "act", "bug"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("with_act")
def test_a_message_shows_what_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["test", "act", "hostile"]) == 2
    assert capsys.readouterr().err == "tollbook: \\x1b[31mred\\u202e is not \xfc\n"


@pytest.mark.usefixtures("with_act")
def test_an_interrupt_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["test", "act", "interrupt"]) == errors.EXIT_INTERRUPTED
    assert capsys.readouterr() == ("", "tollbook: interrupted\n")


@pytest.mark.parametrize("target", ["a_plugin:register_nothing", "no_such_module:register"])
def test_a_broken_plugin_costs_only_its_own_commands(
    target: str,
    plugins: list[EntryPoint],
    note_file: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plugins.append(EntryPoint("broken", target, cli.COMMANDS_GROUP))
    plugins.append(EntryPoint("act", "a_plugin:register_act", cli.COMMANDS_GROUP))
    arguments = ["note", "verify", note_file, "--key", str(SIGNER.verifier), "--json"]
    assert cli.main(arguments) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["text"] == "a text\n"
    assert f"the commands of {target} are missing" in captured.err
    assert cli.main(["test", "act", "refused"]) == errors.EXIT_REFUSED


def test_a_plugin_cannot_take_over_a_command(
    plugins: list[EntryPoint], monkeypatch: pytest.MonkeyPatch, note_file: str
) -> None:
    def take_over(subparsers: Subparsers) -> None:
        add_command(subparsers, "note", "Always true.", lambda _: 0)

    monkeypatch.setattr(sys.modules[__name__], "register_act", take_over)
    plugins.append(EntryPoint("act", "a_plugin:register_act", cli.COMMANDS_GROUP))
    assert cli.main(["note", "verify", note_file, "--key", str(OTHER.verifier)]) == 1


def test_input_has_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(b"x" * 11)
    assert read_input(str(file), max_bytes=11) == b"x" * 11
    with pytest.raises(errors.Invalid):
        read_input(str(file), max_bytes=10)


def test_a_reader_that_goes_away_ends_the_command_quietly(note_file: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", WITHOUT_PLUGINS, "note", "verify", note_file]
    done = subprocess.run(
        [*command, "--key", str(SIGNER.verifier)],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=30,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (cli.EXIT_BROKEN_PIPE, b"")


def test_standard_input_is_read(note_file: str) -> None:
    command = [sys.executable, "-c", WITHOUT_PLUGINS, "note", "verify", "-"]
    done = subprocess.run(
        [*command, "--key", str(SIGNER.verifier)],
        input=Path(note_file).read_bytes(),
        stdout=subprocess.PIPE,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0
    assert done.stdout.startswith(b"a text\n")
