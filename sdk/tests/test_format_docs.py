"""The pages of docs/formats and the README say what the code does: their vectors are run."""

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tollbook import canonical, merkle, note
from tollbook.checkpoint import Checkpoint
from tollbook.errors import Invalid, Tampered

REPOSITORY = Path(__file__).parents[2]


def blocks(page: str, info: str) -> list[str]:
    """Return the fenced blocks of a page that carry this info string."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    found = re.findall(rf"^```{re.escape(info)}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found, f"{page} has no block ```{info}"
    return list(found)


def vectors(page: str, info: str) -> Any:
    """Return the one JSON block of a page that carries this info string."""
    (block,) = blocks(page, info)
    return json.loads(block)


def test_the_vectors_of_canonical_json_hold() -> None:
    for vector in vectors("docs/formats/canonical-json.md", "json vectors"):
        data = canonical.dumps(canonical.loads(vector["json"].encode()))
        assert data.hex() == vector["canonical_hex"]
        assert sha256(data).hexdigest() == vector["sha256"]
        assert canonical.is_canonical(data)


def test_what_the_page_of_canonical_json_refuses_is_refused() -> None:
    for vector in vectors("docs/formats/canonical-json.md", "json refused"):
        with pytest.raises(Invalid):
            canonical.loads(vector["json"].encode(errors="surrogatepass"))


def test_the_vectors_of_the_merkle_tree_hold() -> None:
    tree = vectors("docs/formats/merkle.md", "json vectors")
    leaves = [merkle.leaf_hash(bytes.fromhex(entry)) for entry in tree["entries"]]
    roots = [bytes.fromhex(root) for root in tree["roots"]]
    assert [leaf.hex() for leaf in leaves] == tree["leaf_hashes"]
    assert [merkle.root_of(leaves[:size]) for size in range(9)] == roots
    for case in tree["inclusion"]:
        proof, index, size = list(map(bytes.fromhex, case["proof"])), case["index"], case["size"]
        assert merkle.inclusion_proof(leaves, index, size) == proof
        merkle.verify_inclusion(leaves[index], index, size, proof, roots[size])
    for case in tree["consistency"]:
        proof, first, second = (
            list(map(bytes.fromhex, case["proof"])),
            case["first"],
            case["second"],
        )
        assert merkle.consistency_proof(leaves, first, second) == proof
        merkle.verify_consistency(first, second, proof, roots[first], roots[second])


def test_the_vectors_of_signed_notes_hold() -> None:
    page = "docs/formats/signed-note.md"
    keys, notes = blocks(page, "vkey"), blocks(page, "note")
    for vkey, text in zip(keys, notes, strict=True):
        verifier = note.Verifier.parse(vkey.strip())
        assert str(verifier) == vkey.strip()
        assert note.verify(text.encode(), [verifier]).verified == (verifier,)
        with pytest.raises(Tampered):
            note.verify(text.replace("a", "b", 1).encode(), [verifier])
    both = [note.Verifier.parse(vkey.strip()) for vkey in keys[1:]]
    assert list(note.verify(notes[2].encode(), both).verified) == both
    signer = note.Signer.parse(blocks(page, "skey")[0].strip())
    assert note.sign(notes[1].partition("\n\n")[0] + "\n", [signer]) == notes[1].encode()


def test_the_example_of_a_checkpoint_is_one() -> None:
    (text,) = blocks("docs/formats/signed-note.md", "checkpoint")
    checkpoint = Checkpoint.parse(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == text


def test_the_example_of_the_readme_runs() -> None:
    (example,) = blocks("sdk/README.md", "python")
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - our own page
