"""Signing: Ed25519 by libsodium, which signs in less than half of OpenSSL's time."""

from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_seed_keypair


class Ed25519Signer:
    """Signs with the key of a seed; the signatures are the same bytes whoever makes them."""

    __slots__ = ("_secret",)

    def __init__(self, seed: bytes) -> None:
        """Take the seed of 32 bytes (RFC 8032's private key)."""
        self._secret = crypto_sign_seed_keypair(seed)[1]

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        return crypto_sign(message, self._secret)[:crypto_sign_BYTES]
