"""What `--database` may say, and what is answered when it cannot be read."""

import pytest
from tollbook.errors import Invalid, Unavailable

from adapters.postgres import connect


@pytest.mark.parametrize("url", ["nonsense", "secret", "postgresql://user:secret@[::1/x"])
def test_a_url_that_cannot_be_read_is_wrong_usage_and_is_not_shown(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        connect(url)
    assert refused.value.facts["field"] == "database"
    assert "secret" not in str(refused.value)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        connect("postgresql://127.0.0.1:1/nothing")
