"""Signed notes and checkpoints: what verifies, and that nothing else does."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook import merkle, note
from tollbook.checkpoint import Checkpoint
from tollbook.errors import Invalid, Tampered

SIGNER = note.Signer.parse(
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
)
OTHER = note.Signer.generate("example.com/other")
TEXT = "one\n\ntwo \N{EM DASH} three\n"
NOTE = note.sign(TEXT, [SIGNER])

texts = st.text(st.characters(codec="utf-8", min_codepoint=32) | st.just("\n")).map(
    lambda text: text + "\n"
)


@given(texts)
def test_a_signed_text_comes_back(text: str) -> None:
    opened = note.verify(note.sign(text, [OTHER, SIGNER]), [SIGNER.verifier])
    assert opened == note.Note(text, (SIGNER.verifier,))


@given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
def test_a_changed_byte_never_verifies(place: int, mask: int) -> None:
    changed = NOTE[:place] + bytes([NOTE[place] ^ mask]) + NOTE[place + 1 :]
    with pytest.raises((Tampered, Invalid)):
        note.verify(changed, [SIGNER.verifier])


@given(st.binary(max_size=80))
def test_hostile_bytes_never_verify(data: bytes) -> None:
    for message in (data, data + b"\n\n" + data + b"\n"):
        with pytest.raises((Tampered, Invalid)):
            note.verify(message, [SIGNER.verifier])


def test_keys_survive_their_text() -> None:
    assert note.Signer.parse(OTHER.export()).verifier == OTHER.verifier
    assert note.Verifier.parse(str(OTHER.verifier)) == OTHER.verifier


def test_a_signer_is_never_shown() -> None:
    secret = OTHER.export().split("+", 4)[4]  # base64 may itself hold a plus
    assert secret not in f"{OTHER!r} {OTHER}"
    with pytest.raises(Invalid) as refusal:
        note.Signer.parse(OTHER.export().replace("example.com", "example.org"))
    assert secret not in str(refusal.value.problem())


def test_every_piece_of_a_key_is_needed() -> None:
    for text, parse in (
        (str(SIGNER.verifier), note.Verifier.parse),
        (SIGNER.export(), note.Signer.parse),
    ):
        for end in range(len(text)):
            with pytest.raises(Invalid):
                parse(text[:end])
            with pytest.raises(Invalid):
                parse(text[end + 1 :])


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\tb", "a\u00a0b", "a\u2028b", "a\x01", "\ud800"]
)
def test_a_bad_key_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        note.Signer.generate(name)


@pytest.mark.parametrize("text", ["", "no newline", "tab\there\n", "nul\0\n", "\ud800\n"])
def test_a_bad_text_is_not_signed(text: str) -> None:
    with pytest.raises(Invalid):
        note.sign(text, [SIGNER])


def test_a_note_needs_a_signer_and_has_limits() -> None:
    with pytest.raises(Invalid):
        note.sign(TEXT, [])
    with pytest.raises(Invalid):
        note.sign(TEXT, [SIGNER] * (note.MAX_SIGNATURES + 1))
    with pytest.raises(Invalid):
        note.sign("x" * note.MAX_NOTE_BYTES + "\n", [SIGNER])
    line = NOTE[NOTE.rindex(b"\n\n") + 2 :]
    with pytest.raises(Invalid):
        note.verify(NOTE + line * note.MAX_SIGNATURES, [SIGNER.verifier])
    with pytest.raises(Invalid):
        note.verify(b"x" * (note.MAX_NOTE_BYTES + 1), [SIGNER.verifier])


def test_signatures_by_unknown_keys_are_ignored() -> None:
    """The name or the id alone does not make a key known."""
    same_name = note.Signer.generate("PeterNeumann")
    blob = base64.b64encode(SIGNER.verifier.key_id + b"junk").decode()
    lines = f"— other {blob}\n".encode()
    opened = note.verify(note.sign(TEXT, [same_name, SIGNER]) + lines, [SIGNER.verifier])
    assert opened.verified == (SIGNER.verifier,)


def test_one_broken_signature_of_a_known_key_spoils_the_note() -> None:
    blob = base64.b64encode(SIGNER.verifier.key_id + bytes(64)).decode()
    spoilt = note.sign(TEXT, [OTHER]) + f"— PeterNeumann {blob}\n".encode()
    assert note.verify(spoilt, [OTHER.verifier]).text == TEXT
    with pytest.raises(Tampered) as refusal:
        note.verify(spoilt, [OTHER.verifier, SIGNER.verifier])
    assert refusal.value.code == "signature_broken"


def test_a_note_without_a_trusted_signature_is_refused() -> None:
    for trusted in ([], [OTHER.verifier]):
        with pytest.raises(Tampered) as refusal:
            note.verify(NOTE, trusted)
        assert refusal.value.code == "signature_missing"


def test_a_key_is_trusted_once() -> None:
    with pytest.raises(Invalid):
        note.verify(NOTE, [SIGNER.verifier, SIGNER.verifier])


def test_a_signature_given_twice_counts_once() -> None:
    twice = note.sign(TEXT, [SIGNER, SIGNER])
    assert note.verify(twice, [SIGNER.verifier]).verified == (SIGNER.verifier,)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**63 - 1))
def test_a_checkpoint_survives_its_text(root: bytes, size: int) -> None:
    checkpoint = Checkpoint("example.com/ledger", size, root)
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


def test_extension_lines_are_read_but_never_written() -> None:
    text = Checkpoint("ledger", 0, merkle.EMPTY_ROOT).text()
    extended = Checkpoint.parse(text + "one\ntwo\n")
    assert extended.extensions == ("one", "two")
    with pytest.raises(Invalid):
        extended.text()


ROOT = base64.b64encode(merkle.EMPTY_ROOT).decode()
BAD_CHECKPOINTS = [
    "",
    "ledger\n0\n",
    f"ledger\n0\n{ROOT}",
    f"\n0\n{ROOT}\n",
    f"ledger\n00\n{ROOT}\n",
    f"ledger\n-1\n{ROOT}\n",
    f"ledger\n+1\n{ROOT}\n",
    f"ledger\n\N{ARABIC-INDIC DIGIT ONE}\n{ROOT}\n",
    f"ledger\n{2**63}\n{ROOT}\n",
    f"ledger\n{'9' * 5000}\n{ROOT}\n",
    f"ledger\n1\n{ROOT[:-1]}\n",
    f"ledger\n1\n{ROOT[:-2]}V=\n",
    "ledger\n1\nAAAA\n",
    f"ledger\n0\n{'A' * 43}=\n",
    f"ledger\n1\n{ROOT}\n\n",
    f"ledger\n1\n{ROOT}\n\nextension\n",
]


@pytest.mark.parametrize("text", BAD_CHECKPOINTS, ids=lambda text: ascii(text)[:40])
def test_a_misshapen_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Checkpoint.parse(text)


def test_an_origin_is_one_line() -> None:
    for origin in ("", "a\nb"):
        with pytest.raises(Invalid):
            Checkpoint(origin, 1, merkle.EMPTY_ROOT)
