"""`tollbook usage`: records sent from files, parked, released once, and what the lists show."""

import json
import os
import pty
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.shell import Shell
from tests.support.sizes import in_full_or

WHEN = "2026-01-02T10:00:00Z"
NUMBERS = count(1)


def event(name: str, source: str = "gate", **data: Any) -> dict[str, Any]:
    """Return a usage record of `ada` as a CloudEvent: a million tokens, unless told otherwise."""
    record = {"customer": "ada", "model": "small", "usage": {"input_tokens": 10**6}}
    body = {**record, "occurred_at": WHEN, **data}
    envelope = {"specversion": "1.0", "type": "tollbook.usage.v1", "source": source, "id": name}
    return {**envelope, "subject": body["customer"], "data": body}


def lines(*events: Any) -> bytes:
    """Write events as JSON Lines; a string stands as it is."""
    texts = [each if isinstance(each, str) else json.dumps(each) for each in events]
    return "\n".join(texts).encode() + b"\n"


def counted(document: dict[str, Any]) -> dict[str, int]:
    """Return the counts that are not zero."""
    names = ("accepted", "duplicate", "parked", "refused", "released")
    return {name: document[name] for name in names if document.get(name)}


@pytest.fixture
def source() -> str:
    """Name a source that no other test has used."""
    return f"source-{next(NUMBERS)}"


def test_json_lines_are_answered_record_by_record(shell: Shell, source: str) -> None:
    good, unknown = event("1", source), event("2", source, model="huge")
    sent = lines(good, "", unknown, '{"half": ', {**good, "type": "other"}, good)
    document = shell.json("usage", "send", "-", "--each", code=3, stdin=sent)
    assert counted(document) == {"accepted": 1, "duplicate": 1, "parked": 1, "refused": 2}
    results = document["results"]
    assert [(each["line"], each["status"]) for each in results] == [
        (1, "accepted"),
        (3, "parked"),
        (4, "refused"),
        (5, "refused"),
        (6, "duplicate"),
    ]
    assert results[0]["charged"] == {"amount": "0.500000000000", "currency": "USD"}
    assert results[1]["why"]["code"] == "unknown_model"
    assert results[3]["problem"]["field"] == "type"
    assert results[4]["position"] == results[0]["position"]


def test_only_what_needs_attention_is_listed_unless_each_is_asked_for(
    shell: Shell, source: str
) -> None:
    sent = lines(event("1", source), event("2", source, usage={"images": 1}))
    document = shell.json("usage", "send", "-", stdin=sent)
    assert counted(document) == {"accepted": 1, "parked": 1}
    assert [each["line"] for each in document["results"]] == [2]
    page = shell.text("usage", "send", "-", stdin=sent)
    assert "2 records: 1 duplicate, 1 parked" in page
    assert "unknown_unit" in page


def test_a_batch_and_a_single_event_are_one_document(shell: Shell, source: str) -> None:
    batch = json.dumps([event("1", source), event("2", source)], indent=1).encode()
    document = shell.json("usage", "send", "-", "--each", stdin=batch)
    assert [(each["item"], each["status"]) for each in document["results"]] == [
        (1, "accepted"),
        (2, "accepted"),
    ]
    single = json.dumps(event("2", source), indent=1).encode()
    assert counted(shell.json("usage", "send", "-", stdin=single)) == {"duplicate": 1}


def test_a_record_under_a_used_key_with_another_body_is_refused(shell: Shell, source: str) -> None:
    shell.text("usage", "send", "-", stdin=lines(event("1", source)))
    other = lines(event("1", source, usage={"input_tokens": 5}))
    document = shell.json("usage", "send", "-", code=3, stdin=other)
    (result,) = document["results"]
    assert (result["problem"]["code"], result["problem"]["field"]) == ("id_reused", "usage")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"[]", "is empty"),
        (b"nonsense", "JSON"),
        (b"[{]", "JSON"),
        (b'{\n"a": 1.5\n}', "fraction"),
        (b"[" + b" " * (16 * 2**20) + b"]", "JSON Lines may be longer"),
    ],
)
def test_a_file_that_holds_no_records_is_unreadable(
    shell: Shell, content: bytes, words: str
) -> None:
    ended = shell.run("usage", "send", "-", "--json", stdin=content)
    assert (ended.code, json.loads(ended.out)["code"]) == (2, "invalid")
    assert words in ended.err
    assert "standard input" in ended.err


