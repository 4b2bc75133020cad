"""The routes of inference: reservations, quotes, usage, and many commands at once."""

from typing import Any

from domain.denials import DENIALS
from entrypoints.http import lists, many, reservations
from entrypoints.http.bodies import CLOUD_EVENT, CLOUD_EVENTS, JSON
from entrypoints.http.commanding import command
from entrypoints.http.license_commanding import licensed
from entrypoints.http.parameters import (
    AFTER_POSITION,
    CUSTOMER,
    FROM_DAY,
    LIMIT,
    MODEL,
    ORDER,
    TO_DAY,
    WAIT_FOR,
    a_text,
    one_of,
)
from entrypoints.http.roles import COMMANDING, EVERYBODY, OPERATING, QUOTING, REVIEWING, STAFF
from entrypoints.http.routing import Route
from projections import parked
from projections import reservations as reservation_view

USAGE = {"input_tokens": 1000, "output_tokens": 500}
PRICES = ("unknown_model", "unknown_unit", "volume_exceeded")

_RECORD: dict[str, Any] = {
    "customer": "acme",
    "model": "gpt4-equivalent",
    "usage": USAGE,
    "occurred_at": "2026-01-31T12:00:00Z",
}

INFERENCE = (
    Route(
        method="POST",
        path="/v1/reservations",
        summary="Hold the money for an inference, or for several",
        handler=licensed("reserve"),
        roles=OPERATING,
        body="ReserveBody",
        example={
            "id": "rsv-1",
            "customer": "acme",
            "model": "gpt4-equivalent",
            "estimate": USAGE,
        },
        answer="Hold",
        tag="reservations",
        kind="reserve",
        creates="$response.body#/id",
        codes=(
            *("insufficient_balance", "account_blocked", "usage_capped", "already_exists"),
            *("not_found", *PRICES, *(code for code in DENIALS if code != "license_seats_taken")),
        ),
    ),
    Route(
        method="POST",
        path="/v1/reservations/{reservation}/settle",
        summary="Charge what was really used; the final settlement gives the rest back",
        handler=command("settle", "reservation"),
        roles=OPERATING,
        body="SettleBody",
        example={"id": "stl-1", "usage": USAGE},
        answer="Settlement",
        tag="reservations",
        kind="settle",
        codes=("not_found", "already_settled", "already_released", *PRICES),
    ),
    Route(
        method="POST",
        path="/v1/reservations/{reservation}/extend",
        summary="Add units or time to a hold while the inference runs",
        handler=command("extend", "reservation"),
        roles=OPERATING,
        body="ExtendBody",
        example={"id": "ext-1", "estimate": {"output_tokens": 500}, "ttl_seconds": 60},
        answer="Hold",
        tag="reservations",
        kind="extend",
        codes=(
            *("not_found", "already_settled", "already_released", "expired"),
            *("insufficient_balance", "account_blocked", "usage_capped", *PRICES),
            *("license_revoked", "license_suspended", "license_expired", "license_limit_reached"),
        ),
    ),
    Route(
        method="POST",
        path="/v1/reservations/{reservation}/release",
        summary="Give a hold back without usage",
        handler=command("release", "reservation"),
        roles=OPERATING,
        body="ReleaseBody",
        example={"id": "rel-1", "reason": "the caller went away"},
        answer="Released",
        tag="reservations",
        kind="release",
        codes=("not_found", "already_settled", "already_released", "expired"),
    ),
    Route(
        method="GET",
        path="/v1/reservations/{reservation}",
        summary="A reservation as it stands now",
        handler=reservations.show,
        roles=EVERYBODY,
        answer="Reservation",
        tag="reservations",
        codes=("not_found",),
    ),
    Route(
        method="GET",
        path="/v1/reservations",
        summary="Reservations in order of their holds",
        handler=reservations.listed,
        roles=EVERYBODY,
        answer="Reservations",
        tag="reservations",
        query=(
            *(CUSTOMER, MODEL),
            one_of("status", reservation_view.STATUSES, "Only those that stand like this now."),
            *(ORDER, AFTER_POSITION, LIMIT, WAIT_FOR),
        ),
        codes=("not_found",),
    ),
    Route(
        method="POST",
        path="/v1/quotes",
        summary="What usage would cost now, and whether it would be admitted; nothing is recorded",
        handler=lists.quote,
        roles=QUOTING,
        body="QuoteRequest",
        example={"customer": "acme", "model": "gpt4-equivalent", "usage": USAGE},
        answer="Quote",
        tag="reservations",
        codes=("not_found",),
    ),
)

