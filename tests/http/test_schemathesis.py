"""schemathesis finds nothing: every answer is one that docs/openapi.json describes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import fresh_database
from tests.support.ledger import a_customer, price_book
from tests.support.servers import embedded_server
from tests.support.serving import Served, serving
from tests.support.sizes import EXAMPLES, in_full_or

CONFIG = Path(__file__).with_name("schemathesis.toml")
CASES = str(max(1, EXAMPLES // 10))
"""Cases for each path; CI asks for more."""
PHASES = ("examples,fuzzing,stateful", "examples,coverage,fuzzing,stateful")[in_full_or(0, 1)]
"""CI also sends what lies at each bound of each field, which takes longer than all the rest."""


@pytest.fixture
def attacked(pytestconfig: pytest.Config) -> Iterator[Served]:
    """Serve a ledger of this test's own: it makes, revokes and blocks whatever it can."""
    with fresh_database(embedded_server(pytestconfig)) as made, serving(made.parts) as server:
        server.tollbook.publish(price_book()).result()
        a_customer(server.tollbook)
        yield server


@pytest.mark.timeout(1200)
def test_schemathesis_finds_nothing(attacked: Served, tmp_path: Path) -> None:
    """It sends what the document allows and what it forbids, with an admin's key."""
    command = Path(sys.executable).with_name("schemathesis")
    finished = subprocess.run(
        [
            *(command, "--config-file", CONFIG, "run", f"{attacked.url}/openapi.json"),
            *("-H", f"Authorization: Bearer {attacked.key()}"),
            *("--max-examples", CASES, "--seed", "1", "--workers", "1", "--no-color"),
            *("--suppress-health-check", "all", "--phases", PHASES),
        ],
        capture_output=True,
        text=True,
        timeout=1100,
        cwd=tmp_path,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-6000:] + finished.stderr[-2000:]
