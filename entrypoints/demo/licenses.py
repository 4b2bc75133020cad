"""The demo's licences: one per customer, asked in every reservation; and one that is revoked."""

from collections.abc import Iterator
from typing import NamedTuple

from application.answers import Answer
from application.jobs import Item
from application.license_desk import LicenseDesk
from application.tollbook import Tollbook
from domain.command import Command
from domain.commands import parse
from domain.license_commands import RevokeLicense, ValidateLicense

TEMPLATE = "professional"
OVERRIDES = {
    "limits": [{"id": "day", "unit": "requests", "limit": 1_000_000_000, "per": "day"}],
}
"""A limit that counts every inference and stops none, however fast the trace is."""

ACTOR = "demo"


class Revoked(NamedTuple):
    """What a licence that was revoked said before and after."""

    license: str
    before: str
    after: str


def license_id(number: int) -> str:
    """Return the id of the licence of the demo's customer with this number."""
    return f"lic-{number:03d}"


def issues(
    tollbook: Tollbook, desk: LicenseDesk, customers: list[str]
) -> Iterator[tuple[Command, str]]:
    """Yield for each customer the command that issues a licence, and the licence's key."""
    for number, customer in enumerate(customers):
        yield issue(tollbook, desk, license_id(number), customer)


def issue(tollbook: Tollbook, desk: LicenseDesk, name: str, customer: str) -> tuple[Command, str]:
    """Return the command that issues a licence, and the key that the desk has made for it."""
    body = {"id": name, "customer": customer, "template": TEMPLATE, "overrides": OVERRIDES}
    prepared = desk.prepare("issue_license", body, tollbook.store)
    assert prepared.new_key is not None
    return parse(prepared.kind, prepared.body), prepared.new_key


def revoke_one(
    tollbook: Tollbook, desk: LicenseDesk, customer: str, model: str, at: int | None
) -> Revoked:
    """Issue one more licence, use it, revoke it, and ask it again at the same instant."""
    name = "lic-revoked"
    steps: tuple[Command, ...] = (
        issue(tollbook, desk, name, customer)[0],
        ValidateLicense(id="before-revocation", license=name, model=model),
        RevokeLicense(id="revocation", license=name, reason="shown by the demo"),
        ValidateLicense(id="after-revocation", license=name, model=model),
    )
    answers: list[Answer] = [
        tollbook.executor.execute([Item(step, ACTOR, at=at)], timeout=120)[0] for step in steps
    ]
    before, after = answers[1], answers[3]
    return Revoked(name, "admitted" if before.done else before.code, after.code)
