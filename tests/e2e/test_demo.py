"""`tollbook demo` from the outside: a process, its output, its exit code, and what it leaves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tollbook.amounts import parse_pico

from tests.support.shell import run_here
from tests.support.sizes import in_full_or

ROOT = Path(__file__).resolve().parents[2]
TRACE = ROOT.parent / "shared" / "data" / "azure-llm-2023-conv.csv"


def tollbook(*arguments: str) -> tuple[int, str, str]:
    """Run the console script; return its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tollbook", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def demo(*arguments: str) -> dict[str, Any]:
    """Run a demo that must succeed, and return its document."""
    code, out, err = tollbook("demo", *arguments, "--json")
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name a folder that does not exist yet, below one that only we can enter."""
    return tmp_path_factory.mktemp("demo") / "ledger"


def amount(money: dict[str, str]) -> int:
    """Read money as contract.md writes it, in 10^-12."""
    assert money["currency"] == "USD"
    return parse_pico(money["amount"])


# The founding table, in 10^-12 USD per token: up to, input, output.
TIERS = ((1_000_000, 10**7, 3 * 10**7), (10_000_000, 8 * 10**6, 24 * 10**6))


def price_by_hand(tokens: list[tuple[int, int]]) -> int:
    """Price one customer's rows token by token, as the founding table says."""
    volume = charged = 0
    for row in tokens:
        for kind, count in enumerate(row, 1):
            below = max(0, min(count, TIERS[0][0] - volume))
            charged += below * TIERS[0][kind] + (count - below) * TIERS[1][kind]
            volume += count
    return charged


def test_two_demos_charge_the_same_and_both_are_clean() -> None:
    one, other = (demo("--customers", "3", "--limit", "300") for _ in range(2))
    assert one["audit"]["ok"] and one["audit"]["differences"] == []
    assert (one["inferences"], one["settled"], one["refused"]) == (300, 300, 0)
    assert one["blocked"] == []
    revoked = {"license": "lic-revoked", "before": "admitted", "after": "license_revoked"}
    assert one["licenses"] == {"issued": 4, "validated": 300, "revoked": revoked}
    assert one["customers"] == other["customers"]
    assert one["charged"] == other["charged"]
    assert amount(one["charged"]) == sum(
        amount(each["charged"]) for each in one["customers"].values()
    )


def test_every_customers_charge_equals_one_made_by_hand(tmp_path: Path) -> None:
    rows = [(900_000 if n == 2 else 1000 + n, 150_000 if n == 4 else 10 * n) for n in range(40)]
    trace = tmp_path / "trace.csv"
    lines = [f"2023-11-16 18:15:{n % 60:02d}.1234567,{i},{o}" for n, (i, o) in enumerate(rows)]
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(lines) + "\n")
    document = demo("--trace", str(trace), "--customers", "2")
    for number in range(2):
        customer = document["customers"][f"cust-{number:03d}"]
        expected = price_by_hand(rows[number::2])
        assert amount(customer["charged"]) == expected
        assert amount(customer["balance"]) == 10_000 * 10**12 - expected
    assert sum(each["input_tokens"] for each in document["customers"].values()) == sum(
        row[0] for row in rows
    )


def test_a_burst_in_a_trace_blocks_the_account_that_made_it(tmp_path: Path) -> None:
    """An hour and five minutes after its first row, the 1,001st within five minutes blocks."""
    calm = ["2023-11-16 18:00:00.0000000,5,5", "2023-11-16 18:00:00.5000000,5,5"]
    burst = [f"2023-11-16 19:05:{n // 20:02d}.{n % 20:02d}00000,5,5" for n in range(1100)]
    trace = tmp_path / "trace.csv"
    rows = "\n".join([*calm, *burst])
    trace.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}\n")
    document = demo("--trace", str(trace), "--customers", "1")
    assert document["audit"]["ok"]
    assert document["blocked"] == ["cust-000"]
    assert (document["settled"], document["refused"]) == (1003, 99)


def test_the_shared_trace_is_charged_to_the_last_unit_where_it_is_at_hand() -> None:
    trace = ["--trace", str(TRACE)] if TRACE.exists() else []
    limit = in_full_or(2_000, 0)
    document = demo(*trace, *(["--limit", str(limit)] if limit else []))
    assert document["audit"] == {**document["audit"], "ok": True, "differences": []}
    assert document["settled"] == document["inferences"]
    if not trace:
        return
    tokens = ("input_tokens", "output_tokens")
    totals = [sum(each[kind] for each in document["customers"].values()) for kind in tokens]
    found = document["inferences"], *totals, document["charged"]["amount"]
    if limit:
        lines = TRACE.read_text("utf-8").splitlines()[1 : limit + 1]
        rows = [(int(read), int(said)) for _, read, said in (line.split(",") for line in lines)]
        count = len(document["customers"])
        charged = sum(price_by_hand(rows[number::count]) for number in range(count))
        assert amount(document["charged"]) == charged
        assert found[:3] == (limit, *map(sum, zip(*rows, strict=True)))
    else:
        assert found == (19_366, 22_361_870, 4_088_665, "328.592364000000")


def test_a_kept_ledger_serves_other_commands_and_its_server_is_gone(folder: Path) -> None:
    document = demo("--limit", "50", "--data", str(folder))
    assert not (folder / "postgres" / "postmaster.pid").exists()
    expectation = f"{document['position']}:{document['root']}"
    code, out, _ = run_here(
        "audit", "verify", "--data", str(folder), "--expect", expectation, "--json"
    )
    assert (code, json.loads(out)["ok"]) == (0, True)
    code, out, _ = run_here("license", "list", "--data", str(folder), "--json")
    listed = json.loads(out)["licenses"]
    assert (code, len(listed)) == (0, document["licenses"]["issued"])
    assert sum(each["admitted"] for each in listed) == 50 + 1
    (last,) = [each for each in listed if each["license"] == "lic-revoked"]
    assert (last["status"], last["admitted"], last["denied"]) == ("revoked", 1, 1)
    code, out, _ = run_here("audit", "replay", "--data", str(folder), "--json")
    assert json.loads(out)["state_hash"] == document["state_hash"]
    code, out, _ = run_here("audit", "verify", "--data", str(folder), "--expect", f"3:{'0' * 64}")
    assert code == 1
    code, out, _ = run_here("demo", "--data", str(folder), "--json")
    assert (code, json.loads(out)["code"]) == (2, "invalid")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("TIMESTAMP,Context\n", "header"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "trace"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nnot a time,1,1\n", "TIMESTAMP"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,-1,1\n", "ContextTokens"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,1.5\n", "GeneratedTokens"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1\n", "line"),
    ],
)
def test_an_unusable_trace_is_refused_by_naming_the_field(
    tmp_path: Path, text: str, field: str
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(text)
    code, out, _ = run_here("demo", "--trace", str(trace), "--json")
    assert (code, json.loads(out)["field"]) == (2, field)


def test_a_trace_that_is_not_there_is_refused(tmp_path: Path) -> None:
    code, out, _ = run_here("demo", "--trace", str(tmp_path / "none.csv"), "--json")
    assert (code, json.loads(out)["field"]) == (2, "trace")


def test_the_summary_for_a_person_names_what_matters() -> None:
    code, out, err = tollbook("demo", "--limit", "20", "--customers", "2")
    assert code == 0, err
    for word in ("cust-001", "20 settled", "license_revoked", "Merkle root", "State hash", "clean"):
        assert word in out


def test_it_runs_below_a_private_folder_whoever_runs_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert demo("--limit", "10", "--data", str(tmp_path / "private"))["settled"] == 10
