"""Provenance: what a caller says is declared, and only a checked document makes it verified."""

import hashlib
import json
from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.provenance import ProvenanceField
from tests.domain.registered import registered, released

WEIGHTS, OTHER_WEIGHTS = "0a" * 32, "0b" * 32


def bom(*digests: str, **more: Any) -> str:
    """Return the text of an ML-BOM of one model with these weights."""
    hashes = [{"alg": "SHA-256", "content": digest} for digest in digests]
    model = {"type": "machine-learning-model", "name": "gpt", "hashes": hashes, **more}
    body = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [model]}
    return json.dumps(body)


def known(**body: Any) -> tuple[ProvenanceField, ...]:
    """Return what is known of a version that is released so."""
    return released(registered(), **body).versions["1.0.0"].provenance


def test_what_a_caller_says_is_declared() -> None:
    said = [{"name": "license", "value": "MIT"}, {"name": "lineage", "digest": WEIGHTS}]
    assert known(provenance=said) == (
        ProvenanceField("license", None, "MIT", "declared"),
        ProvenanceField("lineage", WEIGHTS, None, "declared"),
    )
    assert known(provenance=[{**said[0], "standing": "declared"}])[0].standing == "declared"


FORGED: list[Any] = [
    [{"name": "ml_bom", "digest": WEIGHTS, "standing": "verified"}],
    [{"name": "license", "value": "MIT", "standing": "signed"}],
    [{"name": "license"}],
    [{"value": "MIT"}],
    [{"name": "license", "value": "MIT"}] * 2,
    [{"name": "License", "value": "MIT"}],
    [{"name": "license", "value": "a\x00b"}],
    [{"name": "license", "digest": "0A" * 32}],
    [{"name": "license", "value": "MIT", "more": 1}],
    [{"name": f"f{number}", "value": "x"} for number in range(51)],
    {"name": "license", "value": "MIT"},
]


@pytest.mark.parametrize("provenance", FORGED)
def test_nobody_posts_what_is_verified_or_of_another_form(provenance: Any) -> None:
    with pytest.raises(Invalid) as refused:
        known(provenance=provenance)
    assert refused.value.facts["field"] == "provenance"


def test_a_checked_document_is_verified_and_its_authors_words_are_declared() -> None:
    text = bom(WEIGHTS, licenses=[{"license": {"id": "MIT"}}], version="4")
    said = [{"name": f"f{number}", "value": "x"} for number in range(50)]
    found = known(bom=text, digest=WEIGHTS, provenance=said)
    assert found[:4] == (
        ProvenanceField(
            "ml_bom", hashlib.sha256(text.encode()).hexdigest(), "CycloneDX 1.6", "verified"
        ),
        ProvenanceField("ml_bom.weights", WEIGHTS, None, "verified"),
        ProvenanceField("ml_bom.component", None, "gpt 4", "declared"),
        ProvenanceField("ml_bom.licenses", None, "MIT", "declared"),
    )
    assert len(found) == 54


@pytest.mark.parametrize(
    ("digest", "named", "verified"),
    [
        (WEIGHTS, (WEIGHTS,), ["ml_bom", "ml_bom.weights"]),
        (WEIGHTS, (OTHER_WEIGHTS, WEIGHTS), ["ml_bom", "ml_bom.weights"]),
        (WEIGHTS, (), ["ml_bom"]),
        (None, (WEIGHTS,), ["ml_bom"]),
        (None, (), ["ml_bom"]),
        (WEIGHTS, (OTHER_WEIGHTS,), None),
    ],
)
def test_a_document_is_of_these_weights_or_refused(
    digest: str | None, named: tuple[str, ...], verified: list[str] | None
) -> None:
    body = {"bom": bom(*named)} if digest is None else {"bom": bom(*named), "digest": digest}
    if verified is None:
        with pytest.raises(Invalid) as refused:
            known(**body)
        assert refused.value.facts["field"] == "bom"
        return
    assert [field.name for field in known(**body) if field.standing == "verified"] == verified


def test_a_caller_does_not_speak_for_the_document() -> None:
    own = [{"name": "ml_bom", "digest": WEIGHTS}]
    with pytest.raises(Invalid) as refused:
        known(bom=bom(), provenance=own)
    assert refused.value.facts["field"] == "provenance"
    assert known(provenance=own)[0].standing == "declared", "without a document it is a word"
