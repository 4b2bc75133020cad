"""How the gRPC server stops, whatever its clients do: those that behave do not notice."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import ngh2
import pytest

from adapters.grpc.messages import framed
from tests.gateway import raw_grpc as raw
from tests.gateway.raw_grpc import OK, Client, asked
from tests.gateway.raw_grpc_served import LOOPS, PHASES, Served, serving

CANCELLED = 1


@contextmanager
def stopping(
    loop: str, seconds: float, began: list[float]
) -> Iterator[tuple[Served, Callable[[], None]]]:
    """Serve, and stop in the middle; `began` gets how long that takes."""
    with serving(LOOPS[loop]()) as found:
        thread: list[threading.Thread] = []

        def stop() -> None:
            at = time.monotonic()
            asyncio.run_coroutine_threadsafe(found.server.stop(seconds), found.loop).result(20)
            began.append(time.monotonic() - at)

        def begin() -> None:
            thread.append(threading.Thread(target=stop))
            thread[0].start()
            while not found.server.is_stopping:
                time.sleep(0.001)

        yield found, begin
        thread[0].join()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stop_ends_whatever_its_clients_do(loop: str) -> None:
    took: list[float] = []
    with stopping(loop, 0.5, took) as (served, stop):
        silent = socket.create_connection(("127.0.0.1", served.port), 10)
        idle = Client(served.port)
        idle.call()
        clients = [idle]
        for path, body, end, settings in PHASES.values():
            client = Client(served.port, settings, auto_window_update=False)
            client.ask(asked(path), body, end=end)
            client.settle()
            clients.append(client)
        never = Client(served.port, {ngh2.Setting.INITIAL_WINDOW_SIZE: 2**31 - 1})
        never.h2.set_local_window_size(2**31 - 1)
        never.ask(asked("/test/many"))
        stubborn = Client(served.port)
        stubborn.ask(asked("/test/stubborn"))
        clients += [never, stubborn]
        while served.begun < len(PHASES) + 3:
            time.sleep(0.01)
        stop()
        idle.rest()
        assert idle.goaway == ngh2.ErrorCode.NO_ERROR
        end_by = time.monotonic() + 6
        while not took:
            assert time.monotonic() < end_by
            time.sleep(0.01)
        assert not served.server.connections
        for client in clients:
            client.socket.close()
        silent.close()
    assert took[0] < 4


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stop_lets_calls_end_and_refuses_new_ones_unseen(loop: str) -> None:
    took: list[float] = []
    with stopping(loop, 5, took) as (served, stop), served.client() as client:
        under_way = client.ask(asked("/test/each"), framed(b"a"), end=False)
        while not served.begun:
            time.sleep(0.001)
        stop()
        client.until(lambda: client.goaway is not None)
        client.raw(raw.frame(raw.HEADERS, 5, 101, raw.block(asked("/test/early"))))
        client.send(under_way, framed(b"b"), end=True)
        found = client.answer(under_way)
        assert (found.status, found.body) == (OK, framed(b"a") + framed(b"b"))
        client.rest()
        assert served.begun == 1
    assert took[0] < 3


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stop_that_does_not_wait_tells_those_who_do(loop: str) -> None:
    took: list[float] = []
    with stopping(loop, 0.2, took) as (served, stop), served.client() as client:
        reading = client.ask(asked("/test/echo"), b"", end=False)
        working = client.ask(asked("/test/hold"))
        client.settle()
        stop()
        assert client.answer(reading).status == CANCELLED
        assert client.answer(working).status == CANCELLED
        client.rest()


@pytest.mark.parametrize("loop", LOOPS)
def test_grpcs_own_clients_do_not_notice_that_one_of_two_servers_stops(loop: str) -> None:
    took: list[float] = []
    found: Counter[Any] = Counter()
    with serving(LOOPS[loop]()) as other, stopping(loop, 5, took) as (served, stop):
        options = [("grpc.lb_policy_name", "round_robin")]
        target = f"ipv4:127.0.0.1:{served.port},127.0.0.1:{other.port}"
        with grpc.insecure_channel(target, options=options) as channel:
            echo: Any = channel.unary_unary("/test/echo")
            is_over: list[bool] = []
            threads = [
                threading.Thread(target=_ask, args=(echo, found, lambda: bool(is_over)))
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            time.sleep(0.3)
            stop()
            time.sleep(0.5)
            is_over.append(True)
            for thread in threads:
                thread.join()
    assert set(found) == {grpc.StatusCode.OK}, found
    assert took[0] < 3


def _ask(echo: Any, found: Counter[Any], is_over: Callable[[], bool]) -> None:
    while not is_over():
        try:
            echo(b"x", timeout=5)
            found[grpc.StatusCode.OK] += 1
        except grpc.RpcError as error:
            found[error.code()] += 1
