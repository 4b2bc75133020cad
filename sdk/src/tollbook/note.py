"""Signed notes (C2SP signed-note): a short text and the Ed25519 signatures under it.

    the text, ending in a newline
    <an empty line>
    — <key name> <base64 of key id and signature>

A verifier names the keys it trusts. Signatures by other keys are ignored; a signature that claims
a trusted key and does not hold spoils the whole note; without a trusted one a note is worthless.
docs/formats/signed-note.md is the specification, with test vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from tollbook import strict_base64
from tollbook.errors import Invalid, Tampered

MAX_NOTE_BYTES = 1_048_576
MAX_SIGNATURES = 100

_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_SIGNATURE_MARK = "\N{EM DASH} "
_PRIVATE_PREFIX = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with its name: what a customer keeps to check notes."""

    name: str
    public_key: Ed25519PublicKey

    def __post_init__(self) -> None:
        _check_name(self.name)

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a key of the form ``name+id+base64(0x01 and 32 bytes)``."""
        name, claimed, material = _split_key(vkey, "verifier key")
        verifier = cls(name, Ed25519PublicKey.from_public_bytes(material))
        if verifier.key_id.hex() != claimed:
            raise _malformed("verifier key", f"of the id that it has, {verifier.key_id.hex()}")
        return verifier

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand for this key in a signature line."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public_key.public_bytes_raw()
        return sha256(named).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        material = _ED25519 + self.public_key.public_bytes_raw()
        return f"{self.name}+{self.key_id.hex()}+{strict_base64.encode(material)}"


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """A private key with its name; it is never shown, only exported on purpose."""

    name: str
    private_key: Ed25519PrivateKey

    def __post_init__(self) -> None:
        _check_name(self.name)

    @classmethod
    def generate(cls, name: str) -> Self:
        """Make a new key."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, skey: str) -> Self:
        """Read a key of the form ``PRIVATE+KEY+name+id+base64(0x01 and 32 bytes)``."""
        # No message here shows the text, for it is a secret.
        if not skey.startswith(_PRIVATE_PREFIX):
            raise _malformed("signer key", f"text that begins with {_PRIVATE_PREFIX}")
        name, claimed, material = _split_key(skey[len(_PRIVATE_PREFIX) :], "signer key")
        signer = cls(name, Ed25519PrivateKey.from_private_bytes(material))
        if signer.verifier.key_id.hex() != claimed:
            raise _malformed("signer key", "of the id that it has")
        return signer

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.name, self.private_key.public_key())

    def export(self) -> str:
        """Return the secret text of this key, to be kept in a file that nobody else reads."""
        material = strict_base64.encode(_ED25519 + self.private_key.private_bytes_raw())
        return f"{_PRIVATE_PREFIX}{self.name}+{self.verifier.key_id.hex()}+{material}"

    def __repr__(self) -> str:
        return f"Signer({self.verifier})"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that at least one trusted key has signed, and the keys that did."""

    text: str
    verified: tuple[Verifier, ...]


def sign(text: str, signers: Sequence[Signer]) -> bytes:
    """Write the note of this text, signed by every signer in order."""
    if not 0 < len(signers) <= MAX_SIGNATURES:
        raise Invalid.because("signers", len(signers), f"from 1 to {MAX_SIGNATURES}")
    _check_text(text)
    lines = []
    for signer in signers:
        signature = signer.verifier.key_id + signer.private_key.sign(text.encode())
        encoded = strict_base64.encode(signature)
        lines.append(f"{_SIGNATURE_MARK}{signer.name} {encoded}\n")
    data = f"{text}\n{''.join(lines)}".encode()
    if len(data) > MAX_NOTE_BYTES:
        raise Invalid.because("note length", len(data), f"at most {MAX_NOTE_BYTES} bytes")
    return data


def verify(data: bytes, trusted: Sequence[Verifier]) -> Note:
    """Open a note; raise ``Tampered`` unless a trusted key has signed it and all such hold."""
    keys = {(key.name, key.key_id): key for key in trusted}
    if len(keys) != len(trusted):
        raise Invalid.because("trusted keys", len(trusted), "different in name or id")
    text, signatures = _split_note(data)
    verified: list[Verifier] = []
    for name, key_id, signature in signatures:
        key = keys.get((name, key_id))
        if key is None:
            continue
        try:
            key.public_key.verify(signature, text.encode())
        except InvalidSignature:
            raise Tampered(
                f"the signature by {name} does not hold", code="signature_broken", key=str(key)
            ) from None
        if key not in verified:
            verified.append(key)
    if not verified:
        raise Tampered("no trusted key has signed this note", code="signature_missing")
    return Note(text, tuple(verified))


def _split_note(data: bytes) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    if len(data) > MAX_NOTE_BYTES:
        raise Invalid.because("note length", len(data), f"at most {MAX_NOTE_BYTES} bytes")
    try:
        message = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid.because("note", data, f"UTF-8 ({error})") from None
    # The last empty line separates, because the text may have empty lines of its own.
    head, separator, tail = message.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise Invalid.because("note", message, "a text, an empty line and signature lines")
    text = head + "\n"
    _check_text(text)
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise Invalid.because("signatures", len(lines), f"at most {MAX_SIGNATURES}")
    return text, [_split_signature(line) for line in lines]


def _split_signature(line: str) -> tuple[str, bytes, bytes]:
    name, space, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
    if not line.startswith(_SIGNATURE_MARK) or not space:
        raise Invalid.because("signature line", line, "an em dash, a key name and base64")
    _check_name(name)
    blob = strict_base64.decode(encoded, "signature line")
    if len(blob) <= _KEY_ID_BYTES:
        raise Invalid.because("signature line", line, "a key id and a signature")
    return name, blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:]


def _split_key(text: str, field: str) -> tuple[str, str, bytes]:
    """Split a key without its prefix; base64 may itself hold a plus, a name may not."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    blob = strict_base64.decode(encoded, field)
    if blob[:1] != _ED25519 or len(blob) != 33:
        raise _malformed(field, "name+id+base64 of an Ed25519 key (type 0x01)")
    return name, key_id, blob[1:]


def _check_name(name: str) -> None:
    spaced = any(character.isspace() or character < " " for character in name)
    if not name or spaced or "+" in name or not _is_encodable(name):
        raise Invalid.because("key name", name, "not empty and without spaces and plus signs")


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise Invalid.because("note text", text, "text that ends in a newline")
    controlled = any(character < " " and character != "\n" for character in text)
    if controlled or not _is_encodable(text):
        raise Invalid.because("note text", text, "free of control characters and lone surrogates")


def _is_encodable(text: str) -> bool:
    return text.encode(errors="ignore").decode() == text


def _malformed(field: str, rule: str) -> Invalid:
    # The value stays out of the message, because it may be a secret.
    return Invalid(f"the {field} must be {rule}", field=field, rule=rule)
