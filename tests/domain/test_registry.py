"""The registry of models: what can be entered, and what never changes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook import canonical
from tollbook.errors import Invalid, NotFound
from tollbook.times import parse_instant

from domain.event import Event
from domain.outcomes import Decision, Refusal
from domain.provenance import provenance_from_wire
from domain.registry import Model, ModelVersion, evolve, provenance_hash, unregistered
from domain.registry_events import ModelVersionReleased
from tests.domain.examples import NOON, SECOND
from tests.domain.registered import after, decided, later, registered, released

WEIGHTS = "0a" * 32


def test_a_model_is_registered_once() -> None:
    model = registered()
    assert (model.version, model.versions) == (1, {})
    again = decided(model, "register_model")
    assert isinstance(again, Refusal)
    assert (again.code, again.facts) == ("already_exists", {"field": "model", "value": "org/gpt"})


@pytest.mark.parametrize("name", ["versions", "a/versions/b", "a//b", "/a", "a/", ".", "a/../b"])
def test_a_name_that_no_address_could_hold_is_refused(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        decided(unregistered(name), "register_model")
    assert refused.value.facts["field"] == "model"


def test_a_version_is_released_now_unless_it_was_before() -> None:
    model = released(released(registered()), "1.1.0", released_at="2020-01-01T00:00:00Z")
    assert [each.released_at for each in model.versions.values()] == [NOON, 1577836800 * SECOND]
    assert model.version == 3
    with pytest.raises(Invalid) as refused:
        released(model, "2.0.0", released_at=later(1))
    assert refused.value.facts["field"] == "released_at"
    assert released(model, "2.0.0", released_at=later(0)).versions["2.0.0"].released_at == NOON


@pytest.mark.parametrize("body", [{}, {"digest": WEIGHTS}, {"released_at": later(-1)}])
def test_a_version_is_released_once_whatever_is_said_of_it(body: dict[str, Any]) -> None:
    model = released(registered())
    for known_model in (model, after(model, "yank_model_version", version="1.0.0", reason="bad")):
        again = decided(known_model, "release_model_version", version="1.0.0", **body)
        assert isinstance(again, Refusal)
        assert again.code == "already_exists"
        assert again.facts == {"field": "version", "value": "1.0.0"}


@pytest.mark.parametrize("version", ["1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0 "])
def test_a_version_has_three_numbers_and_perhaps_a_suffix(version: str) -> None:
    with pytest.raises(Invalid) as refused:
        released(registered(), version)
    assert refused.value.facts["field"] == "version"
    assert released(registered(), "10.0.3-rc.1+build.7").version == 2


def test_a_version_is_yanked_once_and_for_ever() -> None:
    model = after(released(registered()), "yank_model_version", version="1.0.0", reason="leaks")
    yanked = model.versions["1.0.0"]
    assert (yanked.yanked_at, yanked.reason, model.version) == (NOON, "leaks", 3)
    again = decided(model, "yank_model_version", version="1.0.0", reason="still")
    assert isinstance(again, Refusal)
    assert (again.code, again.facts["yanked_at"]) == ("already_yanked", later(0))


@pytest.mark.parametrize("kind", ["release_model_version", "yank_model_version"])
def test_a_model_that_nobody_registered_has_no_versions(kind: str) -> None:
    more = {"reason": "x"} if kind == "yank_model_version" else {}
    with pytest.raises(NotFound) as missing:
        decided(unregistered("gpt"), kind, version="1.0.0", **more)
    assert missing.value.facts == {"field": "model", "value": "gpt"}
    with pytest.raises(NotFound) as missing:
        decided(registered(), "yank_model_version", version="1.0.0", reason="x")
    assert missing.value.facts == {"field": "version", "value": "1.0.0"}


SAID: dict[str, Any] = {
    "digest": WEIGHTS,
    "provenance": [{"name": "license", "value": "MIT"}, {"name": "lineage", "digest": "f9" * 32}],
    "released_at": "2026-01-01T00:00:00Z",
}


def as_registered(record: dict[str, Any]) -> Model:
    """Return a model with the record of docs/formats/licenses.md, one of its versions yanked."""
    model = registered(record["model"])
    for version, kept in record["versions"].items():
        event = ModelVersionReleased(
            digest=kept["digest"],
            model=model.name,
            provenance=provenance_from_wire(kept["provenance"]),
            released_at=parse_instant(kept["released_at"]),
            version=version,
        )
        model = evolve(model, event, NOON)
    return after(model, "yank_model_version", version="4.1.0", reason="leaks")


def test_the_record_of_the_page_has_the_hash_of_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs/formats/licenses.md").read_text("utf-8")
    record = page.partition("```json registry\n")[2].partition("\n```")[0]
    assert canonical.is_canonical(record.encode())
    found = hashlib.sha256(record.encode()).hexdigest()
    assert provenance_hash(as_registered(json.loads(record))) == found
    assert f"is `{found}`." in page


def vector() -> Model:
    """Return a model with two versions."""
    return released(released(registered("gpt4-equivalent"), "4.1.0", **SAID), "4.2.0-rc.1")


def test_a_yank_does_not_change_what_a_licence_was_issued_on() -> None:
    model = vector()
    yanked = after(model, "yank_model_version", version="4.1.0", reason="leaks")
    assert provenance_hash(yanked) == provenance_hash(model)


@pytest.mark.parametrize(
    "changed",
    [
        released(vector(), "4.3.0"),
        released(released(registered("gpt5"), "4.1.0", **SAID), "4.2.0-rc.1"),
        released(released(registered("gpt4-equivalent"), "4.1.0"), "4.2.0-rc.1"),
        released(registered("gpt4-equivalent"), "4.1.0", **SAID),
    ],
)
def test_another_record_has_another_hash(changed: Model) -> None:
    assert provenance_hash(changed) != provenance_hash(vector())


def test_the_order_of_releases_does_not_change_the_hash() -> None:
    one = released(released(registered(), "1.0.0"), "2.0.0")
    other = released(released(registered(), "2.0.0"), "1.0.0")
    assert provenance_hash(one) == provenance_hash(other)


VERSIONS = st.sampled_from(["1.0.0", "1.1.0", "2.0.0-rc.1"])


@given(st.lists(st.tuples(st.booleans(), VERSIONS, st.integers(-5, 5)), max_size=30))
def test_nothing_that_was_released_ever_changes(steps: list[tuple[bool, str, int]]) -> None:
    """Whatever is sent, a version keeps its release; only its yank is ever added, once."""
    model = registered()
    first: dict[str, ModelVersion] = {}
    for releases, version, offset in steps:
        before = model
        try:
            if releases:
                body = {"version": version, "released_at": later(offset)}
                decision = decided(model, "release_model_version", **body)
            else:
                decision = decided(model, "yank_model_version", version=version, reason="x")
        except (Invalid, NotFound):
            continue
        model = _evolved(model, decision)
        assert model.version == before.version + (0 if isinstance(decision, Refusal) else 1)
        for name, each in model.versions.items():
            first.setdefault(name, each)
            assert each._replace(yanked_at=None, reason=None) == first[name]
            old = before.versions.get(name)
            assert old is None or old.yanked_at in (None, each.yanked_at)


def _evolved(model: Model, decision: Decision) -> Model:
    events: tuple[Event, ...] = () if isinstance(decision, Refusal) else decision
    for event in events:
        assert not isinstance(event, ModelVersionReleased) or event.released_at <= NOON
        model = evolve(model, event, NOON)
    return model
