"""Which ledger a command works on, by its options and its environment."""

from pathlib import Path

import pytest
from tollbook.errors import Invalid, Unavailable

from entrypoints.settings import settings_from


@pytest.mark.parametrize("name", ["data", "database"])
def test_an_empty_option_names_no_ledger_and_falls_back_to_none(name: str) -> None:
    """A shell makes one of a variable that is not set: another ledger would be the wrong one."""
    given = {"data": None, "database": None, name: ""}
    environment = {"TOLLBOOK_DATABASE": "postgresql://other.test/", "TOLLBOOK_DATA": "/other"}
    with pytest.raises(Invalid) as refused:
        settings_from(given["data"], given["database"], environment)
    assert refused.value.facts["field"] == name


def test_a_file_for_the_database_that_is_empty_is_told(tmp_path: Path) -> None:
    file = tmp_path / "database.url"
    file.write_text("\n", encoding="utf-8")
    environment = {"TOLLBOOK_DATABASE_FILE": str(file), "TOLLBOOK_DATA": "/other"}
    with pytest.raises(Unavailable, match="TOLLBOOK_DATABASE_FILE is empty"):
        settings_from(None, None, environment)
