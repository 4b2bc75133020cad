"""A ledger that the commands of one test file share; its server stays up between them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.embedded_postgres.server import join
from tests.support.shell import Shell

PRICES = """\
[book]
id = "default"
currency = "USD"
effective_from = "2020-01-01T00:00:00Z"

[[model]]
name = "small"
max_output_tokens = 1000

[model.prices]
input_tokens = "0.5"
cached_input_tokens = "0.1"
output_tokens = "1.5"
pages = 2
requests = "0.001"
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Run commands on a ledger with prices and one customer, `ada`, who has 100 USD."""
    folder = tmp_path_factory.mktemp("shell") / "ledger"
    prices = folder.parent / "prices.toml"
    prices.write_text(PRICES)
    server = join(folder)
    try:
        made = Shell(folder)
        made.text("prices", "publish", str(prices))
        made.text("customers", "create", "ada", "--name", "Ada Ltd", "--currency", "USD")
        made.text("customers", "grant", "ada", "--amount", "100", "--kind", "paid", "--id", "g-1")
        yield made
    finally:
        server.leave()


@pytest.fixture
def prices_file(tmp_path: Path) -> Path:
    """Return a file with the prices that the ledger has."""
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    return path
