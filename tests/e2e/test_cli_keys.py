"""API keys on the shell: what the list says of each."""

from pathlib import Path

from adapters.embedded_postgres.server import join
from tests.support.shell import Shell


def test_a_key_in_the_list_says_until_when_it_holds(tmp_path: Path) -> None:
    server = join(tmp_path / "ledger")
    try:
        shell = Shell(tmp_path / "ledger")
        limited = ("--role", "auditor", "--expires-at", "2090-01-01T00:00:00Z")
        made = shell.json("keys", "create", *limited)
        assert "  until 2090-01-01T00:00:00.000000Z" in shell.text("keys", "list")
        ended = shell.text("keys", "revoke", made["id"])
    finally:
        server.leave()
    assert "  revoked " in ended
    assert "until" not in ended
