"""A password in an option can be read by every user of the machine: each command says so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo
from tollbook.errors import Invalid, Unavailable

from adapters.postgres import connect, holds_password
from adapters.redis import client as redis
from tests.architecture.source_files import ROOT
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.shell import Ended, run_tollbook

SECRET = "hunter2"
WARNING = "--database holds a password"
REDIS_WARNING = "--redis holds a password"


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        (f"postgresql://user:{SECRET}@db.example/tollbook", True),
        (f"postgresql://user@db.example/tollbook?password={SECRET}", True),
        (f"host=db.example user=user password={SECRET}", True),
        (f"postgresql://db.example/tollbook?sslpassword={SECRET}", True),
        ("postgresql://user@db.example/tollbook", False),
        ("postgresql://user:@db.example/tollbook", False),
        ("postgresql:///tollbook?service=billing&passfile=/etc/pass", False),
        ("service=billing", False),
        ("nonsense", False),
        (f"postgresql://user:100%{SECRET}@db.example/tollbook", True),
        (f"host=db.example password='{SECRET}", True),
    ],
)
def test_a_password_is_found_in_every_form_of_a_url(url: str, holds: bool) -> None:
    assert holds_password(url) is holds


def test_a_password_with_an_at_sign_is_not_taken_for_a_host_and_shown() -> None:
    with pytest.raises(Invalid) as caught:
        connect(f"postgresql://user:half@{SECRET}@127.0.0.1:1/tollbook")
    assert "within a password it is written %40" in caught.value.message
    assert SECRET not in str(caught.value.problem())


def test_a_socket_whose_name_begins_with_an_at_sign_is_a_host() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        connect("host=@/nobody/listens port=1 dbname=tollbook")


def test_a_password_of_the_environment_is_none_of_the_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    assert not holds_password("postgresql://user@db.example/tollbook")


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        (f"redis://:{SECRET}@redis.example:6379/0", True),
        (f"rediss://user:{SECRET}@redis.example", True),
        (f"redis://redis.example?password={SECRET}", True),
        (f"rediss://redis.example?ssl_password={SECRET}", True),
        (f"unix://user:{SECRET}@/run/redis.sock", True),
        (f"redis://user:{SECRET}#half@redis.example", True),
        (f"http://user:{SECRET}@redis.example", True),
        ("redis://user@redis.example", False),
        ("redis://user:@redis.example", False),
        ("unix:///run/redis.sock", False),
        ("nonsense", False),
    ],
)
def test_a_password_is_found_in_every_form_of_an_address_of_redis(url: str, holds: bool) -> None:
    assert redis.holds_password(url) is holds


@pytest.fixture
def url(embedded_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URL of a ledger with a password, which its server does not ask for."""
    key = tmp_path / "master.key"
    key.touch(0o600)
    key.write_text(MASTER_KEY.hex())
    monkeypatch.setenv("TOLLBOOK_MASTER_KEY_FILE", str(key))
    monkeypatch.chdir(tmp_path)
    return make_conninfo(embedded_database.owner_url, password=SECRET)


def assert_told_once(told: Ended, code: int) -> None:
    """Check how a command ended, and that it said what is wrong with its option, and no secret."""
    assert told.code == code, told
    assert told.err.count(WARNING) == 1, told.err
    assert "TOLLBOOK_DATABASE_FILE" in told.err
    assert SECRET not in told.err + told.out


@pytest.mark.parametrize(
    "command",
    [
        ("audit", "verify", "--json"),
        ("customers", "create", "ada", "--name", "Ada", "--currency", "USD"),
        ("keys", "list"),
        ("project", "--until-caught-up"),
    ],
)
def test_a_command_says_once_that_its_password_can_be_read(
    url: str, command: tuple[str, ...]
) -> None:
    assert_told_once(run_tollbook(*command, "--database", url), 0)


def test_a_password_in_the_environment_is_where_it_belongs(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLBOOK_DATABASE", url)
    told = run_tollbook("keys", "list")
    assert (told.code, told.err) == (0, "")


@pytest.fixture
def gateway(url: str, tmp_path: Path) -> tuple[str, ...]:
    """Give a command whose gateway finds no server of models, so that it ends by itself."""
    path = tmp_path / "gateway.toml"
    path.write_text(
        '[[pool]]\nname = "none"\ngrpc = "127.0.0.1:1"\nhttp = "127.0.0.1:1"\n\n'
        '[[model]]\nname = "textgen"\n\n[model.usage]\nrequests = { constant = 1 }\n'
    )
    return ("gateway", "--config", str(path), "--grpc-port", "0", "--http-port", "0")


WAYS = pytest.mark.parametrize("more", [["--check"], [], ["--processes", "2"]])


@WAYS
def test_a_gateway_says_so_once_whatever_the_number_of_its_processes(
    gateway: tuple[str, ...], url: str, more: list[str]
) -> None:
    assert_told_once(run_tollbook(*gateway, "--database", url, *more), 4)


@WAYS
def test_a_gateway_says_so_of_redis_once_whatever_the_number_of_its_processes(
    gateway: tuple[str, ...], url: str, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLBOOK_DATABASE", url)
    told = run_tollbook(*gateway, "--redis", f"redis://:{SECRET}@127.0.0.1:1", *more)
    assert told.code == 4, told
    assert told.err.count(REDIS_WARNING) == 1, told.err
    assert "TOLLBOOK_REDIS" in told.err
    assert SECRET not in told.err + told.out


def test_a_gateway_says_nothing_of_a_password_of_redis_in_the_environment(
    gateway: tuple[str, ...], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLBOOK_DATABASE", url)
    monkeypatch.setenv("TOLLBOOK_REDIS", f"redis://:{SECRET}@127.0.0.1:1")
    told = run_tollbook(*gateway, "--redis", "redis://127.0.0.1:1", "--processes", "2")
    assert "holds a password" not in told.err
    assert SECRET not in told.err + told.out


def test_a_server_says_so_in_its_log(url: str) -> None:
    command = ("serve", "--no-projector", "--port", "0", "--json", "--database", url)
    with subprocess.Popen(
        [sys.executable, "-m", "tollbook", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        assert "url" in started
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert_told_once(Ended(process.returncode, "", err), 0)
    (line,) = [json.loads(each) for each in err.splitlines() if WARNING in each]
    assert (line["level"], line["logger"]) == ("warning", "tollbook")


def test_no_command_reads_the_option_without_that_look_at_it() -> None:
    folder = ROOT / "entrypoints" / "cli"
    for path in folder.glob("*.py"):
        text = path.read_text("utf-8")
        if " settings_from" in text:
            assert "warn_of_password(args)" in text, path
        assert "args.database" not in text or path.stem in {"options", "serve", "gateway"}, path