MANY = (
    Route(
        method="POST",
        path="/v1/commands",
        summary="Up to 1,000 commands at once, answered one by one",
        handler=many.commands,
        roles=COMMANDING,
        body="CommandsBody",
        example={
            "atomic": False,
            "commands": [
                {
                    "kind": "reserve",
                    "id": "rsv-2",
                    "customer": "acme",
                    "model": "gpt4-equivalent",
                    "estimate": USAGE,
                },
                {"kind": "settle", "id": "stl-2", "reservation": "rsv-2", "usage": USAGE},
            ],
        },
        answer="Results",
        tag="commands",
        many=True,
        codes=("overloaded", "unknown"),
    ),
    Route(
        method="POST",
        path="/v1/usage",
        summary="Usage records as CloudEvents, one or a batch of up to 1,000, answered one by one",
        handler=many.usage,
        roles=OPERATING,
        body="UsageEvent",
        example={
            "specversion": "1.0",
            "type": "tollbook.usage.v1",
            "source": "/gateway/eu-1",
            "id": "inference-1",
            "subject": "acme",
            "data": _RECORD,
        },
        answer="UsageResults",
        tag="usage",
        many=True,
        media_types=(CLOUD_EVENT, JSON, CLOUD_EVENTS),
        codes=("overloaded", "unknown"),
    ),
    Route(
        method="GET",
        path="/v1/usage",
        summary="Usage by customer, model and day of the customer's zone",
        handler=lists.listed_usage,
        roles=EVERYBODY,
        answer="UsageDays",
        tag="usage",
        query=(
            *(CUSTOMER, MODEL, FROM_DAY, TO_DAY),
            a_text("after", "The `next` of the page before; without it, the first page."),
            *(LIMIT, WAIT_FOR),
        ),
        codes=("not_found",),
    ),
    Route(
        method="GET",
        path="/v1/usage/parked",
        summary="Usage records that no rule let be charged at once",
        handler=lists.listed_parked,
        roles=STAFF,
        answer="ParkedRecords",
        tag="usage",
        query=(
            *(CUSTOMER, MODEL),
            a_text("code", "Only those that were parked for this reason."),
            one_of("status", parked.STATUSES, "Only those that stand like this."),
            *(AFTER_POSITION, LIMIT, WAIT_FOR),
        ),
    ),
    Route(
        method="POST",
        path="/v1/usage/parked",
        summary="Park a usage record by hand, before it is charged",
        handler=command("park_usage"),
        roles=REVIEWING,
        body="ParkUsageBody",
        example={
            "id": "inference-2",
            "source": "/gateway/eu-1",
            **_RECORD,
            "reason": "the meter was being repaired",
        },
        answer="Parked",
        tag="usage",
        kind="park_usage",
    ),
    Route(
        method="GET",
        path="/v1/usage/parked/{parked}",
        summary="A parked usage record, and what became of it",
        handler=lists.parked_record,
        roles=STAFF,
        answer="ParkedRecord",
        tag="usage",
        query=(WAIT_FOR,),
        codes=("not_found",),
    ),
    Route(
        method="POST",
        path="/v1/usage/parked/{parked}/release",
        summary="Decide a parked usage record again; it is charged once, however often",
        handler=command("release_usage", "parked"),
        roles=REVIEWING,
        body="ReleaseUsageBody",
        example={"id": "rlu-1"},
        answer="ReleasedUsage",
        tag="usage",
        kind="release_usage",
        codes=(
            *("not_found", "already_released", "already_settled", "plan_forbids"),
            *("unknown_customer", "unknown_reservation", "reservation_mismatch"),
            *("occurred_at_out_of_range", "told_before", *PRICES),
        ),
    ),
)
