"""`tollbook fraud`: list, show, flag, clear and confirm."""

import json

from tests.e2e.test_cli_customers import create, usage_of
from tests.support.shell import Shell


def test_a_case_goes_from_the_flag_to_the_verdict(shell: Shell) -> None:
    create(shell, "flo")
    assert "No fraud case" in shell.text("fraud", "list", "--customer", "flo")
    words = ("fraud", "flag", "flo", "--reason", "stolen\x1b[31m card", "--id", "f-1")
    flagged = shell.json(*words)
    assert (flagged["case"], flagged["repeated"]) == ("flo.1", False)
    assert shell.json(*words)["repeated"] is True
    assert "case flo.1" in shell.text(*words)
    assert "Confirmed case flo.1" in shell.text("fraud", "confirm", "flo.1", "--reason", "it was")
    refused = shell.json("fraud", "confirm", "flo.1", "--reason", "again", code=3)
    assert refused["code"] == "case_confirmed"
    assert shell.json("customers", "show", "flo")["fraud_case"]["status"] == "confirmed"
    assert "flo.1, confirmed" in shell.text("customers", "show", "flo")
    (listed,) = shell.json("fraud", "list", "--status", "confirmed", "--customer", "flo")["cases"]
    assert (listed["id"], listed["flags"]) == ("flo.1", 1)
    assert shell.json("fraud", "clear", "flo.1", "--reason", "it was not")["case"] == "flo.1"
    shown = shell.json("fraud", "show", "flo.1")
    assert [step["what"] for step in shown["steps"]] == ["flagged", "confirmed", "cleared"]
    page = shell.text("fraud", "show", "flo.1")
    assert "cleared since" in page
    assert "\x1b" not in page, "a reason must not command the terminal"


def test_the_burst_that_blocked_is_told_with_its_figures(shell: Shell) -> None:
    create(shell, "fay")
    calm, burst = (
        usage_of("fay", number, when)
        for number, when in ((1, "2026-03-01T08:00:00Z"), (1001, "2026-03-01T10:00:00Z"))
    )
    shell.text("usage", "send", "-", stdin=json.dumps([calm, burst]).encode())
    assert "1,001 requests in 5 minutes" in shell.text("fraud", "show", "fay.1")
    assert "fay.1" in shell.text("fraud", "list", "--status", "flagged")
    shell.text("fraud", "clear", "fay.1", "--reason", "a load test")
    assert shell.json("customers", "show", "fay")["blocked"] is None


def test_a_case_that_there_is_not_is_refused_and_a_wrong_word_is_wrong_usage(shell: Shell) -> None:
    for words in (("show", "ada.9"), ("clear", "ada.9", "--reason", "why")):
        assert shell.json("fraud", *words, code=2)["code"] == "not_found"
    assert shell.json("fraud", "clear", "ada", "--reason", "why", code=2)["field"] == "case"
    assert shell.run("fraud", "list", "--status", "odd").code == 2
