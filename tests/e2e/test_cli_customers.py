"""`tollbook customers`: create, change, grant, caps and unblock, and what the lists show."""

import json
from pathlib import Path

import pytest

from entrypoints.bootstrap import open_tollbook
from entrypoints.settings import Settings
from tests.support.shell import Shell, run_tollbook


def usd(amount: str) -> dict[str, str]:
    """Write an amount as commands do."""
    return {"amount": f"{amount}.000000000000", "currency": "USD"}


def create(shell: Shell, customer: str, *more: str) -> None:
    """Create a customer."""
    shell.text("customers", "create", customer, "--name", "N", "--currency", "USD", *more)


def test_a_new_customer_is_shown_with_terms_balance_and_grants(shell: Shell) -> None:
    terms = ("--credit-limit", "5.50", "--time-zone", "Europe/Berlin", "--plan", "reserved_only")
    made = shell.json(
        "customers", "create", "bob", "--name", "Bob\x1b[31m", "--currency", "USD", *terms
    )
    assert (made["id"], made["customer"], made["repeated"]) == ("bob", "bob", False)
    found = shell.json("customers", "show", "bob")
    assert (found["name"], found["time_zone"], found["plan"]) == (
        "Bob\x1b[31m",
        "Europe/Berlin",
        "reserved_only",
    )
    assert found["credit_limit"] == {"amount": "5.500000000000", "currency": "USD"}
    assert found["balance"]["available"] == found["credit_limit"]
    assert (found["blocked"], found["grants"], found["caps"]) == (None, [], [])
    page = shell.text("customers", "show", "bob")
    assert "5.50 USD" in page
    assert "\x1b" not in page, "a name must not command the terminal"


