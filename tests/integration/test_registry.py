"""The registry and the export list on a real database: writers, restarts, and the audit."""

import threading
from collections import Counter
from typing import Any

import pytest
from tollbook.errors import NotFound, Refused, TollbookError

from application.answers import Answer
from application.jobs import Item
from application.loading import load_export_list, load_model
from application.tollbook import Tollbook
from domain.commands import parse
from domain.registry import Model
from domain.screening import ExportList
from tests.integration.audit_fixtures import audited, position_of, rewrite, whats
from tests.support.databases import TestDatabase
from tests.support.ledger import open_ledger

NAME = "org/gpt"


def register(ledger: Tollbook, name: str = "reg") -> Answer:
    """Register the model."""
    return ledger.run("register_model", {"id": name, "model": NAME})


def release(ledger: Tollbook, version: str, name: str | None = None, **more: Any) -> Answer:
    """Release a version, by default under an id made of its number."""
    body = {"id": name or f"v-{version}", "model": NAME, "version": version, **more}
    return ledger.run("release_model_version", body)


def yank(ledger: Tollbook, version: str, name: str = "yank") -> Answer:
    """Withdraw a version."""
    body = {"id": name, "model": NAME, "version": version, "reason": "leaks"}
    return ledger.run("yank_model_version", body)


def denying(ledger: Tollbook, name: str, *countries: str) -> Answer:
    """Publish an export list."""
    return ledger.run("publish_export_list", {"id": name, "countries": list(countries)})


def stored(ledger: Tollbook) -> tuple[Model, ExportList]:
    """Return what the log says, without any memory."""
    position = ledger.store.head().position
    return load_model(ledger.store, NAME, position), load_export_list(ledger.store, position)


def test_what_another_writer_entered_is_known_at_once(embedded_database: TestDatabase) -> None:
    """Also where a writer remembers that there was nothing."""
    with open_ledger(embedded_database) as one, open_ledger(embedded_database) as other:
        with pytest.raises(NotFound):
            release(other, "1.0.0").result()
        denying(other, "list-1", "KP").result()
        register(one).result()
        assert denying(one, "list-2", "SY").result()["version"] == 2
        release(other, "1.0.0").result()
        assert denying(other, "list-3").result()["version"] == 3
        assert yank(one, "1.0.0").result()["version"] == "1.0.0"
        assert yank(other, "1.0.0", "again").code == "already_yanked"
        release(one, "1.1.0").result()
        memory = one.executor._committer.world
        assert (memory.model(NAME), memory.export_list()) == stored(one)
        assert stored(one)[1] == ExportList(frozenset(), 3)
    with open_ledger(embedded_database) as restarted:
        assert release(restarted, "1.0.0", "late").code == "already_exists"
        assert release(restarted, "1.0.0").result()["position"] == 4
    report = audited(embedded_database)
    assert report.ok, report.differences


