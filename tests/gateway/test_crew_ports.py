"""Ports that several processes share: they are kept for one crew, and for nobody else."""

import errno
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from typing import Any

import pytest
from tollbook.errors import Unavailable

from entrypoints.gateway import ports
from entrypoints.gateway.crew import reserved

SECONDS = 60


def test_ports_that_others_listen_on_are_not_shared_with_them() -> None:
    with reserved("127.0.0.1", 0) as port, closing(socket.socket()) as member:
        member.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        member.bind(("127.0.0.1", port))
        member.listen()
        told = f"127.0.0.1 port {port} is not to be had.*; stop what has it, or choose another"
        taken = pytest.raises(Unavailable, match=told)
        with taken, reserved("127.0.0.1", port):
            pass
        # Nothing comes to the socket that only keeps the port: all of it to the member.
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=SECONDS):
                member.settimeout(SECONDS)
                member.accept()[0].close()


def test_connections_that_an_earlier_gateway_has_ended_keep_no_crew_from_its_port() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as earlier:
        port = earlier.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            earlier.accept()[0].close()  # who ends it first has it for another minute
            assert client.recv(1) == b""
    alone = pytest.raises(OSError, match="in use")
    with reserved("127.0.0.1", port), closing(socket.socket()) as other, alone:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))


def test_a_port_is_kept_at_every_address_that_a_name_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name has two addresses on every machine: one is told to have them."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", 0)) for n in (1, 2, 1)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with reserved("both.test", 0) as port:
        for address in ("127.0.0.1", "127.0.0.2"):
            with closing(socket.socket()) as other, pytest.raises(OSError, match="in use"):
                other.bind((address, port))
    with closing(socket.create_server(("127.0.0.2", 0))) as other:
        port = other.getsockname()[1]
        taken = pytest.raises(Unavailable, match=f"both.test port {port} is not to be had")
        with taken, reserved("both.test", port):
            pass
    with reserved("both.test", port) as again:
        assert again == port


def test_a_free_port_is_one_that_is_free_at_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", 0)) for n in (1, 2)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    kept, tried = ports._kept, list[int]()

    def taken_at_first(family: socket.AddressFamily, address: Any, port: int) -> socket.socket:
        if address[0] == "127.0.0.2":
            tried.append(port)
            if len(tried) == 1:
                raise OSError(errno.EADDRINUSE, "Address already in use")
        return kept(family, address, port)

    monkeypatch.setattr(ports, "_kept", taken_at_first)
    with reserved("both.test", 0) as port:
        assert tried[1:] == [port]


class LongClosed(socket.socket):
    """A socket after which nothing happens for a moment, in which others may come."""

    def close(self) -> None:
        """Close it, and rest."""
        super().close()
        time.sleep(0.02)


def test_of_crews_that_begin_in_the_same_instant_one_has_the_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", LongClosed)
        assert [owners_of_a_port(3) for _ in range(3)] == [1, 1, 1]


def owners_of_a_port(count: int) -> int:
    """Have so many reserve the same port at once, and return how many have it then."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    begin, end = threading.Barrier(count, timeout=SECONDS), threading.Barrier(count + 1)
    owners: list[int] = []

    def go() -> None:
        begin.wait()
        with suppress(Unavailable), reserved("127.0.0.1", port):
            owners.append(port)
            end.wait(SECONDS)
            return
        end.wait(SECONDS)

    threads = [threading.Thread(target=go) for _ in range(count)]
    for thread in threads:
        thread.start()
    end.wait(SECONDS)
    for thread in threads:
        thread.join()
    return len(owners)


HOLDS_ITS_TURN = """
import time
from entrypoints.gateway import ports
with ports._turn():
    print("mine", flush=True)
    time.sleep(600)
"""


def test_who_is_killed_while_it_looks_for_its_ports_is_in_nobodys_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = [sys.executable, "-c", HOLDS_ITS_TURN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        with monkeypatch.context() as patch:
            patch.setattr(ports, "_TURN_SECONDS", 0.1)
            told = pytest.raises(Unavailable, match=r"port 0 is not to be had: .*; end that one")
            with told, reserved("127.0.0.1", 0):
                pass
        process.kill()
    with reserved("127.0.0.1", 0) as port:
        assert port
