"""The log of samples: what was written is read, and a cut line harms only itself."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.errors import Unavailable
from tollbook.times import SECOND, parse_instant

from adapters import sample_log
from domain.free_inferences import Free
from domain.server_counters import Counters, Sample

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
COUNTERS = st.builds(Counters, *[st.integers(0, 2**63)] * 5)
SAMPLES = st.builds(
    Sample,
    st.integers(0, 2**50),
    *[st.integers(0, 2**60)] * 2,
    st.dictionaries(
        NAMES, st.dictionaries(st.tuples(NAMES, NAMES), COUNTERS, max_size=3), max_size=2
    ),
    st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(1, 9), max_size=2), max_size=2),
)
DAY = 86_400 * SECOND
AT = parse_instant("2026-03-01T12:00:00Z")


def plain(at: int) -> Sample:
    return Sample(at, 1, 2, {"s:1": {("m", "1"): Counters(3)}}, {})


@given(st.lists(SAMPLES, max_size=4, unique_by=lambda sample: sample.at))
def test_what_was_written_is_read_oldest_first(samples: list[Sample]) -> None:
    data = [sample_log.line_of(sample) for sample in samples]
    assert [found for line in data for found in sample_log.samples_of(line)] == samples


def test_samples_of_all_days_are_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    for at in (AT + 2 * DAY, AT, AT + DAY):
        sample_log.append(folder, plain(at))
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"counters-2026-03-0{day}.jsonl" for day in (1, 2, 3)]
    assert sample_log.read(folder) == [plain(AT), plain(AT + DAY), plain(AT + 2 * DAY)]


UNREADABLE = "counters-2026-03-{:02d}.jsonl"


@pytest.mark.parametrize(
    ("begin", "end", "read"),
    [
        (9, 9, [1, 5, 9, 13, 21]),
        (9, 13, [1, 5, 9, 13, 17, 21]),
        (10, 10, [1, 9, 13, 21]),
        (None, 2, [1, 5, 21]),
        (20, None, [1, 17, 21]),
        (25, 29, [1, 21]),
        (None, None, [1, 5, 9, 13, 17, 21]),
    ],
)
def test_only_the_days_asked_for_those_around_them_the_first_and_the_last_are_read(
    tmp_path: Path, begin: int | None, end: int | None, read: list[int]
) -> None:
    for day in (1, 5, 9, 13, 17, 21):
        if day in read:
            sample_log.append(tmp_path, plain(AT + (day - 1) * DAY))
        else:
            (tmp_path / UNREADABLE.format(day)).mkdir()
    asked = (None if day is None else AT + (day - 1) * DAY for day in (begin, end))
    assert sample_log.read(tmp_path, *asked) == [plain(AT + (day - 1) * DAY) for day in read]


def test_a_day_without_a_whole_line_is_no_neighbour(tmp_path: Path) -> None:
    for day in (0, 1, 3, 5, 6):
        sample_log.append(tmp_path, plain(AT + day * DAY))
    for day in (3, 5):
        (tmp_path / UNREADABLE.format(day)).write_bytes(b'{"at":')
    found = sample_log.read(tmp_path, AT + 3 * DAY, AT + 3 * DAY)
    assert found == [plain(AT + day * DAY) for day in (0, 1, 3, 5, 6)]


def test_what_is_older_than_a_day_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for day in (0, 1, 2):
        sample_log.append(tmp_path, plain(AT + day * DAY))
    (tmp_path / "counters-2026-02-01.jsonl.copy").write_text("mine")
    sample_log.remove_before(tmp_path, AT + DAY)
    assert sample_log.read(tmp_path) == [plain(AT + DAY), plain(AT + 2 * DAY)]
    assert (tmp_path / "counters-2026-02-01.jsonl.copy").exists()
    sample_log.remove_before(tmp_path / "nowhere", AT)


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    (tmp_path / UNREADABLE.format(1)).mkdir()
    with pytest.raises(Unavailable, match="cannot be removed"):
        sample_log.remove_before(tmp_path, AT + DAY)


@pytest.mark.parametrize("left", [1, 10, 50, -2])
def test_a_line_that_was_cut_harms_only_itself(tmp_path: Path, left: int) -> None:
    sample_log.append(tmp_path, plain(AT))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:left])
    sample_log.append(tmp_path, plain(AT + 1))
    assert sample_log.read(tmp_path) == [plain(AT), plain(AT + 1)]


def test_other_files_and_lines_are_passed_over(tmp_path: Path) -> None:
    sample_log.append(tmp_path, plain(AT))
    (tmp_path / "notes.txt").write_text("mine")
    (path,) = tmp_path.glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'[]\n7\n{"at": 1}\n{"at": "x"}\nnull\n\xff\n')
    assert sample_log.read(tmp_path) == [plain(AT)]
    assert sample_log.read(tmp_path / "nowhere") == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be written"):
        sample_log.append(tmp_path / "file", plain(AT))


def free(id: str, ended: int) -> Free:
    return Free(id, "ada", "text", "the server failed it: 'so' ü", ended - 5, ended)


def test_notes_stand_between_samples_and_neither_is_taken_for_the_other(tmp_path: Path) -> None:
    sample_log.append(tmp_path, plain(AT))
    sample_log.note(tmp_path, free("inf_1", AT + 1))
    sample_log.append(tmp_path, plain(AT + 2))
    with (tmp_path / "counters-2026-03-01.jsonl").open("ab") as file:
        file.write(b'{"free":{"id":"inf_2","customer":"ad')
    sample_log.note(tmp_path, free("inf_3", AT + 3))
    assert sample_log.read(tmp_path) == [plain(AT), plain(AT + 2)]
    assert sample_log.notes(tmp_path, AT, AT) == [free("inf_1", AT + 1), free("inf_3", AT + 3)]


def test_notes_of_the_days_asked_for_and_those_beside_them_are_read(tmp_path: Path) -> None:
    for day in range(6):
        sample_log.note(tmp_path, free(f"inf_{day}", AT + day * DAY))
    found = sample_log.notes(tmp_path, AT + 2 * DAY, AT + 3 * DAY)
    assert [each.id for each in found] == ["inf_1", "inf_2", "inf_3", "inf_4"]
    assert sample_log.notes(tmp_path / "none", AT, AT) == []


def test_notes_go_with_the_samples_of_their_day(tmp_path: Path) -> None:
    sample_log.note(tmp_path, free("inf_1", AT))
    sample_log.remove_before(tmp_path, AT + DAY)
    assert sample_log.notes(tmp_path, AT, AT) == []
