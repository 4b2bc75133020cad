"""The intent log: what it keeps survives the process, and is found by the next one."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tollbook.errors import Unavailable

from adapters import intent_log
from adapters.intent_log import IntentLog, left_behind

OUTCOME = {"release": "enough"}


def opened(home: Path) -> list[intent_log.Open]:
    found = []
    for left in left_behind(home):
        found += left.opened()
        left.leave()
    return found


def test_what_was_begun_is_found_with_its_outcome(tmp_path: Path) -> None:
    log = IntentLog.create(tmp_path, "one")
    log.begin("a", {"model": "m"})
    log.begin("b", {"model": "m"})
    log.end("b", OUTCOME)
    assert log.waiting == 2
    log.close()
    first, second = opened(tmp_path)
    assert (first.intent["intent"], first.outcome) == ("a", None)
    assert (second.intent["intent"], second.outcome) == ("b", {"outcome": "b", **OUTCOME})


@pytest.mark.parametrize(
    "text", ["plain", "\u00e9 \U0001f600 \x7f", 'a "\\ \n\0', "half a pair: \ud83d"]
)
def test_any_text_is_found_as_it_was_written(tmp_path: Path, text: str) -> None:
    log = IntentLog.create(tmp_path, "one")
    log.begin("a", {"model": text, "known": {"tokens": 2**70, "seconds": "1.5"}, "no": None})
    log.end("a", {"release": text, "traces": True})
    log.close()
    (found,) = opened(tmp_path)
    known = {"tokens": 2**70, "seconds": "1.5"}
    assert found.intent == {"intent": "a", "model": text, "known": known, "no": None}
    assert found.outcome == {"outcome": "a", "release": text, "traces": True}


def test_nothing_is_left_where_the_ledger_knows_everything(tmp_path: Path) -> None:
    log = IntentLog.create(tmp_path, "one")
    log.begin("a", {})
    log.end("a", OUTCOME)
    log.told("a")
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_nobody_elses(tmp_path: Path) -> None:
    log = IntentLog.create(tmp_path, "one")
    log.begin("a", {})
    assert opened(tmp_path) == []
    log.close()
    (left,) = left_behind(tmp_path)
    assert list(left_behind(tmp_path)) == []  # it is ours now
    left.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_last_outcome_counts(tmp_path: Path) -> None:
    log = IntentLog.create(tmp_path, "one")
    log.begin("a", {})
    log.end("a", {"traces": True})
    log.end("a", OUTCOME)
    log.close()
    (found,) = opened(tmp_path)
    assert found.outcome == {"outcome": "a", **OUTCOME}


def test_segments_go_when_all_of_theirs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intent_log, "SEGMENT_BYTES", 200)
    log = IntentLog.create(tmp_path, "one")
    names = [f"inf-{number}" for number in range(50)]
    for name in names:
        log.begin(name, {"model": "m"})
    for name in names:
        log.end(name, OUTCOME)
    assert len(list((tmp_path / "one").glob("*.jsonl"))) > 5
    for name in names[:-1]:
        log.told(name)
    assert len(list((tmp_path / "one").glob("*.jsonl"))) <= 2
    log.close()
    (found,) = opened(tmp_path)
    assert found.intent["intent"] == names[-1]


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_line_that_was_cut_counts_as_never_written(tmp_path: Path, cut: int) -> None:
    log = IntentLog.create(tmp_path, "one")
    log.begin("a", {})
    log.begin("b", {"model": "m", "at": 1})
    log.close()
    (path,) = (tmp_path / "one").glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-cut])
    assert [each.intent["intent"] for each in opened(tmp_path)] == ["a"]


KILLED = """
import os, signal, sys
from pathlib import Path
from adapters.intent_log import IntentLog

log = IntentLog.create(Path(sys.argv[1]), "one")
for number in range(1000):
    log.begin(f"i{number}", {"number": number})
    if number % 2:
        log.end(f"i{number}", {"release": "enough"})
print("written", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_loses_no_line(tmp_path: Path) -> None:
    code = textwrap.dedent(KILLED)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    found = opened(tmp_path)
    assert [each.intent["number"] for each in found] == list(range(1000))
    assert [each.outcome is None for each in found] == [True, False] * 500


def test_a_log_that_is_closed_writes_nothing_into_what_was_opened_since(tmp_path: Path) -> None:
    log = IntentLog.create(tmp_path, "one")
    log.begin("a", {})
    log.begin("b", {})
    log.close()
    (left,) = left_behind(tmp_path)
    others = [(tmp_path / f"other-{number}").open("wb") for number in range(4)]
    with pytest.raises(Unavailable, match="closed"):
        log.end("a", OUTCOME)
    with pytest.raises(Unavailable, match="closed"):
        log.begin("c", {})
    log.told("b")
    for each in others:
        each.close()
        assert Path(each.name).read_bytes() == b""
    assert [(each.intent["intent"], each.outcome) for each in left.opened()] == [
        ("a", None),
        ("b", None),
    ]
    left.leave()


def test_the_log_is_its_users_alone(tmp_path: Path) -> None:
    log = IntentLog.create(tmp_path, "one")
    log.begin("a", {"customer": "cust-1"})
    log.close()
    folder = tmp_path / "one"
    assert folder.stat().st_mode & 0o777 == 0o700
    (path,) = folder.glob("*.jsonl")
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text(encoding="utf-8")) == {"intent": "a", "customer": "cust-1"}
    assert [each.name for each in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize("missing", [1, 2, 20])
def test_a_line_that_found_no_room_stays_none_whatever_is_written_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    """Also where nothing but its end was missing, which the next line would give it."""
    log = IntentLog.create(tmp_path, "one")
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:-missing]))
    with pytest.raises(Unavailable, match="full"):
        log.begin("cut", {"model": "m"})
    monkeypatch.setattr(os, "write", no_room)
    with pytest.raises(Unavailable, match="No space"):
        log.begin("none", {"model": "m"})
    monkeypatch.setattr(os, "write", write)
    log.begin("whole", {"model": "m"})
    log.close()
    (found,) = opened(tmp_path)
    assert found.intent["intent"] == "whole"


def no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_without_room_for_another_segment_the_one_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = IntentLog.create(tmp_path, "one")
    log.begin("a", {})
    monkeypatch.setattr(intent_log, "SEGMENT_BYTES", 1)
    monkeypatch.setattr(os, "open", no_room)
    with pytest.raises(Unavailable, match="No space"):
        log.begin("b", {})
    monkeypatch.undo()
    log.begin("c", {})
    log.end("a", OUTCOME)
    log.close()
    assert [each.intent["intent"] for each in opened(tmp_path)] == ["a", "c"]
