"""An ML-BOM is read strictly where it counts, and no word of its author is believed."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook import mlbom
from tollbook.errors import Invalid
from tollbook.mlbom import BomModel, read_bom

WEIGHTS = "0a" * 32


def component(**more: Any) -> dict[str, Any]:
    """Return a component that is a model."""
    return {"type": "machine-learning-model", "name": "gpt", "version": "4.1", **more}


def document(*components: Any, **more: Any) -> bytes:
    """Return a CycloneDX document with these components."""
    body = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": list(components)}
    return json.dumps({**body, **more}).encode()


def sha256(content: str) -> dict[str, str]:
    """Return the hash of a component as CycloneDX writes it."""
    return {"alg": "SHA-256", "content": content}


def test_a_document_is_known_by_its_exact_bytes() -> None:
    plain = document(component())
    spaced = plain.replace(b": ", b":  ")
    assert read_bom(plain).digest == hashlib.sha256(plain).hexdigest()
    assert read_bom(spaced).digest == hashlib.sha256(spaced).hexdigest()
    assert read_bom(spaced).models == read_bom(plain).models


def test_what_the_author_says_of_a_model_is_read() -> None:
    data = [{"type": "dataset", "name": "web-2025"}, {"ref": "component-7"}, "no object", {}]
    found = read_bom(
        document(
            {"type": "library", "name": "torch"},
            component(
                hashes=[{"alg": "MD5", "content": "00"}, sha256(WEIGHTS.upper())],
                licenses=[{"license": {"id": "MIT"}}, {"license": {"name": "Ours"}}, {"x": 1}],
                modelCard={"modelParameters": {"datasets": data}},
            ),
        )
    )
    assert found.spec_version == "1.6"
    assert found.models == (
        BomModel("gpt", "4.1", (WEIGHTS,), ("MIT", "Ours"), ("web-2025", "component-7")),
    )
    assert found.digests() == {WEIGHTS}


@pytest.mark.parametrize(
    "found",
    [
        document(metadata={"component": component()}),
        document(
            {"type": "application", "components": [{"type": "x", "components": [component()]}]}
        ),
        document(component(), component(name="other")),
    ],
    ids=["the main component", "nested", "several"],
)
def test_a_model_is_found_wherever_components_stand(found: bytes) -> None:
    assert "gpt" in {model.name for model in read_bom(found).models}


def test_the_model_with_these_weights_is_the_one_that_is_meant() -> None:
    found = read_bom(document(component(), component(name="b", hashes=[sha256(WEIGHTS)])))
    assert found.about(WEIGHTS).name == "b"
    assert found.about("ff" * 32).name == found.about(None).name == "gpt"


@pytest.mark.parametrize("version", ["1.5", "1.6", "1.10", "2.0"])
def test_versions_since_models_are_known_are_read(version: str) -> None:
    assert read_bom(document(component(), specVersion=version)).spec_version == version


MODEL = '"components":[{"type":"machine-learning-model"}]'

REFUSED: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "bom"),
    "not UTF-8": (b"\xff", "bom"),
    "empty": (b"", "bom"),
    "a list": (b"[]", "bom"),
    "another format": (document(component(), bomFormat="SPDX"), "bom"),
    "an old version": (document(component(), specVersion="1.4"), "bom.specVersion"),
    "a version as a number": (document(component(), specVersion=1.6), "bom.specVersion"),
    "a version of another form": (document(component(), specVersion="1.6.1"), "bom.specVersion"),
    "no version": (b'{"bomFormat":"CycloneDX",%s}' % MODEL.encode(), "bom.specVersion"),
    "no components": (document(), "bom.components"),
    "no model": (document({"type": "library"}), "bom.components"),
    "components that are no list": (document(components={}), "bom.components"),
    "a component without a type": (document(component(), {"name": "x"}), "bom.components"),
    "a component that is no object": (document(component(), 7), "bom.components"),
    "a hash that is none": (document(component(hashes=[sha256("0a")])), "bom.hashes.content"),
    "hashes that are no list": (document(component(hashes={})), "bom.hashes"),
    "a key given twice": (
        b'{"bomFormat":"SPDX","bomFormat":"CycloneDX","specVersion":"1.6",%s}' % MODEL.encode(),
        "bom",
    ),
    "a number that JSON has not": (document(component(), version=float("nan")), "bom"),
    "too deep": (b"[" * 100_000 + b"]" * 100_000, "bom"),
    "too long": (b" " * (mlbom.MAX_BYTES + 1), "bom"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_description_of_a_model_is_refused(name: str) -> None:
    found, field = REFUSED[name]
    with pytest.raises(Invalid) as refused:
        read_bom(found)
    assert refused.value.facts["field"] == field
    assert refused.value.facts["rule"]


def test_too_many_components_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlbom, "COMPONENTS_MAX", 2)
    assert read_bom(document(component(), component()))
    with pytest.raises(Invalid):
        read_bom(document(component(), component(), component()))


def test_an_authors_text_is_cut_and_made_such_that_it_can_be_kept() -> None:
    long, nul = component(name="x" * 2000), component(name="a\x00b", version=4)
    surrogate = component(name="\ud800")
    names = [model.name for model in read_bom(document(long, nul, surrogate)).models]
    assert names == ["x" * 1000, "", "?"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("name", "version", "hashes", "licenses", "modelCard"), JSON),
    )
)
def test_whatever_a_component_holds_it_is_read_or_refused(more: dict[str, Any]) -> None:
    try:
        (model,) = read_bom(document(component(**more))).models
    except Invalid:
        return
    assert all(type(text) is str for text in (model.name, model.version, *model.licenses))
    json.dumps(model).encode()
