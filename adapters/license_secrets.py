"""The secrets of licences: how keys and hardware are hashed, and what signs leases and decisions.

All are derived from the master key, so none is in the database; a hash found there or in a backup
opens nothing and cannot be guessed at, however few values a serial number can have.
"""

import hmac
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tollbook import license_key, paseto
from tollbook.errors import Invalid
from tollbook.tokens import SigningKey, TrustedKeys

from adapters import master_key
from adapters.master_key import Run
from adapters.signing import Ed25519Signer

HASH_CHARACTERS = 32
COMPONENT_TEXT_MAX = 1000
EPOCH_MAX = 1000

_KEYS_LABEL = "tollbook license keys v1"
_COMPONENTS_LABEL = "tollbook license components v1"
_SIGNING_LABEL = "tollbook license signing v1"


class LicenseSecrets:
    """Hashes licence keys and hardware, and holds the key that signs for this ledger."""

    def __init__(
        self, run: Run, master: bytes | None, *, epoch: int = 1, oldest_epoch: int = 1
    ) -> None:
        """Use a query function, the ledger's master key, and the signing key's epoch.

        To change the signing key, raise the epoch; tokens of earlier epochs still hold, down to the
        oldest one. A master key that is missing or wrong is Unavailable at first use.
        """
        if not 1 <= oldest_epoch <= epoch <= EPOCH_MAX:
            rule = f"from 1 to {EPOCH_MAX}, and none before the oldest that still holds"
            raise Invalid.because("epoch", epoch, rule)
        self._run = run
        self._given = master
        self._epochs = range(oldest_epoch, epoch + 1)

    def key_hash(self, text: str) -> str:
        """Return the keyed hash of a licence key; raises Invalid for text that is none."""
        license_key.check(text)
        return _short_hash(self._key_pepper, text.encode())

    def component_hash(self, license_id: str, name: str, value: str) -> str:
        """Return the keyed hash of a hardware component of a machine.

        It differs from licence to licence, so that nobody who reads the ledger can follow a machine
        from one customer to another; within a licence it tells whether the machine is the same.
        """
        pieces = [_encoded(text) for text in (license_id, name, value)]
        return _short_hash(self._component_pepper, paseto.encode_pieces(*pieces))

    @cached_property
    def signing_key(self) -> SigningKey:
        """The key that signs leases and decisions now."""
        return self._key_of(self._epochs[-1])

    def public_keys(self) -> list[bytes]:
        """Return the raw public keys whose tokens hold, the newest first."""
        return [self._key_of(epoch).public_key for epoch in reversed(self._epochs)]

    @cached_property
    def trusted_keys(self) -> TrustedKeys:
        """The same keys, ready to verify with."""
        return TrustedKeys(self.public_keys())

    @cached_property
    def _master_key(self) -> bytes:
        given = master_key.needed(self._given, "licences")
        master_key.compare(self._run, given)
        return given

    @cached_property
    def _key_pepper(self) -> hmac.HMAC:
        return self._pepper(_KEYS_LABEL)

    @cached_property
    def _component_pepper(self) -> hmac.HMAC:
        return self._pepper(_COMPONENTS_LABEL)

    def _pepper(self, label: str) -> hmac.HMAC:
        # Kept begun: the one-shot function lets go of the interpreter, and waits to have it back.
        return hmac.new(master_key.derive(self._master_key, label), digestmod="sha256")

    def _key_of(self, epoch: int) -> SigningKey:
        seed = master_key.derive(self._master_key, f"{_SIGNING_LABEL} epoch {epoch}")
        return SigningKey(Ed25519PrivateKey.from_private_bytes(seed), Ed25519Signer(seed))


def _encoded(text: str) -> bytes:
    try:
        if 0 < len(text) <= COMPONENT_TEXT_MAX:
            return text.encode()
    except UnicodeEncodeError:
        pass
    rule = f"text of 1 to {COMPONENT_TEXT_MAX} characters without lone surrogates"
    raise Invalid(f"a component must be {rule}", field="hardware", rule=rule)


def _short_hash(begun: hmac.HMAC, data: bytes) -> str:
    hashing = begun.copy()
    hashing.update(data)
    return hashing.hexdigest()[:HASH_CHARACTERS]
