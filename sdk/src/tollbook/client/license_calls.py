"""The calls about licences: asking them, and leasing their seats."""

from collections.abc import Mapping
from typing import Any

from tollbook.client.calls import Call, Pages, Request, body, command, get, named
from tollbook.client.ids import in_path
from tollbook.client.inference_calls import UsageIn, usage_on_wire
from tollbook.client.license_results import (
    LeaseGranted,
    License,
    LicenseIssued,
    SeatReturned,
    SigningKey,
    Trial,
    Validation,
)
from tollbook.client.reading import TimeIn, read, time_text

FactsIn = Mapping[str, Any]
"""Facts by name: a value, or `{"value": ..., "from": "observed"}` for what is known better."""


def issue_license(
    id: str,
    *,
    customer: str,
    template: str,
    deployment: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    reference: str | None = None,
    starts_at: TimeIn | None = None,
    expires_at: TimeIn | None = None,
) -> Call[LicenseIssued]:
    """Issue a licence; its key is in the first answer alone, so one that was lost is rotated."""
    fields = {
        "customer": customer,
        "template": template,
        "deployment": deployment,
        "overrides": overrides,
        "reference": reference,
        "starts_at": None if starts_at is None else time_text(starts_at, "starts_at"),
        "expires_at": None if expires_at is None else time_text(expires_at, "expires_at"),
    }
    return command(LicenseIssued, named("issue_license", id, "lic"), "/v1/licenses", fields)


def license(id: str) -> Call[License]:
    """Return a licence as it stands; its policy, limits, keys and devices are in `raw`."""
    return get(License, f"/v1/licenses/{in_path('license', id)}")


def validate(
    model: str,
    *,
    license: str | None = None,
    license_key: str | None = None,
    usage: UsageIn | None = None,
    facts: FactsIn | None = None,
    request_hash: str | None = None,
    nonce: str | None = None,
    id: str | None = None,
) -> Call[Validation]:
    """Decide and count a request, under the licence that is named or that the key is of.

    A denial is raised as Refused. With a `nonce` the answer is `signed` as well.
    """
    fields = {"model": model, **_asked(license_key, usage, facts, request_hash, nonce)}
    name = named("validate_license", id, "val")
    return command(Validation, name, _validation_path(license), fields)


def try_validation(
    model: str,
    *,
    license: str | None = None,
    license_key: str | None = None,
    usage: UsageIn | None = None,
    facts: FactsIn | None = None,
    nonce: str | None = None,
) -> Call[Trial]:
    """Return what a validation would be answered now; nothing is recorded, and no denial raised."""
    asked = _asked(license_key, usage, facts, None, nonce)
    fields = {"model": model, "dry_run": True, **asked}
    request = Request("POST", _validation_path(license), body(fields))
    return Call(request, lambda document: read(Trial, document))


def lease(
    license: str,
    model: str,
    holder: str,
    *,
    borrow_seconds: int | None = None,
    license_key: str | None = None,
    facts: FactsIn | None = None,
    nonce: str | None = None,
    id: str | None = None,
) -> Call[LeaseGranted]:
    """Take a seat; `holder` is the thumbprint of a public key (`tollbook.lease.thumbprint`)."""
    fields = {
        "model": model,
        "holder": holder,
        "borrow_seconds": borrow_seconds,
        **_asked(license_key, None, facts, None, nonce),
    }
    return command(LeaseGranted, named("lease_seat", id, "lea"), _leases(license), fields)


def renew_lease(
    license: str,
    lease: str,
    *,
    facts: FactsIn | None = None,
    nonce: str | None = None,
    id: str | None = None,
) -> Call[LeaseGranted]:
    """Let a live lease live longer; ask at its `renew_at`."""
    path = f"{_leases(license)}/{in_path('lease', lease)}/renew"
    fields = _asked(None, None, facts, None, nonce)
    return command(LeaseGranted, named("renew_lease", id, "rls"), path, fields)


def return_lease(license: str, lease: str, *, id: str | None = None) -> Call[SeatReturned]:
    """Give a seat back before its lease expires."""
    path = f"{_leases(license)}/{in_path('lease', lease)}/return"
    return command(SeatReturned, named("return_lease", id, "ret"), path, {})


def signing_keys() -> Pages[SigningKey]:
    """Iterate over the public keys that leases and signed answers are checked with."""
    return Pages("/v1/license-keys", {}, lambda document: read(SigningKey, document))


def _asked(
    license_key: str | None,
    usage: UsageIn | None,
    facts: FactsIn | None,
    request_hash: str | None,
    nonce: str | None,
) -> dict[str, Any]:
    return {
        "license_key": license_key,
        "usage": None if usage is None else usage_on_wire(usage),
        "facts": None if facts is None else dict(facts),
        "request_hash": request_hash,
        "nonce": nonce,
    }


def _validation_path(license: str | None) -> str:
    if license is None:
        return "/v1/licenses/validate"
    return f"/v1/licenses/{in_path('license', license)}/validate"


def _leases(license: str) -> str:
    return f"/v1/licenses/{in_path('license', license)}/leases"