def test_a_line_that_is_too_long_is_refused_alone(shell: Shell, source: str) -> None:
    long = '{"a": "' + "x" * 2**21 + '"}'
    document = shell.json("usage", "send", "-", code=3, stdin=lines(long, event("1", source), long))
    assert counted(document) == {"accepted": 1, "refused": 2}
    assert [each["line"] for each in document["results"]] == [1, 3]


def test_more_records_than_one_batch_holds_are_all_charged(shell: Shell, source: str) -> None:
    tiny = {"input_tokens": 1}
    sent = lines(*(event(str(number), source, usage=tiny) for number in range(1201)))
    assert counted(shell.json("usage", "send", "-", stdin=sent)) == {"accepted": 1201}
    assert counted(shell.json("usage", "send", "-", stdin=sent)) == {"duplicate": 1201}


def test_a_parked_record_is_released_once_it_can_be_charged(shell: Shell, source: str) -> None:
    late = event("1", source, customer=f"new-{source}")
    document = shell.json("usage", "send", "-", stdin=lines(late))
    (result,) = document["results"]
    assert (result["status"], result["why"]["code"]) == ("parked", "unknown_customer")
    parked = result["parked"]

    asked = ("--customer", f"new-{source}", "--code", "unknown_customer")
    (listed,) = shell.json("usage", "parked", *asked)["parked"]
    assert (listed["parked"], listed["source"], listed["id"]) == (parked, source, "1")
    assert parked in shell.text("usage", "parked", *asked)

    refused = shell.json("usage", "release", parked, code=3)
    assert refused["results"][0]["problem"]["code"] == "unknown_customer"
    shell.text("customers", "create", f"new-{source}", "--name", "N", "--currency", "USD")
    done = shell.json("usage", "release", "--all", *asked, "--each")
    assert counted(done) == {"released": 1}
    assert done["results"][0]["receivable"]["amount"] == "0.500000000000"

    again = shell.json("usage", "release", parked, code=3)
    assert again["results"][0]["problem"]["code"] == "already_released"
    assert shell.json("usage", "parked", *asked)["parked"] == []
    assert counted(shell.json("usage", "send", "-", stdin=lines(late))) == {"duplicate": 1}


def test_usage_of_a_model_without_a_price_is_charged_when_the_price_was_added(
    shell: Shell, source: str, prices_file: Path
) -> None:
    late = lines(event("1", source, model="forgotten"))
    (result,) = shell.json("usage", "send", "-", stdin=late)["results"]
    assert result["why"]["code"] == "unknown_model"
    assert "`tollbook prices publish`" in shell.text("usage", "parked", "--model", "forgotten")
    added = "\n[[model]]\nname = 'forgotten'\nprices = { input_tokens = 3 }\n"
    prices_file.write_text(prices_file.read_text().replace("2020", "2021") + added)
    shell.text("prices", "publish", str(prices_file))
    done = shell.json("usage", "release", result["parked"], "--each")
    assert done["results"][0]["charged"]["amount"] == "3.000000000000"
    again = shell.json("usage", "release", result["parked"], code=3)
    assert again["results"][0]["problem"]["code"] == "already_released"
    assert counted(shell.json("usage", "send", "-", stdin=late)) == {"duplicate": 1}


def test_a_release_repeated_with_its_id_is_answered_as_before(shell: Shell, source: str) -> None:
    late = event("1", source, customer=f"new-{source}")
    (result,) = shell.json("usage", "send", "-", stdin=lines(late))["results"]
    shell.text("customers", "create", f"new-{source}", "--name", "N", "--currency", "USD")
    words = ("usage", "release", result["parked"], "--id", f"rel-{source}", "--each")
    first, second = (shell.json(*words)["results"][0] for _ in range(2))
    assert (first["repeated"], second["repeated"]) == (False, True)
    assert first["position"] == second["position"]


def test_a_record_is_parked_by_hand_and_charged_when_it_is_released(
    shell: Shell, source: str
) -> None:
    before = shell.json("customers", "balance", "ada")["spent"]
    sent = lines(event("1", source))
    document = shell.json("usage", "park", "-", "--reason", "broken meter", stdin=sent)
    (result,) = document["results"]
    assert (result["status"], result["why"]["detail"]) == ("parked", "broken meter")
    assert counted(shell.json("usage", "send", "-", stdin=sent)) == {"parked": 1}
    assert shell.json("customers", "balance", "ada")["spent"] == before
    assert "1 released" in shell.text("usage", "release", result["parked"])
    assert shell.json("customers", "balance", "ada")["spent"] != before


