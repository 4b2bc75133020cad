"""The SDK's client and licences, against the real server."""

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tollbook import lease, signed_decision
from tollbook.client import Client, LicenseIssued, Validation
from tollbook.errors import Refused
from tollbook.times import SECOND, parse_instant
from tollbook.tokens import TrustedKeys

from tests.http.licensing import MODEL, NONCE, fresh, one_limit
from tests.support.ledger import USAGE
from tests.support.serving import Served


def test_a_program_asks_leases_and_checks_with_the_client(
    served: Served, api: httpx.Client, customer: str
) -> None:
    with Client(served.url, key=served.key()) as client:
        terms = {"limits": one_limit(3)["limits"], "seats": 1}
        made = client.issue_license(
            fresh("lic"),
            customer=customer,
            template="professional",
            deployment="on_premise",
            overrides=terms,
        )
        assert made.license_key is not None
        assert made.license_key not in repr(made)
        where = {"channel": "on_premise"}
        first = client.validate(MODEL, license_key=made.license_key, facts=where, nonce=NONCE)
        assert (first.admitted, first.license, first.priority) == (True, made.license, 5)
        keys = TrustedKeys(bytes.fromhex(each.public_key) for each in client.signing_keys())
        signed = signed_decision.verify(first.signed or "", keys, NONCE)
        assert signed.answer == {name: first.raw[name] for name in first.raw if name != "signed"}
        trial = client.try_validation(MODEL, license=made.license, facts=where)
        assert (trial.admitted, trial.why) == (True, None)
        holder = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        leased = client.lease(made.license, MODEL, lease.thumbprint(holder))
        renewed = client.renew_lease(made.license, leased.lease)
        now = parse_instant(renewed.raw["expires_at"], "expires_at") - 60 * SECOND
        lease.verify(renewed.token, keys, holder, now, license=made.license, model=MODEL)
        assert client.return_lease(made.license, leased.lease).lease == leased.lease
        held = client.reserve(
            customer, MODEL, USAGE, license_key=made.license_key, facts=where, nonce=NONCE
        )
        assert held.raw["remaining"][0]["remaining"] == 1
        client.settle(held.id, USAGE, response_hash="0c" * 32)
        client.validate(MODEL, license=made.license, facts=where)
        with pytest.raises(Refused) as denied:
            client.validate(MODEL, license=made.license, facts=where)
        assert denied.value.code == "license_limit_reached"
        trial = client.try_validation(MODEL, license=made.license, facts=where)
        assert trial.admitted is False
        assert (trial.why or {})["code"] == "license_limit_reached"
        assert client.license(made.license).status == "active"


def test_a_batch_is_read_as_the_methods_read_it(served: Served, customer: str) -> None:
    with Client(served.url, key=served.key()) as client:
        name = fresh("lic")
        issued, asked = client.commands(
            [
                {"kind": "issue_license", "id": name, "customer": customer, "template": "free"},
                {
                    "kind": "validate_license",
                    "license": name,
                    "model": MODEL,
                    "facts": {"watermark": "applied"},
                },
            ]
        )
        made = issued.done()
        assert isinstance(made, LicenseIssued)
        assert made.key_shown
        answer = asked.done()
        assert isinstance(answer, Validation)
        assert answer.watermark == "required"
        # Asked about by its id, a command answers the same, but for the key.
        again = client.outcome("issue_license", name, customer=customer).done()
        assert isinstance(again, LicenseIssued)
        assert (again.key_shown, again.license_key) == (False, None)
        same = client.outcome("validate_license", answer.id, customer=customer).done()
        assert same == answer
