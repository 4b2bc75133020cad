"""The routes of a licence's life, and of the policy templates that licences begin with."""

from typing import Any

from domain.denials import DENIALS
from entrypoints.http import license_commanding, license_reads
from entrypoints.http.commanding import command
from entrypoints.http.license_commanding import licensed
from entrypoints.http.license_use_routes import USE
from entrypoints.http.parameters import (
    AFTER_POSITION,
    CUSTOMER,
    LIMIT,
    ORDER,
    WAIT_FOR,
    a_text,
    an_id,
    one_of,
    whole,
)
from entrypoints.http.roles import ADMINS, EVERYBODY, OPERATING, STAFF, USING
from entrypoints.http.routing import Route
from projections import licenses

WITHIN_MAX = 10 * 366 * 86_400
_IN_FORCE = tuple(code for code in DENIALS if code in ("license_revoked", "license_suspended"))


def _life(
    word: str, kind: str, summary: str, answer: str, example: dict[str, Any], *codes: str
) -> Route:
    """Declare a step in the life of a licence, which an admin takes."""
    name = "".join(part.capitalize() for part in kind.split("_"))
    return Route(
        method="POST",
        path=f"/v1/licenses/{{license}}/{word}",
        summary=summary,
        handler=licensed(kind, "license"),
        roles=ADMINS,
        body=f"{name}Body",
        example={"id": f"{word}-1", **example},
        answer=answer,
        tag="licenses",
        kind=kind,
        codes=("not_found", *codes),
    )


_REASON = {"reason": "the invoice is not paid"}

_EXPIRING = Route(
    method="GET",
    path="/v1/licenses/expiring",
    summary="Active licences whose end is near or past, while grace lasts; the nearest first",
    handler=license_reads.expiring,
    roles=STAFF,
    answer="LicensesExpiring",
    tag="licenses",
    query=(
        whole(
            "within",
            "Whose end comes within so many seconds from now.",
            0,
            WITHIN_MAX,
            license_reads.WITHIN_DEFAULT,
        ),
        a_text("after", "The `next` of the page before; without it, the first page."),
        *(LIMIT, WAIT_FOR),
    ),
)

_LIFE = (
    Route(
        method="POST",
        path="/v1/licenses",
        summary="Issue a licence; its key is in this answer, and never again",
        handler=licensed("issue_license"),
        roles=ADMINS,
        body="IssueLicenseBody",
        example={
            "id": "lic-1",
            "customer": "acme",
            "template": "professional",
            "deployment": "hybrid",
            "reference": "order 4711",
            "overrides": {"seats": 10},
        },
        answer="LicenseIssued",
        tag="licenses",
        kind="issue_license",
        creates="$response.body#/license",
        codes=("not_found", "already_exists"),
    ),
    Route(
        method="GET",
        path="/v1/licenses",
        summary="Licences in order of their issue",
        handler=license_reads.listed,
        roles=EVERYBODY,
        answer="Licenses",
        tag="licenses",
        query=(
            CUSTOMER,
            one_of("status", licenses.STATUSES, "Only those that stand like this now."),
            *(ORDER, AFTER_POSITION, LIMIT, WAIT_FOR),
        ),
        codes=("not_found",),
    ),
    _life(
        "renew",
        "renew_license",
        "Give a licence a later end; one that has expired comes back to life",
        "LicenseRenewed",
        {"expires_at": "2030-01-01T00:00:00Z"},
        "license_revoked",
    ),
    _life(
        "upgrade",
        "upgrade_license",
        "Put a licence on the newest version of a template, with these overrides and no others",
        "LicenseUpgraded",
        {"template": "enterprise"},
        "license_revoked",
    ),
    _life(
        "suspend",
        "suspend_license",
        "Stop a licence until it is reinstated",
        "LicenseStatus",
        _REASON,
        *_IN_FORCE,
    ),
    _life(
        "reinstate",
        "reinstate_license",
        "Let a suspended licence admit again",
        "LicenseStatus",
        {"reason": "paid"},
        *("license_revoked", "license_not_suspended"),
    ),
    _life(
        "revoke",
        "revoke_license",
        "End a licence for ever",
        "LicenseStatus",
        _REASON,
        "license_revoked",
    ),
    _life(
        "expire",
        "expire_license",
        "Book that a licence has come to its end, grace included",
        "LicenseStatus",
        {},
        "license_not_expired",
    ),
    _life(
        "rotate",
        "rotate_license_key",
        "Give a licence a new key, shown once; the older ones live on for the overlap",
        "LicenseKeyRotated",
        {"overlap_seconds": 3600},
        "license_revoked",
    ),
    Route(
        method="POST",
        path="/v1/licenses/{license}/activate",
        summary="Activate a licence on a machine, whose components are kept as keyed hashes",
        handler=licensed("activate_license", "license"),
        roles=USING,
        body="ActivateLicenseBody",
        example={"id": "dev-1", "components": {"mac": "02:00:00:00:00:01"}},
        answer="DeviceDone",
        tag="licenses",
        kind="activate_license",
        codes=(
            *("not_found", "already_exists", "license_devices_taken", "license_channel_denied"),
            *(*_IN_FORCE, "license_expired"),
        ),
    ),
    Route(
        method="POST",
        path="/v1/licenses/{license}/devices/{device}/deactivate",
        summary="Free the place of a machine",
        handler=command("deactivate_license", "license", "device"),
        roles=OPERATING,
        body="DeactivateLicenseBody",
        example={"id": "dea-1"},
        answer="DeviceDone",
        tag="licenses",
        kind="deactivate_license",
        codes=("not_found", "license_device_unknown"),
    ),
)

_POLICIES = (
    Route(
        method="POST",
        path="/v1/policies",
        summary="Publish the next version of a policy template; licences sold keep theirs",
        handler=license_commanding.publish_policy,
        roles=ADMINS,
        body="PublishPolicyBody",
        example={"id": "pol-1", "name": "team", "policy": {"models": ["*"], "seats": 3}},
        answer="PolicyDone",
        tag="policies",
        kind="publish_policy",
        creates="$response.body#/name",
    ),
    Route(
        method="GET",
        path="/v1/policies",
        summary="The newest version of every policy template, in order of name",
        handler=license_reads.listed_policies,
        roles=STAFF,
        answer="Policies",
        tag="policies",
        query=(an_id("after", "Only names behind this one."), LIMIT),
    ),
    Route(
        method="GET",
        path="/v1/policies/{policy}",
        summary="A policy template with all its versions",
        handler=license_reads.policy,
        roles=STAFF,
        answer="Policy",
        tag="policies",
        codes=("not_found",),
    ),
    Route(
        method="GET",
        path="/v1/license-keys",
        summary="The public keys that leases and signed answers are checked with, newest first",
        handler=license_reads.signing_keys,
        roles=EVERYBODY,
        answer="SigningKeys",
        tag="licenses",
    ),
)

LICENSES = (_EXPIRING, *USE, *_LIFE, *_POLICIES)
"""Words that stand where a licence's id stands come first."""