def test_what_is_charged_already_cannot_be_parked(shell: Shell, source: str) -> None:
    sent = lines(event("1", source))
    shell.text("usage", "send", "-", stdin=sent)
    document = shell.json("usage", "park", "-", "--reason", "late", code=3, stdin=sent)
    assert document["results"][0]["problem"]["code"] == "id_reused"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--all", "0" * 32),
        ("0" * 32, "--code", "unknown_model"),
        ("--all", "--id", "x"),
        ("0" * 32, "1" * 32, "--id", "x"),
    ],
)
def test_options_of_a_release_that_do_not_go_together_are_wrong_usage(
    shell: Shell, words: tuple[str, ...]
) -> None:
    assert shell.json("usage", "release", *words, code=2)["code"] == "usage"


def test_releasing_what_is_not_there_is_not_found(shell: Shell) -> None:
    problem = shell.json("usage", "release", "0" * 32, code=3)["results"][0]["problem"]
    assert problem["code"] == "not_found"
    assert shell.json("usage", "release", "no-such-form", code=2)["field"] == "parked"


def test_usage_is_listed_by_customer_model_and_day(shell: Shell, source: str) -> None:
    customer = f"list-{source}"
    shell.text("customers", "create", customer, "--name", "N", "--currency", "USD")
    days = ("2026-02-01T23:59:59Z", "2026-02-02T00:00:00Z", "2026-02-02T12:00:00Z")
    sent = lines(
        *(
            event(day, source, customer=customer, occurred_at=day, usage={"pages": 2})
            for day in days
        )
    )
    shell.text("usage", "send", "-", stdin=sent)
    asked = ("usage", "list", "--customer", customer, "--model", "small")
    listed = shell.json(*asked)["usage"]
    assert [(each["day"], each["charges"], each["usage"]) for each in listed] == [
        ("2026-02-01", 1, {"pages": 2}),
        ("2026-02-02", 2, {"pages": 4}),
    ]
    assert listed[1]["charged"] == {"amount": "8.000000000000", "currency": "USD"}
    first = shell.json(*asked, "--limit", "1")
    assert shell.json(*asked, "--after", first["next"])["usage"] == listed[1:]
    assert shell.json(*asked, "--from", "2026-02-02", "--to", "2026-02-02")["usage"] == listed[1:]
    assert "8.00 USD" in shell.text(*asked)
    assert shell.json(*asked, "--from", "yesterday", code=2)["field"] == "from_day"


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(shell: Shell, source: str) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tollbook", "usage", "send", "-", "--json"]
    done = subprocess.run(
        [*command, "--data", str(shell.folder)],
        input=lines(event("1", source)),
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=60,
        check=True,
    )
    os.close(theirs)
    drawn = os.read(ours, 65_536).decode()
    os.close(ours)
    assert "Send" in drawn
    assert counted(json.loads(done.stdout)) == {"accepted": 1}


def test_a_file_whose_sending_was_killed_is_sent_again_and_charged_once(
    shell: Shell, source: str, tmp_path: Path
) -> None:
    records, customer = in_full_or(5_000, 20_000), f"kill-{source}"
    shell.text("customers", "create", customer, "--name", "N", "--currency", "USD")
    file = tmp_path / "records.jsonl"
    usage = {"input_tokens": 3}
    file.write_bytes(
        lines(*(event(str(n), source, customer=customer, usage=usage) for n in range(records)))
    )
    words = ["usage", "send", str(file), "--data", str(shell.folder)]
    sending = subprocess.Popen([sys.executable, "-m", "tollbook", *words])
    spent = ("customers", "show", customer)
    while shell.json(*spent)["balance"]["receivable"]["amount"] == "0.000000000000":
        assert sending.poll() in (None, 0)
    sending.kill()
    sending.wait(timeout=60)
    document = shell.json("usage", "send", str(file))
    assert document["accepted"] + document["duplicate"] == records
    assert document["duplicate"] > 0
    (day,) = shell.json("usage", "list", "--customer", customer)["usage"]
    assert (day["charges"], day["usage"]) == (records, {"input_tokens": 3 * records})