def test_the_same_again_is_answered_as_before_and_another_body_is_refused(shell: Shell) -> None:
    words = ("customers", "create", "cleo", "--currency", "USD", "--name")
    assert shell.json(*words, "Cleo")["repeated"] is False
    assert shell.json(*words, "Cleo")["repeated"] is True
    problem = shell.json(*words, "Chloe", code=3)
    assert (problem["code"], problem["id"]) == ("id_reused", "cleo")


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("create", "a b", "--name", "x", "--currency", "USD"), "id"),
        (("create", "x", "--name", "x", "--currency", "usd"), "currency"),
        (("create", "x", "--name", "x", "--currency", "USD", "--credit-limit", "1e3"),
         "credit_limit"),
        (("create", "x", "--name", "x", "--currency", "USD", "--time-zone", "Mars/X"), "time_zone"),
        (("grant", "ada", "--amount", "-1", "--kind", "paid"), "amount"),
        (("grant", "ada", "--amount", "1", "--kind", "paid", "--expires-at", "noon"), "expires_at"),
        (("grant", "nobody", "--amount", "1", "--kind", "paid"), "customer"),
        (("show", "nobody"), "customer"),
        (("balance", "nobody"), "customer"),
        (("balance", "ada", "--at", "soon"), "at"),
        (("balance", "ada", "--at", "1000000"), "at"),
        (("change", "ada"), "terms"),
        (("list", "--limit", "0"), "limit"),
        (("caps", "ada", "--cap", "id=x"), "caps"),
        (("caps", "ada", "--cap", "id=x,unit=requests,limit=1.5,calendar=day"), "cap"),
        (("caps", "ada", "--cap", "nonsense"), "cap"),
        (("caps", "ada", "--id", "x"), "id"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_its_field(
    shell: Shell, words: tuple[str, ...], field: str
) -> None:
    assert shell.json("customers", *words, code=2)["field"] == field


def test_wrong_usage_shows_the_usage(shell: Shell) -> None:
    ended = shell.run("customers", "grant", "ada", "--kind", "gift")
    assert ended.code == 2
    assert "usage: tollbook customers grant" in ended.err
    assert ended.out == ""


def test_terms_change_and_what_is_not_given_stays(shell: Shell) -> None:
    create(shell, "dan", "--credit-limit", "1")
    changed = shell.json("customers", "change", "dan", "--credit-limit", "7", "--id", "c-1")
    assert (changed["id"], changed["customer"]) == ("c-1", "dan")
    found = shell.json("customers", "show", "dan")
    assert (found["credit_limit"], found["name"]) == (usd("7"), "N")
    text = shell.text("customers", "change", "dan", "--name", "Daniel")
    assert "Changed name of customer dan" in text
    assert shell.json("customers", "show", "dan")["name"] == "Daniel"


def test_a_grant_is_made_once_under_the_id_that_was_shown(shell: Shell) -> None:
    create(shell, "eve")
    words = ("customers", "grant", "eve", "--amount", "12.345", "--kind", "promotional")
    more = ("--models", "small,tiny", "--priority", "7", "--expires-at", "2090-01-01T00:00:00Z")
    made = shell.json(*words, *more)
    assert made["id"].startswith("grt_")
    again = shell.json(*words, *more, "--id", made["id"])
    assert (again["position"], again["repeated"]) == (made["position"], True)
    (grant,) = shell.json("customers", "show", "eve")["grants"]
    assert grant == {
        "id": made["id"],
        "kind": "promotional",
        "priority": 7,
        "expires_at": "2090-01-01T00:00:00.000000Z",
        "models": ["small", "tiny"],
        "free": {"amount": "12.345000000000", "currency": "USD"},
        "held": usd("0"),
    }
    # 12.345 lies in the middle: half-even, for people.
    assert "12.34 USD" in shell.text("customers", "show", "eve")


def test_who_acted_is_recorded(shell: Shell) -> None:
    create(shell, "fay")
    with open_tollbook(Settings(data=shell.folder)) as ledger:
        assert ledger.outcome("create_customer", "fay", "fay").recorded is not None
        recorded = ledger.outcome("create_customer", "fay", "fay").recorded
    assert recorded is not None
    assert recorded.actor.startswith("cli:")
    assert recorded.actor != "cli:"


def test_a_balance_is_shown_as_of_a_position_or_a_time(shell: Shell) -> None:
    create(shell, "gil")
    words = ("customers", "grant", "gil", "--kind", "paid", "--amount")
    first = shell.json(*words, "10")["position"]
    shell.text(*words, "20")
    assert shell.json("customers", "balance", "gil")["available"] == usd("30")
    then = shell.json("customers", "balance", "gil", "--at", str(first))
    assert (then["available"], then["position"]) == (usd("10"), first)
    assert shell.json("customers", "balance", "gil", "--at", then["at"])["available"] == usd("10")
    assert "30.000000000000" in shell.text("customers", "balance", "gil")


def test_lists_are_current_and_go_on_where_they_were_cut(shell: Shell) -> None:
    create(shell, "zoe-1")
    create(shell, "zoe-2")
    listed = shell.json("customers", "list", "--after", "zoe", "--limit", "1")
    assert [each["id"] for each in listed["customers"]] == ["zoe-1"]
    assert "name_sealed" not in listed["customers"][0]
    rest = shell.json("customers", "list", "--after", listed["next"])
    assert [each["id"] for each in rest["customers"]] == ["zoe-2"]
    assert rest["next"] is None
    page = shell.text("customers", "list", "--limit", "1")
    assert "100.00 USD" in page
    assert "--after ada" in page


def test_caps_are_set_shown_and_taken_away(shell: Shell, tmp_path: Path) -> None:
    create(shell, "hal")
    words = ("customers", "caps", "hal")
    assert "No caps." in shell.text(*words)
    daily = "id=daily,unit=requests,limit=1000,calendar=day,model=small,model=tiny"
    gpu = "id=gpu,unit=gpu_seconds,limit=1.5,rolling=3600"
    document = shell.json(*words, "--cap", daily, "--cap", gpu, "--id", "caps-1")
    assert (document["id"], document["repeated"]) == ("caps-1", False)
    first, second = document["caps"]
    assert (first["limit"], first["models"], first["used"]) == (1000, ["small", "tiny"], 0)
    assert (second["limit"], second["rolling_seconds"]) == ("1.5", 3600)
    assert "rolling 3,600 s" in shell.text(*words)
    file = tmp_path / "caps.json"
    cap = {"id": "m", "unit": "output_tokens", "limit": 5, "calendar": "month"}
    file.write_text(json.dumps({"caps": [cap]}))
    assert [each["id"] for each in shell.json(*words, "--set", str(file))["caps"]] == ["m"]
    file.write_text('{"caps": [1.5]}')
    assert shell.json(*words, "--set", str(file), code=2)["code"] == "invalid"
    assert shell.json(*words, "--clear")["caps"] == []


def test_an_account_that_is_not_blocked_cannot_be_unblocked(shell: Shell) -> None:
    problem = shell.json("customers", "unblock", "ada", "--reason", "why not", code=3)
    assert problem["code"] == "not_blocked"
    assert problem["id"].startswith("unb_")


def test_a_blocked_account_is_shown_and_unblocked_with_a_reason(shell: Shell) -> None:
    create(shell, "max")
    calm, burst = (
        usage_of("max", number, when)
        for number, when in ((1, "2026-03-01T08:00:00Z"), (1001, "2026-03-01T10:00:00Z"))
    )
    shell.text("usage", "send", "-", stdin=json.dumps([calm, burst]).encode())
    blocked = shell.json("customers", "show", "max")["blocked"]
    assert (blocked["recent"], blocked["total"], blocked["windows"]) == (1001, 1, 23)
    assert blocked["occurred_at"] == "2026-03-01T10:00:00.000000Z"
    assert "1,001 requests in 5 minutes" in shell.text("customers", "show", "max")
    (listed,) = shell.json("customers", "list", "--after", "mas", "--limit", "1")["customers"]
    assert (listed["id"], listed["blocked_at"]) == ("max", blocked["blocked_at"])
    words = ("customers", "unblock", "max", "--reason", "a load test", "--id", "u-1")
    assert shell.json(*words)["repeated"] is False
    assert shell.json(*words)["repeated"] is True
    assert shell.json("customers", "show", "max")["blocked"] is None


def usage_of(customer: str, requests: int, when: str) -> dict[str, object]:
    """Return a usage record of some requests."""
    data = {
        "customer": customer,
        "model": "small",
        "usage": {"requests": requests},
        "occurred_at": when,
    }
    return {
        "specversion": "1.0",
        "type": "tollbook.usage.v1",
        "source": customer,
        "id": when,
        "subject": customer,
        "data": data,
    }


def test_commands_work_while_another_process_uses_the_ledger(shell: Shell) -> None:
    with open_tollbook(Settings(data=shell.folder)) as ledger:
        create(shell, "ian")
        grant = {"id": "g-ian", "customer": "ian", "amount": "3", "kind": "paid"}
        ledger.run("issue_grant", grant).result()
        assert shell.json("customers", "balance", "ian")["available"] == usd("3")


def test_a_folder_without_a_ledger_is_wrong_usage(tmp_path: Path) -> None:
    ended = run_tollbook("customers", "list", "--data", str(tmp_path / "none"), "--json")
    assert (ended.code, json.loads(ended.out)["field"]) == (2, "data")
    assert not (tmp_path / "none").exists()


def test_a_database_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    url = f"postgresql:///none?host={tmp_path}"
    ended = run_tollbook("customers", "show", "ada", "--database", url, "--json")
    assert (ended.code, json.loads(ended.out)["code"]) == (4, "unavailable")
    assert list(tmp_path.iterdir()) == []
