"""PASETO v4.public: what verifies, and that nothing else does."""

import string

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tollbook import paseto
from tollbook.errors import Invalid, Tampered

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC = KEY.public_key()
TOKEN = paseto.sign(b'{"data":"paid"}', KEY, footer=b"kid-1", implicit=b"for-1")

binaries = st.binary(max_size=60)


def is_signed(text: str, implicit: bytes = b"for-1") -> bool:
    """Tell whether a token verifies; whatever else is raised fails the test."""
    try:
        paseto.verify(text, PUBLIC, implicit=implicit)
    except (Invalid, Tampered):
        return False
    return True


@given(binaries, st.binary(max_size=paseto.MAX_FOOTER_BYTES), binaries)
def test_a_signed_message_comes_back(message: bytes, footer: bytes, implicit: bytes) -> None:
    text = paseto.sign(message, KEY, footer=footer, implicit=implicit)
    opened = paseto.verify(text, PUBLIC, implicit=implicit)
    assert (opened.message, opened.footer) == (message, footer)
    assert text == paseto.sign(message, KEY, footer=footer, implicit=implicit)


def test_no_changed_character_verifies() -> None:
    """Among them are the other spellings of the last base64 characters."""
    assert is_signed(TOKEN)
    for place in range(len(TOKEN)):
        for character in string.ascii_letters + string.digits + "-_.=+/ \n\ud800é":
            changed = TOKEN[:place] + character + TOKEN[place + 1 :]
            assert is_signed(changed) == (changed == TOKEN), (place, character)


def test_no_piece_and_no_longer_text_verifies() -> None:
    for end in range(len(TOKEN)):
        assert not is_signed(TOKEN[:end])
        assert not is_signed(TOKEN[end + 1 :])
    for more in ("=", "==", ".", "A", "\n", " ", "." + TOKEN, ".AAAA"):
        assert not is_signed(TOKEN + more)


def test_the_footer_can_be_neither_cut_off_nor_added() -> None:
    assert not is_signed(TOKEN.rpartition(".")[0])
    bare = paseto.sign(b"{}", KEY, implicit=b"for-1")
    assert is_signed(bare)
    assert not is_signed(bare + ".a2lkLTE")
    assert not is_signed(bare + ".")


@pytest.mark.parametrize("implicit", [b"", b"for-2", b"for-1 ", b"for-"])
def test_another_implicit_assertion_does_not_hold(implicit: bytes) -> None:
    assert not is_signed(TOKEN, implicit)


def test_bytes_cannot_move_between_message_footer_and_assertion() -> None:
    signed = paseto.parse(TOKEN)
    for message, footer, implicit in [
        (signed.message + b"k", b"id-1", b"for-1"),
        (signed.message, b"kid-1f", b"or-1"),
        (signed.message[:-1], b"}kid-1", b"for-1"),
    ]:
        moved = paseto.Token(message, signed.signature, footer)
        assert not paseto.holds(moved, PUBLIC, implicit)


@pytest.mark.parametrize(
    "header",
    ["v1.public.", "v2.public.", "v3.public.", "v5.public.", "v4.local.", "V4.public.", "v4.", ""],
)
def test_the_token_cannot_choose_the_algorithm(header: str) -> None:
    with pytest.raises(Invalid, match="begins with v4"):
        paseto.verify(header + TOKEN[len(paseto.HEADER) :], PUBLIC, implicit=b"for-1")


def test_another_key_does_not_verify() -> None:
    with pytest.raises(Tampered) as refused:
        paseto.verify(TOKEN, OTHER.public_key(), implicit=b"for-1")
    assert refused.value.code == "token_tampered"


def test_sizes_are_bounded_on_both_ways() -> None:
    most = (paseto.MAX_TOKEN_BYTES - len(paseto.HEADER)) * 3 // 4 - 64
    assert is_signed(paseto.sign(bytes(most), KEY, implicit=b"for-1"))
    with pytest.raises(Invalid, match="token length"):
        paseto.sign(bytes(most + 1), KEY)
    with pytest.raises(Invalid, match="footer length"):
        paseto.sign(b"", KEY, footer=bytes(paseto.MAX_FOOTER_BYTES + 1))
    too_long = paseto.HEADER + "A" * paseto.MAX_TOKEN_BYTES
    long_footer = TOKEN.rpartition(".")[0] + "." + "A" * (paseto.MAX_FOOTER_BYTES * 2)
    for text in (too_long, long_footer, paseto.HEADER, paseto.HEADER + "AAAA", ""):
        with pytest.raises(Invalid) as refused:
            paseto.parse(text)
        assert refused.value.code == "token_malformed"


@given(st.text(max_size=200) | st.text("AZaz09-_.=", max_size=200))
def test_hostile_text_is_refused_and_never_shown(text: str) -> None:
    for token in (text, paseto.HEADER + text):
        with pytest.raises((Invalid, Tampered)) as refused:
            paseto.verify(token, PUBLIC)
        assert refused.value.code in ("token_malformed", "token_tampered")
        assert len(text) < 12 or text not in str(refused.value.problem())


def test_pieces_are_encoded_as_the_specification_says() -> None:
    assert paseto.encode_pieces() == bytes(8)
    assert paseto.encode_pieces(b"") == b"\x01" + bytes(15)
    assert paseto.encode_pieces(b"", b"") == b"\x02" + bytes(23)
    assert paseto.encode_pieces(b"Paragon") == b"\x01" + bytes(7) + b"\x07" + bytes(7) + b"Paragon"


pieces = st.lists(st.binary(max_size=10), max_size=4)


@given(pieces, pieces)
def test_two_lists_of_pieces_never_look_alike(one: list[bytes], other: list[bytes]) -> None:
    alike = paseto.encode_pieces(*one) == paseto.encode_pieces(*other)
    assert alike == (one == other)
