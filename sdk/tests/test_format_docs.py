"""The pages of docs/formats and the README say what the code does: their vectors are run."""

import base64
import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from tollbook import canonical, lease, license_key, merkle, note, paseto, receipt, signed_decision
from tollbook.checkpoint import Checkpoint
from tollbook.errors import Invalid, Refused, Tampered
from tollbook.recompute.policies import BUILT_IN
from tollbook.times import parse_instant
from tollbook.tokens import SigningKey, TrustedKeys

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


def test_the_vectors_of_licence_keys_hold() -> None:
    page = "docs/formats/license-key.md"
    (scanner,) = blocks(page, "regex")
    for vector in vectors(page, "json vectors"):
        key = vector["key"]
        license_key.check(key)
        assert license_key.hint(key) == vector["hint"]
        assert base64.b32decode(key.split("_")[2].upper()).hex() == vector["random_hex"]
        assert re.findall(scanner.strip(), f'LICENSE="{key}";') == [key]
    for vector in vectors(page, "json refused"):
        with pytest.raises(Invalid):
            license_key.check(vector["key"])


def test_the_tiers_of_the_page_are_those_of_the_recomputation() -> None:
    assert vectors("docs/formats/licenses.md", "json tiers") == BUILT_IN


def test_the_vectors_of_paseto_hold() -> None:
    page = vectors("docs/formats/tokens.md", "json paseto")
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(page["secret_key_seed_hex"]))
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(page["public_key_hex"]))
    for vector in page["verified"]:
        footer, implicit = vector["footer"].encode(), vector["implicit"].encode()
        message = page["message"].encode()
        assert paseto.sign(message, key, footer=footer, implicit=implicit) == vector["token"]
        opened = paseto.verify(vector["token"], public, implicit=implicit)
        assert (opened.message, opened.footer) == (message, footer)
    for vector in page["refused"]:
        with pytest.raises((Invalid, Tampered)):
            paseto.verify(vector["token"], public, implicit=vector["implicit"].encode())


def test_the_vectors_of_tokens_hold() -> None:
    page = vectors("docs/formats/tokens.md", "json tokens")
    seeds = [bytes.fromhex(page[name]) for name in ("signing_seed_hex", "holder_seed_hex")]
    signer, holder = (Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds)
    key, public = SigningKey(signer), bytes.fromhex(page["holder_public_key_hex"])
    assert (key.id, key.public_key.hex()) == (page["key_id"], page["public_key_hex"])
    assert holder.public_key().public_bytes_raw() == public
    trusted, now = TrustedKeys.parse(page["public_key_hex"]), parse_instant(page["now"])
    for kind in ("lease", "decision", "receipt"):
        footer = canonical.dumps({"kid": key.id})
        message, implicit = (page[f"{kind}_{part}"].encode() for part in ("message", "implicit"))
        token = paseto.sign(message, signer, footer=footer, implicit=implicit)
        assert token == page[kind]
    use = {"license": "lic-1", "model": "gpt4-equivalent"}
    opened = lease.verify(page["lease"], trusted, public, now, **use)
    assert lease.sign(opened, key) == page["lease"]
    challenge = bytes.fromhex(page["challenge_hex"])
    assert lease.prove(page["lease"], holder, challenge) == page["proof"]
    lease.verify_proof(page["lease"], page["proof"], public, challenge)
    decision = signed_decision.verify(page["decision"], trusted, page["nonce"])
    token = signed_decision.sign(decision.answer, page["nonce"], decision.issued_at, key)
    assert token == page["decision"]
    opened_receipt = receipt.verify(page["receipt"], trusted, "inf_1")
    assert receipt.sign(opened_receipt, key) == page["receipt"]
    for vector in vectors("docs/formats/tokens.md", "json refused"):
        with pytest.raises((Invalid, Refused, Tampered)) as refused:
            lease.verify(vector["token"], trusted, public, now, **use)
        assert refused.value.code == vector["code"]


def test_the_table_of_tokens_names_every_code() -> None:
    page = (REPOSITORY / "docs/formats/tokens.md").read_text(encoding="utf-8")
    source = "".join(
        (REPOSITORY / "sdk/src/tollbook" / name).read_text(encoding="utf-8")
        for name in ("lease.py", "tokens.py", "paseto.py", "signed_decision.py", "receipt.py")
    )
    codes = set(re.findall(r'"(lease_[a-z_]+)"', source))
    codes |= {f"KIND{end}" for end in re.findall(r'\{(?:kind\.name|field)\}(_[a-z_]+)"', source)}
    assert len(codes) >= 9
    told = set(re.findall(r"`((?:lease|KIND)_[a-z_]+)`", page)) | {"lease_tampered"}
    assert codes == told


def test_the_example_of_the_readme_runs() -> None:
    (example,) = blocks("sdk/README.md", "python")
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - our own page
