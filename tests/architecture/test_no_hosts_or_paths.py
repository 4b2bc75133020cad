"""Nothing committed depends on one machine or one package registry."""

import re

from tests.architecture.source_files import named, repository_files

# Written so that this file does not accuse itself.
REGISTRIES = re.compile(
    r"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|static[.]crates[.]io|repo1?[.]maven"
)
HOMES = re.compile(r"(?<![\w.~-])/(?:root|home/\w+|Users/\w+|work/\w+)/")
SOURCE_OPTIONS = re.compile(r"index-url|find-links|trusted-host|://|^-e|@ ", re.MULTILINE)
FOREIGN_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock")


def matches(pattern: re.Pattern[str], *, below: str = "") -> str:
    """List the places of a pattern in the text files below a folder, one a line."""
    return "\n".join(
        f"{named(path)}: {found.group()!r}"
        for path in repository_files()
        if named(path).startswith(below)
        for found in pattern.finditer(path.read_text("utf-8", errors="replace"))
    )


def test_no_file_names_a_package_registry() -> None:
    assert matches(REGISTRIES) == ""


def test_no_file_names_a_folder_of_one_machine() -> None:
    assert matches(HOMES) == ""


def test_requirement_files_leave_the_source_of_packages_to_the_machine() -> None:
    assert matches(SOURCE_OPTIONS, below="requirements/") == ""


def test_the_only_locks_are_the_hashed_requirement_files() -> None:
    """Other lock files record the host that each package came from."""
    names = [path.name for path in repository_files()]
    assert [name for name in names if name in FOREIGN_LOCKS or name.startswith("pylock")] == []


def test_the_patterns_bite() -> None:
    assert HOMES.search("see /{}/someone/tollbook".format("home"))
    assert REGISTRIES.search("https://{}.org/simple".format("pypi"))
    assert SOURCE_OPTIONS.search("--index-url")
