"""Trace files are read while they are written: each trace once, and hostile files never."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from adapters.triton.traces import BACKLOG, BEYOND, FILE_BYTES_MAX, BootFolder, TraceFolder, Written
from tests.gateway.trace_files import MILLI, Boot

LONG_AGO = 0


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[None]:
    """Count the calls of a function from now on."""
    calls: list[None] = []
    original = getattr(owner, name)

    def counting(*arguments: Any) -> Any:
        calls.append(None)
        return original(*arguments)

    monkeypatch.setattr(owner, name, counting)
    return calls


def requests(found: list[Written]) -> list[str | None]:
    return [trace.request for written in found for trace in written.traces]


def test_each_trace_is_told_once(tmp_path: Path) -> None:
    boot, folder = Boot(tmp_path), TraceFolder(tmp_path)
    boot.batch("a", "b")
    assert requests(folder.look(LONG_AGO)) == ["a", "b"]
    boot.batch("c")
    assert requests(folder.look(LONG_AGO)) == ["c"]
    assert requests(folder.look(LONG_AGO)) == []


def test_a_file_with_many_traces_is_one_file(tmp_path: Path) -> None:
    boot, folder = Boot(tmp_path), TraceFolder(tmp_path)
    boot.write(boot.trace("a", (0, MILLI)), boot.trace("b", (0, MILLI)))
    (written,) = folder.look(LONG_AGO)
    assert [trace.spans for trace in written.traces] == [((0, MILLI),), ((0, MILLI),)]


def test_a_restarted_server_writes_the_same_names_into_another_folder(tmp_path: Path) -> None:
    first, folder = Boot(tmp_path), TraceFolder(tmp_path)
    first.batch("a")
    assert requests(folder.look(LONG_AGO)) == ["a"]
    second = Boot(tmp_path, "boot-0000000000000002")
    second.batch("b")
    first.batch("late")
    found = folder.look(LONG_AGO)
    assert {written.boot for written in found} == {first.folder.name, second.folder.name}
    assert sorted(map(str, requests(found))) == ["b", "late"]


def test_a_folder_that_comes_later_is_read(tmp_path: Path) -> None:
    folder = TraceFolder(tmp_path / "later")
    assert folder.look(LONG_AGO) == []
    boot = Boot(tmp_path / "later")
    boot.batch("a")
    assert requests(folder.look(LONG_AGO)) == ["a"]


def test_a_file_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    boot, folder = Boot(tmp_path), TraceFolder(tmp_path)
    whole = json.dumps(boot.trace("a", (0, MILLI)))
    path = boot.write_text("")
    boot.batch("b")
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_text(whole[:size], "utf-8")
        assert requests(folder.look(LONG_AGO)) == ([] if size else ["b"])
    time.sleep(0.3)  # the folder itself stands still
    path.write_text(whole, "utf-8")
    assert requests(folder.look(LONG_AGO)) == ["a"]
    assert folder.look(LONG_AGO) == []


def test_a_file_that_never_becomes_whole_is_left_out_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.triton.traces.HALF_SECONDS", 0.05)
    boot, folder = Boot(tmp_path), TraceFolder(tmp_path)
    boot.write_text('[{"id":1,')
    boot.batch("b")
    assert requests(folder.look(LONG_AGO)) == ["b"]
    time.sleep(0.1)
    for _ in range(3):
        assert folder.look(LONG_AGO) == []
    assert [record.message for record in caplog.records if "left out" in record.message] == [
        caplog.records[0].message
    ]


HOSTILE = [
    '{"id":1}',
    "[1]",
    '[{"model_name":"m"}]',
    '[{"id":true,"model_name":"m"}]',
    '[{"id":-1,"model_name":"m"}]',
    '[{"id":99999999999999999999,"model_name":"m"}]',
    '[{"id":1,"model_name":7,"model_version":1}]',
    '[{"id":1,"model_name":"m","model_version":"1"}]',
    '[{"id":1,"model_name":"m","model_version":1,"request_id":["x"]}]',
    '[{"id":1,"timestamps":[{"name":"COMPUTE_START","ns":1}]}]',
    '[{"id":1,"timestamps":[{"name":"COMPUTE_START","ns":9},{"name":"COMPUTE_END","ns":1}]}]',
    '[{"id":1,"timestamps":[{"name":"COMPUTE_START","ns":-1},{"name":"COMPUTE_END","ns":1}]}]',
    '[{"id":1,"timestamps":[{"name":"COMPUTE_START","ns":1e3}]}]',
    '[{"id":1,"timestamps":[{"name":"COMPUTE_START","ns":9223372036854775808}]}]',
    '[{"id":1,"timestamps":[7]}]',
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_file_that_no_server_writes_is_left_out_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    boot, folder = Boot(tmp_path), TraceFolder(tmp_path)
    boot.write_text(text)
    boot.batch("b")
    assert requests(folder.look(LONG_AGO)) == ["b"]
    assert folder.look(LONG_AGO) == []
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '[{"id":1,"model_name":"m","model_version":1,"parent_id":[1]}]',
        '[{"id":1,"timestamps":null},{"id":1,"activity":"TENSOR_QUEUE_INPUT","tensor":{}}]',
        '[{"id":12,"timestamps":[{"name":"HTTP_RECV_START","ns":5}]}]',  # a body that was no JSON
    ],
)
def test_a_file_that_tells_nothing_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    boot, folder = Boot(tmp_path), TraceFolder(tmp_path)
    boot.write_text(text)
    boot.batch("b")
    assert [each for each in requests(folder.look(LONG_AGO)) if each is not None] == ["b"]
    assert caplog.records == []


def test_what_is_no_plain_file_is_never_opened_for_long(tmp_path: Path) -> None:
    boot, folder = Boot(tmp_path), TraceFolder(tmp_path)
    os.mkfifo(boot.folder / f"trace.json.{next(boot.files)}")
    (boot.folder / f"trace.json.{next(boot.files)}").symlink_to("/dev/zero")
    (boot.folder / f"trace.json.{next(boot.files)}").mkdir()
    with (boot.folder / f"trace.json.{next(boot.files)}").open("wb") as huge:
        huge.truncate(FILE_BYTES_MAX + 1)
    boot.write_text("[" * 100_000 + "]" * 100_000)
    (boot.folder / "notes.txt").write_text("not a trace")
    boot.batch("b")
    assert requests(folder.look(LONG_AGO)) == ["b"]


def test_files_are_found_out_of_order_and_across_gaps(tmp_path: Path) -> None:
    boot, folder = Boot(tmp_path), TraceFolder(tmp_path)
    boot.batch("a")
    for _ in range(3):
        next(boot.files)
    boot.batch("e")
    assert requests(folder.look(LONG_AGO)) == ["a", "e"]
    (boot.folder / "trace.json.2").write_text(json.dumps(boot.trace("c")), "utf-8")
    assert requests(folder.look(LONG_AGO)) == ["c"]
    for _ in range(10 * BEYOND):
        next(boot.files)
    boot.batch("z")
    found: list[str | None] = []
    end = time.monotonic() + 10
    while not found and time.monotonic() < end:
        found = requests(folder.look(LONG_AGO))
        time.sleep(0.05)
    assert found == ["z"]


def test_old_files_are_passed_over_unread(tmp_path: Path) -> None:
    boot = Boot(tmp_path)
    for number in range(100):
        boot.write(boot.trace(f"old{number}"), age=600 - number)
    boot.batch("new")
    since = time.time_ns() - 60_000_000_000
    folder = TraceFolder(tmp_path)
    assert requests(folder.look(since)) == ["new"]
    boot.batch("newer")
    assert requests(folder.look(since)) == ["newer"]


def test_a_backlog_of_a_pause_is_passed_over_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.triton.traces.PAUSE_SECONDS", 0.0)
    boot, folder = Boot(tmp_path), TraceFolder(tmp_path)
    boot.batch("a")
    assert requests(folder.look(LONG_AGO)) == ["a"]
    for _ in range(BACKLOG + 10):
        boot.write_text("[]", age=300)
    boot.batch("b")
    tried = counted(monkeypatch, BootFolder, "_read")
    assert requests(folder.look(time.time_ns() - 60_000_000_000)) == ["b"]
    assert len(tried) < 2 * BEYOND


def test_many_old_files_cost_nothing_at_each_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = Boot(tmp_path)
    first = boot.write_text("[]", age=600)
    for _ in range(30_000):
        (boot.folder / f"trace.json.{next(boot.files)}").hardlink_to(first)
    folder, since = TraceFolder(tmp_path), time.time_ns() - 60_000_000_000
    boot.batch("a")
    assert requests(folder.look(since)) == ["a"]
    monkeypatch.setattr("adapters.triton.traces.PAUSE_SECONDS", 60.0)
    listings = counted(monkeypatch, os, "listdir")
    for number in range(200):
        boot.batch(f"b{number}")
        assert requests(folder.look(since)) == [f"b{number}"]
    (files,) = folder.boots[boot.folder.name]._files.values()
    assert files.beyond == set()  # what is remembered is one number
    assert len(listings) <= 1
    shutil.rmtree(boot.folder)


def test_files_are_removed_only_when_they_were_used_and_are_old(tmp_path: Path) -> None:
    boot, folder = Boot(tmp_path), TraceFolder(tmp_path)
    for number in range(5):
        boot.write(boot.trace(f"a{number}"), age=7200 - number)
    boot.batch("b")
    assert len(requests(folder.look(LONG_AGO))) == 6
    unread = boot.write(boot.trace("c"), age=7000)
    assert folder.remove_before(time.time_ns() - 3600 * 10**9) == 5
    assert sorted(path.name for path in boot.folder.iterdir()) == ["trace.json.5", unread.name]
    assert requests(folder.look(LONG_AGO)) == ["c"]


def test_nothing_is_removed_unless_asked_for(tmp_path: Path) -> None:
    boot, folder = Boot(tmp_path), TraceFolder(tmp_path)
    for number in range(5):
        boot.write(boot.trace(f"a{number}"), age=10**6)
    folder.look(LONG_AGO)
    assert len(list(boot.folder.iterdir())) == 5
