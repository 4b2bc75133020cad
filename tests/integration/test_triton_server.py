"""A real Triton in a folder: it starts, answers, and leaves nothing when it is killed."""

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.triton.errors import TritonUnavailable
from adapters.triton.installation import find
from adapters.triton.server import TritonServer
from tests.support.triton import (
    a_triton,
    account,
    connected,
    infer,
    installed,
    tensor,
    text_inputs,
    traced,
    traces,
    wait_until,
)

SHARED_MEMORY = Path("/dev/shm")
ALL_MODELS = (
    *("textgen", "textgen_stream", "textgen_cached", "slow", "failing", "image"),
    *("document", "retrieve", "polish", "pipeline", "identity"),
)

STARTER = """
import sys, time
from pathlib import Path
from adapters.triton.server import TritonServer
server = TritonServer(Path(sys.argv[1]), models=["identity"])
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


def regions(server: TritonServer) -> list[Path]:
    """List the shared memory that a server holds."""
    return list(SHARED_MEMORY.glob(f"{server.shared_memory}*"))


def is_alive(pid: int) -> bool:
    """Tell whether a process lives; one that only waits to be collected does not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):  # it may go while it is read
        return False


def status_of(address: str, path: str) -> int:
    """Ask for a page over HTTP."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_the_server_says_that_it_lives_and_is_ready(triton: TritonServer, path: str) -> None:
    assert status_of(triton.http_address, path) == http.client.OK
    assert status_of(triton.metrics_address, "/metrics") == http.client.OK


def test_every_model_of_the_repository_is_ready(triton: TritonServer) -> None:
    with connected(triton) as connection:
        found = {model.name for model in connection.get_model_repository_index().models}
        assert found == set(ALL_MODELS)
        assert all(connection.is_model_ready(name) for name in ALL_MODELS)


def end_by_stop(server: TritonServer) -> None:
    """Stop a server in order."""
    server.stop()


def end_by_kill(server: TritonServer) -> None:
    """Kill a server through its keeper."""
    server.kill()


def end_from_outside(server: TritonServer) -> None:
    """Kill the server's own process, as the kernel would."""
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.is_running())


@pytest.mark.parametrize("end", [end_by_stop, end_by_kill, end_from_outside])
def test_a_server_that_ended_leaves_nothing_and_starts_again_on_its_ports(
    tmp_path: Path, end: Callable[[TritonServer], None]
) -> None:
    with a_triton(tmp_path / "triton", models=["textgen"]) as server:
        infer(server, "textgen", text_inputs("before"), request_id="before")
        traced(server, "before")
        ports, folder = server.ports, server.trace_folder
        assert regions(server)
        end(server)
        assert regions(server) == []
        assert not server.is_ready()
        server.restart()
        infer(server, "textgen", text_inputs("after"), request_id="after")
        traced(server, "after")
        assert server.ports == ports
        assert folder is not None
        assert folder.name.startswith("boot-")
        assert folder != server.trace_folder
        assert [one["request_id"] for one in traces(folder).values()] == ["before"]
        assert [line["request_id"] for line in account(server, "textgen")] == ["before", "after"]


def test_a_server_that_ended_by_itself_tells_how(tmp_path: Path) -> None:
    with a_triton(tmp_path / "triton", models=["identity"]) as server:
        codes = [server.exit_code]
        end_from_outside(server)
        codes.append(server.exit_code)
        server.restart()
        codes.append(server.exit_code)
    assert codes == [None, -signal.SIGKILL, None]


def tunables(server: TritonServer) -> list[str]:
    """Return what the server's process was told of its memory; the C library cuts it in pieces."""
    variables = Path(f"/proc/{server.pid}/environ").read_bytes().decode()
    return [each for each in re.split("[\0:]", variables) if "glibc.malloc." in each]


def test_a_thread_of_a_server_that_writes_traces_keeps_what_it_frees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TritonServer(tmp_path / "plain", models=["identity"], installation=installed()) as plain:
        assert tunables(plain) == []
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    with a_triton(tmp_path / "tracing", models=["identity"]) as tracing:
        kept = "glibc.malloc.tcache_count=65535"
        assert tunables(tracing) == ["GLIBC_TUNABLES=glibc.malloc.check=0", kept]


def test_two_servers_do_not_disturb_each_other(tmp_path: Path) -> None:
    with (
        a_triton(tmp_path / "one", models=["identity"]) as one,
        a_triton(tmp_path / "two", models=["identity"]) as two,
    ):
        assert not set(one.ports) & set(two.ports)
        one.kill()
        numbers = infer(two, "identity", [tensor("IN", "FP32", [1.0])])
        assert numbers.as_numpy("OUT").tolist() == [1.0]


def test_it_does_not_matter_where_a_server_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('not the real one')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with a_triton(Path("triton"), models=["identity"]) as server:
        numbers = infer(server, "identity", [tensor("IN", "FP32", [1.0])], request_id="there")
        assert numbers.as_numpy("OUT").tolist() == [1.0]
        assert [line["request_id"] for line in account(server, "identity")] == ["there"]


def test_a_folder_has_one_server_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_triton(tmp_path / "triton", models=["identity"]) as first:
        monkeypatch.setattr("adapters.child_servers.child._LOCK_SECONDS", 0)
        second = TritonServer(first.folder, models=["identity"])
        with pytest.raises(TritonUnavailable, match="a Triton runs in"):
            second.start()
        assert first.is_ready()


@pytest.mark.parametrize("victim", ["starter", "keeper"])
def test_a_server_does_not_outlive_whoever_started_it(tmp_path: Path, victim: str) -> None:
    installed()
    folder = tmp_path / "triton"
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)], stdout=subprocess.PIPE
    ) as starter:
        assert starter.stdout is not None
        server = int(starter.stdout.readline())
        keeper = int(Path(f"/proc/{server}/stat").read_text("utf-8").rpartition(")")[2].split()[1])
        os.kill(starter.pid if victim == "starter" else keeper, signal.SIGKILL)
        wait_until(lambda: not is_alive(server))
        starter.kill()
    after = TritonServer(folder, models=["identity"])
    with after:  # which waits until the last process of the earlier one has let go
        assert after.is_ready()
    assert regions(after) == []


def test_a_bad_repository_ends_with_what_is_wrong_with_it(tmp_path: Path) -> None:
    model = tmp_path / "repository" / "broken"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text('backend: "python"\n', encoding="utf-8")
    (model / "1" / "model.py").write_text("raise RuntimeError('no such luck')\n", encoding="utf-8")
    with (
        pytest.raises(TritonUnavailable, match="no such luck"),
        a_triton(tmp_path / "triton", repository=model.parent),
    ):
        pass


@pytest.mark.parametrize(
    ("lay_out", "reason"),
    [
        (lambda _: None, "there is no Triton in"),
        (lambda home: (home / "unavailable").write_text("no wheel"), r"not install .*: no wheel"),
        (lambda home: (home / "bin").mkdir(), "there is no Triton in"),
    ],
)
def test_where_there_is_no_triton_the_reason_is_told(
    tmp_path: Path, lay_out: Callable[[Path], object], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path)
    monkeypatch.setenv("TOLLBOOK_TRITON_HOME", str(tmp_path))
    with pytest.raises(TritonUnavailable, match=reason):
        find()
