"""`tollbook license`: keys, decisions, machines, leases, templates and the sweep."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tollbook import lease, license_key
from tollbook.times import SECOND, parse_instant
from tollbook.tokens import TrustedKeys

from tests.support.shell import Shell

MODEL = "gpt4-equivalent"


def issue(shell: Shell, name: str, *options: str) -> Any:
    """Issue a licence of the professional tier to ada."""
    return shell.json(
        *("license", "issue", name, "--customer", "ada", "--template", "professional", *options)
    )


def overrides(folder: Path, **fields: Any) -> tuple[str, str]:
    """Write overrides into a file and return the option that names it."""
    path = folder / "overrides.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    return "--overrides", str(path)


def test_a_key_is_shown_once_and_opens_the_licence(shell: Shell, tmp_path: Path) -> None:
    made = issue(shell, "keyed")
    license_key.check(made["license_key"])
    again = issue(shell, "keyed")
    assert (again["repeated"], again["key_shown"], "license_key" in again) == (True, False, False)
    issued = ("license", "issue", "keyed", "--customer", "ada", "--template", "professional")
    assert "was shown when it was made" in shell.text(*issued)
    file = tmp_path / "key.txt"
    file.write_text(made["license_key"] + "\n", encoding="ascii")
    by_key = ("license", "validate", "--key-file", str(file), "--model", MODEL)
    admitted = shell.json(*by_key)
    assert (admitted["admitted"], admitted["license"]) == (True, "keyed")
    assert "Admitted under professional:0:0" in shell.text(*by_key)
    rotated = shell.json("license", "rotate", "keyed", "--overlap-seconds", "0")
    assert rotated["key_shown"] is True
    assert shell.json(*by_key, code=3)["code"] == "license_key_invalid"
    file.write_text(made["license_key"][:-1], encoding="ascii")
    mistyped = shell.json(*by_key, code=2)
    assert mistyped["field"] == "license_key"
    assert made["license_key"][:-1] not in json.dumps(mistyped)


def test_a_denial_is_exit_code_3_and_a_dry_run_counts_nothing(shell: Shell, tmp_path: Path) -> None:
    limit = {"id": "all", "unit": "requests", "limit": 1, "per": "total"}
    issue(shell, "limited", *overrides(tmp_path, limits=[limit]))
    ask = ("license", "validate", "limited", "--model", MODEL)
    for _ in range(2):
        assert shell.json(*ask, "--dry-run")["dry_run"] is True
    dry = shell.text(*ask, "--dry-run")
    assert "nothing was counted" in dry
    assert "never" in dry
    shell.text(*ask, "--usage", "requests=1")
    assert shell.json(*ask, code=3)["code"] == "license_limit_reached"
    assert shell.json(*ask, "--dry-run", code=3)["code"] == "license_limit_reached"
    assert shell.json(*ask, "--usage", "requests", code=2)["field"] == "usage"
    (shown,) = shell.json("license", "show", "limited")["limits"]
    assert (shown["used"], shown["remaining"], shown["resets_at"]) == (1, 0, None)
    (line,) = (
        each
        for each in shell.text("license", "show", "limited").splitlines()
        if "per total" in each
    )
    assert line.split()[-1] == "never"
    decisions = shell.json("license", "decisions", "limited")["decisions"]
    assert [each["status"] for each in decisions] == ["denied", "admitted"]
    assert "license_limit_reached" in shell.text("license", "decisions", "limited")


def test_a_licence_lives_through_every_step(shell: Shell) -> None:
    issue(shell, "living", "--expires-at", "2080-01-01T00:00:00Z", "--reference", "order 4711")
    renewed = shell.json("license", "renew", "living", "--expires-at", "2090-01-01T00:00:00Z")
    assert renewed["expires_at"] == "2090-01-01T00:00:00.000000Z"
    upgrade = ("license", "upgrade", "living")
    assert "living has version 0 of enterprise" in shell.text(*upgrade, "--template", "enterprise")
    assert "Suspended" in shell.text("license", "suspend", "living", "--reason", "overdue")
    validate = ("license", "validate", "living", "--model", MODEL)
    assert shell.json(*validate, code=3)["code"] == "license_suspended"
    listed = shell.json("license", "list", "--status", "suspended")["licenses"]
    assert [each["license"] for each in listed] == ["living"]
    shell.text("license", "reinstate", "living")
    shown = shell.text("license", "show", "living")
    for expected in ("enterprise:0:1", "order 4711", "2090-01-01", "dedicated"):
        assert expected in shown
    assert "living has version 0 of enterprise" in shell.text(*upgrade)
    revoke = ("license", "revoke", "living", "--reason", "fraud", "--id", "rev-1")
    assert shell.json(*revoke)["repeated"] is False
    assert shell.json(*revoke)["repeated"] is True
    assert shell.json(*validate, code=3)["code"] == "license_revoked"
    assert "living" in shell.text("license", "list")
    assert shell.json("license", "show", "nobody", code=2)["code"] == "not_found"


def test_a_seat_is_leased_by_a_token(shell: Shell, tmp_path: Path) -> None:
    options = overrides(tmp_path, seats=1, hardware={"required": 1})
    issue(shell, "floating", "--deployment", "on_premise", *options)
    parts = ("--component", "mac=02:00:00:00:00:01", "--component", "cpu=serial-1")
    device = shell.json("license", "activate", "floating", "--device", "dev-1", *parts)
    assert device["device"] == "dev-1"
    holder = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    take = ("license", "lease", "floating", "--model", MODEL, "--holder-key", holder.hex())
    assert shell.json(*take, code=3)["code"] == "license_hardware_mismatch"
    hardware = ("--component", "mac=02:00:00:00:00:01", "--fact", "device=dev-1")
    taken = shell.json(*take, *hardware, "--lease", "lease-1")
    text = shell.text("license", "signing-keys")
    now = parse_instant(taken["expires_at"], "expires_at") - 60 * SECOND
    found = lease.verify(
        taken["token"], TrustedKeys.parse(text), holder, now, license="floating", model=MODEL
    )
    assert (found.id, found.device, found.customer) == ("lease-1", "dev-1", "ada")
    assert shell.json(*take, *hardware, code=3)["code"] == "license_seats_taken"
    renewed = shell.json("license", "renew-lease", "floating", "lease-1", *hardware)
    assert renewed["token"] != taken["token"]
    shell.text("license", "return-lease", "floating", "lease-1")
    assert "lease-1" in shell.text("license", "seats", "floating")
    (seat,) = shell.json("license", "seats", "floating")["seats"]
    assert "returned_at" in seat
    shell.text("license", "deactivate", "floating", "dev-1")
    assert "deactivated" in shell.text("license", "devices", "floating")
    assert shell.json(*take[:-1], "0a", code=2)["field"] == "holder_key"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (("--fact", "country"), "fact"),
        (("--fact", "colour=red"), "facts"),
        (("--fact", "country:guessed=DE"), "facts"),
        (("--component", "mac"), "component"),
        (("--key-file", "/no/such/file"), "file"),
    ],
)
def test_what_cannot_be_read_is_wrong_usage(
    shell: Shell, options: tuple[str, ...], field: str
) -> None:
    issue(shell, "wrong")
    problem = shell.json("license", "validate", "wrong", "--model", MODEL, *options, code=2)
    assert (problem["code"], problem["field"]) == ("invalid", field)


def test_facts_say_how_they_are_known(shell: Shell, tmp_path: Path) -> None:
    issue(shell, "bound", *overrides(tmp_path, networks=["192.0.2.0/24"], features=["batch"]))
    ask = ("license", "validate", "bound", "--model", MODEL, "--fact", "features=batch")
    assert shell.json(*ask, "--fact", "address:observed=192.0.2.7")["admitted"] is True
    declared = shell.json(*ask, "--fact", "address=192.0.2.7", code=3)
    assert declared["code"] == "license_address_mismatch"


def test_templates_are_published_listed_and_shown(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "team.json"
    path.write_text(json.dumps({"models": ["*"], "seats": 3}), encoding="utf-8")
    assert shell.json("license", "policies", "publish", "team", str(path))["version"] == 1
    listed = shell.json("license", "policies", "list")["policies"]
    named = {each["name"]: each["version"] for each in listed}
    assert named == {"enterprise": 0, "free": 0, "professional": 0, "team": 1}
    assert "built in" in shell.text("license", "policies", "list")
    assert "seats" in shell.text("license", "policies", "show", "team")
    assert shell.json("license", "policies", "show", "none", code=2)["code"] == "not_found"
    path.write_text("[]", encoding="utf-8")
    wrong = shell.json("license", "policies", "publish", "team", str(path), code=2)
    assert wrong["field"] == "policy"


def test_the_sweep_books_what_time_and_a_new_list_made_due(shell: Shell, tmp_path: Path) -> None:
    begun = time.monotonic()
    shell.json("license", "expiring")
    once = time.monotonic() - begun  # a command takes longer where there is much to do
    soon = (datetime.now(UTC) + timedelta(seconds=2 + 5 * once)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ending = overrides(tmp_path, grace_seconds=0)
    issue(shell, "ending", "--expires-at", soon, *ending)
    near = [each["license"] for each in shell.json("license", "expiring")["licenses"]]
    assert near == ["ending"]
    screened = overrides(tmp_path, countries={"deny": ["KP"]})
    for name, country in (("in-sy", "SY"), ("in-de", "DE")):
        issue(shell, name, "--deployment", "on_premise", *screened)
        shell.text("license", "activate", name, "--fact", f"country={country}")
    unscreened = issue(shell, "free-of-lists", "--deployment", "on_premise")["license"]
    shell.text("license", "activate", unscreened, "--fact", "country=SY")
    shell.text("models", "export-list", "set", "SY")
    time.sleep(max(0.0, parse_instant(soon, "soon") / SECOND - time.time() + 0.3))
    assert shell.json("license", "show", "ending")["status"] == "expired"
    swept = shell.json("license", "sweep")
    assert swept == {"expired": ["ending"], "suspended": ["in-sy"], "export_list": 1}
    assert shell.json("license", "show", "in-sy")["reason"] == "export list version 1"
    # Somebody has looked, and reinstates it: until another list, that stands.
    shell.text("license", "reinstate", "in-sy")
    again = shell.json("license", "sweep")
    assert again == {"expired": [], "suspended": [], "export_list": 1}
    shell.text("models", "export-list", "set", "SY", "IR")
    assert shell.json("license", "sweep")["suspended"] == ["in-sy"]
    later = (datetime.now(UTC) + timedelta(seconds=3600)).strftime("%Y-%m-%dT%H:%M:%SZ")
    shell.text("license", "renew", "ending", "--expires-at", later)
    assert shell.json("license", "validate", "ending", "--model", MODEL)["admitted"] is True
