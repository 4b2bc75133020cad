"""The epoch of the signing key: raised by a setting, while tokens of the older keys still hold."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tollbook import lease
from tollbook.errors import Tampered
from tollbook.times import SECOND, parse_instant
from tollbook.tokens import TrustedKeys

from tests.support.shell import Shell

EPOCH, OLDEST = "TOLLBOOK_SIGNING_EPOCH", "TOLLBOOK_SIGNING_EPOCH_OLDEST"
HOLDER = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()


def verify(taken: dict[str, Any], keys: str) -> str:
    """Return the id of a lease that these keys verify."""
    now = parse_instant(taken["expires_at"], "expires_at") - SECOND
    asked = {"license": "seated", "model": "small"}
    return lease.verify(taken["token"], TrustedKeys.parse(keys), HOLDER, now, **asked).id


def test_a_new_epoch_signs_and_the_old_ones_hold_until_they_are_left(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = ("--customer", "ada", "--template", "professional", "--deployment", "on_premise")
    shell.text("license", "issue", "seated", *issued)
    take = ("license", "lease", "seated", "--model", "small", "--holder-key", HOLDER.hex())
    first = shell.json(*take, "--lease", "lease-1")
    shown = ("license", "signing-keys")
    old = shell.text(*shown)
    monkeypatch.setenv(EPOCH, "2")
    both = shell.text(*shown)
    assert (len(both.splitlines()), both.splitlines()[1]) == (2, old.strip())
    second = shell.json(*take, "--lease", "lease-2")
    assert [verify(each, both) for each in (first, second)] == ["lease-1", "lease-2"]
    with pytest.raises(Tampered):
        verify(second, old)
    monkeypatch.setenv(OLDEST, "2")
    new = shell.text(*shown)
    assert verify(second, new) == "lease-2"
    with pytest.raises(Tampered):
        verify(first, new)


@pytest.mark.parametrize(
    ("epoch", "oldest", "field"),
    [("0", "1", "epoch"), ("1", "2", "epoch"), ("1001", "1", "epoch"), ("two", "1", EPOCH)],
)
def test_epochs_that_make_no_sense_are_wrong_usage(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, epoch: str, oldest: str, field: str
) -> None:
    monkeypatch.setenv(EPOCH, epoch)
    monkeypatch.setenv(OLDEST, oldest)
    problem = shell.json("license", "signing-keys", code=2)
    assert (problem["code"], problem["field"]) == ("invalid", field)
