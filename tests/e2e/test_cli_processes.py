"""A command in a process of its own says what it says in the tests' own, which they mostly use."""

import pytest

from tests.support.shell import Shell, run_here, run_tollbook

ENDS = [
    (("customers", "list", "--json"), 0),
    (("customers", "show", "ada"), 0),
    (("customers", "show", "ada", "--json"), 0),
    (("customers", "show", "nobody", "--json"), 2),
    (("customers", "grant", "ada", "--kind", "gift"), 2),
    (("customers", "create", "ada", "--name", "Another", "--currency", "USD", "--json"), 3),
]


@pytest.mark.parametrize(("words", "code"), ENDS)
def test_both_ways_have_one_exit_code_and_the_same_output(
    shell: Shell, words: tuple[str, ...], code: int
) -> None:
    command = (*words, "--data", str(shell.folder))
    apart = run_tollbook(*command)
    assert apart == run_here(*command)
    assert apart.code == code


def test_both_ways_read_standard_input(shell: Shell) -> None:
    command = ("usage", "send", "-", "--json", "--data", str(shell.folder))
    apart = run_tollbook(*command, stdin=b"nonsense")
    assert apart == run_here(*command, stdin=b"nonsense")
    assert apart.code == 2
    assert "standard input" in apart.err


def test_both_ways_need_a_database_that_is_there() -> None:
    command = ("customers", "show", "ada", "--database", "postgresql://nobody@127.0.0.1:1/none")
    apart = run_tollbook(*command)
    assert apart == run_here(*command)
    assert apart.code == 4


def test_a_process_writes_what_the_next_command_reads(shell: Shell) -> None:
    words = ("--name", "Zoe", "--currency", "USD", "--data", str(shell.folder))
    assert run_tollbook("customers", "create", "zoe", *words).code == 0
    assert shell.json("customers", "show", "zoe")["name"] == "Zoe"
