"""The routes by which licences are used: decisions, leases of seats, and what was decided."""

from domain.denials import DENIALS
from entrypoints.http import license_commanding, license_reads
from entrypoints.http.license_commanding import licensed
from entrypoints.http.parameters import AFTER_POSITION, LIMIT, WAIT_FOR, a_text, one_of, position
from entrypoints.http.roles import EVERYBODY, USING
from entrypoints.http.routing import Route
from projections import decisions, devices

_DENIED = ("not_found", "already_exists", *(code for code in DENIALS if "seats" not in code))
_MODEL = "gpt4-equivalent"
_HOLDER = "0a" * 32
_KEY = "tb_license_aaaqeayeaudaocajbifqydiob4ibceqt_79eddcb8"
_FACTS = {"address": {"value": "192.0.2.7", "from": "observed"}, "model_version": "4.1.0"}

USE = (
    Route(
        method="POST",
        path="/v1/licenses/validate",
        summary="Decide and count a request under the licence of a key",
        handler=license_commanding.validate,
        roles=USING,
        body="ValidateByKeyBody",
        example={"id": "val-1", "license_key": _KEY, "model": _MODEL},
        answer="Validation",
        tag="licenses",
        kind="validate_license",
        codes=_DENIED,
    ),
    Route(
        method="POST",
        path="/v1/licenses/{license}/validate",
        summary="Decide and count a request under a licence, without money",
        handler=license_commanding.validate,
        roles=USING,
        body="ValidateLicenseBody",
        example={"id": "val-1", "model": _MODEL, "facts": _FACTS, "nonce": "0123456789abcdef"},
        answer="Validation",
        tag="licenses",
        kind="validate_license",
        codes=_DENIED,
    ),
    Route(
        method="GET",
        path="/v1/licenses/{license}",
        summary="A licence as it stands now: policy, limits, keys, devices and leases",
        handler=license_reads.show,
        roles=EVERYBODY,
        answer="License",
        tag="licenses",
        codes=("not_found",),
    ),
    Route(
        method="POST",
        path="/v1/licenses/{license}/leases",
        summary="Take a seat for the key of a holder; the lease is a signed token",
        handler=licensed("lease_seat", "license"),
        roles=USING,
        body="LeaseSeatBody",
        example={"id": "lease-1", "model": _MODEL, "holder": _HOLDER},
        answer="LeaseGranted",
        tag="licenses",
        kind="lease_seat",
        creates="$response.body#/lease",
        codes=(*_DENIED, "license_seats_taken", "license_borrow_denied"),
    ),
    Route(
        method="GET",
        path="/v1/licenses/{license}/leases/{lease}",
        summary="A lease, live or over",
        handler=license_reads.lease,
        roles=EVERYBODY,
        answer="Lease",
        tag="licenses",
        codes=("not_found",),
    ),
    Route(
        method="POST",
        path="/v1/licenses/{license}/leases/{lease}/renew",
        summary="Let a live lease live longer; the answer has its next token",
        handler=licensed("renew_lease", "license", "lease"),
        roles=USING,
        body="RenewLeaseBody",
        example={"id": "rls-1"},
        answer="LeaseGranted",
        tag="licenses",
        kind="renew_lease",
        codes=(*_DENIED, "license_seats_taken", "license_lease_ended"),
    ),
    Route(
        method="POST",
        path="/v1/licenses/{license}/leases/{lease}/return",
        summary="Give a seat back before the lease expires",
        handler=licensed("return_lease", "license", "lease"),
        roles=USING,
        body="ReturnLeaseBody",
        example={"id": "ret-1"},
        answer="SeatReturned",
        tag="licenses",
        kind="return_lease",
        codes=("not_found", "license_lease_ended"),
    ),
    Route(
        method="GET",
        path="/v1/licenses/{license}/devices",
        summary="The machines on which a licence was activated, in that order",
        handler=license_reads.listed_devices,
        roles=EVERYBODY,
        answer="Devices",
        tag="licenses",
        query=(
            one_of("status", devices.STATUSES, "Only those that stand like this now."),
            *(AFTER_POSITION, LIMIT, WAIT_FOR),
        ),
        codes=("not_found",),
    ),
    Route(
        method="GET",
        path="/v1/licenses/{license}/seats",
        summary="The leases of a licence, in order of their grant",
        handler=license_reads.listed_seats,
        roles=EVERYBODY,
        answer="Seats",
        tag="licenses",
        query=(
            one_of("status", ("live",), "Only those that have a seat now."),
            *(AFTER_POSITION, LIMIT, WAIT_FOR),
        ),
        codes=("not_found",),
    ),
    Route(
        method="GET",
        path="/v1/licenses/{license}/decisions",
        summary="What was decided under a licence, the newest first",
        handler=license_reads.listed_decisions,
        roles=EVERYBODY,
        answer="Decisions",
        tag="licenses",
        query=(
            one_of("status", decisions.STATUSES, "Only those that ended like this."),
            a_text("code", "Only those that were denied under this code."),
            position("after", "The `next` of the page before; without it, the newest."),
            *(LIMIT, WAIT_FOR),
        ),
        codes=("not_found",),
    ),
)
