"""A variable of the environment that nothing reads is named, and the one that was meant."""

from pathlib import Path

import pytest
from tollbook import cli
from tollbook.variables import unread, warnings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TOLLBOOK_DATABSE", "TOLLBOOK_DATABASE"),
        ("TOLLBOOK_DATA_DIR", "TOLLBOOK_DATA"),
        ("TOLLBOOK_KAFKA_TSL", "TOLLBOOK_KAFKA_TLS"),
        ("TOLLBOOK_MASTER_KEY", "TOLLBOOK_MASTER_KEY_FILE"),
        ("TOLLBOOK_RATE_REQUEST", "TOLLBOOK_RATE_REQUESTS"),
    ],
)
def test_the_nearest_known_name_is_told_and_never_the_value(name: str, meant: str) -> None:
    (told,) = warnings({name: "postgresql://ada:secret@db/"})
    assert name in told
    assert told.endswith(f"(did you mean {meant}?)")
    assert "secret" not in told


def test_what_is_like_nothing_is_told_without_a_guess() -> None:
    (told,) = warnings({"TOLLBOOK_XYZZY": "1"})
    assert told.endswith("TOLLBOOK_XYZZY has no effect: nothing reads it")


def test_what_is_known_or_not_ours_is_not_told() -> None:
    given = ("TOLLBOOK_DATA", "TOLLBOOK_KEY", "TOLLBOOK_SEED", "DATABSE", "MY_TOLLBOOK_DATABSE")
    assert unread(dict.fromkeys(given, "x")) == []


def test_what_kubernetes_tells_of_a_service_called_tollbook_is_no_mistake() -> None:
    given = dict.fromkeys(
        (
            *("TOLLBOOK_SERVICE_HOST", "TOLLBOOK_SERVICE_PORT", "TOLLBOOK_API_SERVICE_PORT_HTTP"),
            *("TOLLBOOK_PORT", "TOLLBOOK_PORT_8400_TCP", "TOLLBOOK_PORT_8400_TCP_ADDR"),
        ),
        "x",
    )
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", **given}
    assert unread({**pod, "TOLLBOOK_DATABSE": "x"}) == ["TOLLBOOK_DATABSE"]
    assert unread(given) == sorted(given)


def test_a_command_warns_once_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOLLBOOK_DATABSE", "x")
    monkeypatch.setenv("TOLLBOOK_TRACEBCK\x1b", "1")
    leaves = tmp_path / "leaves"
    leaves.write_text("0" * 64)
    assert cli.main(["merkle", "root", str(leaves), "--json"]) == 0
    ended = capsys.readouterr()
    first, second = ended.err.splitlines()
    assert first.startswith("tollbook: the environment variable TOLLBOOK_DATABSE has no effect")
    assert "TOLLBOOK_TRACEBCK\\x1b has no effect" in second
    assert "TOLLBOOK" not in ended.out