def test_of_many_releases_of_one_version_one_stands(embedded_database: TestDatabase) -> None:
    codes: Counter[str] = Counter()

    def send(ledger: Tollbook, writer: int) -> None:
        for number in range(10):
            name, digest = f"w-{writer}-{number}", f"{writer:02x}" * 32
            codes[release(ledger, f"1.0.{number}", name, digest=digest).code] += 1

    with open_ledger(embedded_database) as one, open_ledger(embedded_database) as other:
        register(one).result()
        threads = [
            threading.Thread(target=send, args=(ledger, writer))
            for writer, ledger in enumerate((one, other, one, other))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert codes == {"done": 10, "already_exists": 30}
        model, _ = stored(one)
        assert len(model.versions) == 10
    report = audited(embedded_database)
    assert report.ok, report.differences


def test_a_no_is_not_recorded_and_leaves_its_id_free(embedded_database: TestDatabase) -> None:
    """There is no customer in whose history it could stand."""
    with open_ledger(embedded_database) as ledger:
        register(ledger).result()
        head = ledger.store.head()
        refused = register(ledger, "other")
        assert isinstance(refused.error, Refused)
        assert (refused.code, refused.recorded) == ("already_exists", None)
        assert ledger.store.head() == head
        assert denying(ledger, "other", "KP").code == "done"


def test_a_group_enters_a_model_and_its_version_or_neither(embedded_database: TestDatabase) -> None:
    def group(*commands: tuple[str, dict[str, Any]]) -> list[str]:
        items = [Item(parse(kind, body)) for kind, body in commands]
        answers = ledger.executor.execute(items, atomic=True)
        return [answer.code for answer in answers]

    model = ("register_model", {"id": "reg", "model": NAME})
    version = ("release_model_version", {"id": "v", "model": NAME, "version": "1.0.0"})
    listed = ("publish_export_list", {"id": "x", "countries": ["KP"]})
    unknown = ("yank_model_version", {"id": "y", "model": NAME, "version": "9.0.0", "reason": "x"})
    with open_ledger(embedded_database) as ledger:
        assert group(model, version, listed, unknown) == ["aborted"] * 3 + ["not_found"]
        assert stored(ledger)[0].version == 0
        assert stored(ledger)[1] == ExportList()
        assert group(model, version, listed) == ["done"] * 3
        assert list(stored(ledger)[0].versions) == ["1.0.0"]
    report = audited(embedded_database)
    assert report.ok, report.differences


@pytest.fixture
def filled(embedded_database: TestDatabase) -> TestDatabase:
    """Give the test a registry to spoil."""
    with open_ledger(embedded_database) as ledger:
        register(ledger).result()
        said = [{"name": "license", "value": "MIT"}]
        release(ledger, "1.0.0", digest="0a" * 32, provenance=said).result()
        release(ledger, "1.1.0").result()
        yank(ledger, "1.0.0").result()
        denying(ledger, "list", "KP", "SY").result()
    return embedded_database


@pytest.mark.parametrize(
    ("event", "old", "new", "found"),
    [
        ("model_version_released", "declared", "verified", "model_version_released.provenance"),
        ("model_version_released", '"1.0.0"', '"1.1.0"', "model_version_released.version"),
        ("model_version_yanked", '"1.0.0"', '"1.0.1"', "model_version_yanked.version"),
        ("model_registered", "org/gpt", "org/gpX", "model_version_released.model"),
        ("export_list_published", '"version":1', '"version":2', "export_list_published.version"),
        ("export_list_published", '"KP","SY"', '"SY","KP"', "export_list_published.countries"),
    ],
)
def test_a_record_that_was_rewritten_with_its_hash_is_found(
    filled: TestDatabase, event: str, old: str, new: str, found: str
) -> None:
    assert audited(filled).ok
    rewrite(filled, position_of(filled, event), old, new, with_leaf=True)
    assert found in {what for _, what in whats(audited(filled))}


def test_a_time_of_release_after_its_recording_is_found(filled: TestDatabase) -> None:
    with open_ledger(filled) as ledger:
        version = stored(ledger)[0].versions["1.0.0"]
    from tollbook.times import format_instant

    position = position_of(filled, "model_version_released")
    old = format_instant(version.released_at)
    rewrite(filled, position, old, "2999-01-01T00:00:00.000000Z", with_leaf=True)
    assert (position, "model_version_released.released_at") in whats(audited(filled))


def test_hostile_names_meet_the_same_rules_in_every_writer(embedded_database: TestDatabase) -> None:
    with open_ledger(embedded_database) as ledger:
        for name in ("versions", "a//b", "'; DROP TABLE events; --", "model-%", "x" * 129):
            with pytest.raises(TollbookError) as refused:
                ledger.run("register_model", {"id": "x", "model": name}).result()
            assert refused.value.code == "invalid", name
        assert ledger.run("register_model", {"id": "x", "model": "x" * 128}).code == "done"
