"""A command that somebody interrupts ends with a problem document, and with the id to ask by."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from adapters.embedded_postgres.server import join
from tests.support.interrupting import begun, ended
from tests.support.shell import Shell

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture
def slow_file(tmp_path: Path) -> Path:
    """Return a file that whoever reads it has to wait for."""
    path = tmp_path / "slow"
    os.mkfifo(path)
    return path


def opened_for(process: "subprocess.Popen[str]", path: Path) -> int:
    """Open a pipe for writing as soon as the process reads it."""
    while process.poll() is None:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads it yet
            time.sleep(0.02)
    raise AssertionError(process.communicate())


@pytest.mark.parametrize("words", [("merkle", "root"), ("usage", "send")])
def test_a_command_that_is_interrupted_prints_one_problem_document(
    shell: Shell, slow_file: Path, words: tuple[str, ...]
) -> None:
    where = ("--data", str(shell.folder)) if words[0] == "usage" else ()
    with begun(*words, str(slow_file), *where) as process:
        writing = opened_for(process, slow_file)
        process.send_signal(signal.SIGINT)
        code, document, told = ended(process)
        os.close(writing)
    assert (code, told) == (130, "tollbook: interrupted\n")
    assert document == {"code": "interrupted", "title": "Interrupted", "detail": "interrupted"}


def test_a_command_that_is_interrupted_names_its_id_and_repeating_it_has_one_effect(
    shell: Shell,
) -> None:
    """It waits for the head of the log, which somebody holds, and the ledger decides it after."""
    shell.text("customers", "create", "joe", "--name", "Joe", "--currency", "USD")
    grant = ("customers", "grant", "joe", "--amount", "7", "--kind", "paid")
    server = join(shell.folder)
    try:
        with (
            psycopg.connect(server.super_url) as holding,
            psycopg.connect(server.super_url, autocommit=True) as looking,
            begun(*grant, "--data", str(shell.folder)) as process,
        ):
            holding.execute("SELECT * FROM ledger_head FOR UPDATE")
            while looking.execute(WAITING).fetchone() == (0,):
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
            holding.rollback()
            code, document, told = ended(process)
    finally:
        server.leave()
    assert (code, document["code"]) == (130, "interrupted")
    assert f"repeat it with the id {document['id']}" in told
    shell.json(*grant, "--id", document["id"])
    assert shell.json(*grant, "--id", document["id"])["repeated"]
    assert shell.json("customers", "balance", "joe")["available"]["amount"] == "7.000000000000"
