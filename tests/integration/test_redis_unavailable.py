"""Whatever is wrong with Redis: it is said in one way and in time, and no password is repeated."""

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tollbook.errors import Invalid

from adapters.child_servers.ports import LOOPBACK, free_ports
from adapters.redis.allowances import RedisAllowances
from adapters.redis.errors import RedisUnavailable
from tests.support.allowances import PATIENCE, a_slice
from tests.support.redis import a_redis

SHORT = 0.2
"""Seconds that a gateway waits for a Redis that does not answer."""


@contextmanager
def a_server_that_says(answer: bytes) -> Iterator[str]:
    """Serve something that answers each piece it reads with the same, and nothing with silence."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65_536):
                if answer == b"bye":
                    return
                self.request.sendall(answer)

    with socketserver.ThreadingTCPServer((LOOPBACK, 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"redis://{LOOPBACK}:{server.server_address[1]}/0"
        server.shutdown()


def everything_fails(url: str) -> list[str]:
    """Do everything once where nothing works; return what is said."""

    async def story() -> list[str]:
        one = RedisAllowances(url, "ledger", "one", timeout_seconds=SHORT)
        calls = [
            one.draw("key", 1, 1),
            one.publish("key", a_slice(), 0),
            one.terms("slice-1"),
            one.close_slice("slice-1"),
            one.tally("slice-1"),
            one.is_tallied("slice-1"),
            one.forget("slice-1"),
        ]
        said = []
        for call in calls:
            with pytest.raises(RedisUnavailable) as caught:
                async with asyncio.timeout(PATIENCE):
                    await call
            said.append(str(caught.value))
        await one.close()
        return said

    return asyncio.run(story())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"bye",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-BUSY Redis is busy running a script\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-NOPERM this user has no permissions\r\n",
        b"-NOSCRIPT No matching script.\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"+OK\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*2\r\n$2\r\n99\r\n*1\r\n*1\r\n$4\r\nnone\r\n",
        b"*2\r\n$1\r\n\xff\r\n:1\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
    ids=lambda answer: answer[:12].decode("latin-1").strip() or "silence",
)
def test_whatever_is_wrong_with_redis_is_said_in_one_way(answer: bytes) -> None:
    with a_server_that_says(answer) as url:
        assert all(everything_fails(url))


def test_nobody_who_listens_is_unavailable() -> None:
    (port,) = free_ports(1)
    assert all("connecting" in said for said in everything_fails(f"redis://{LOOPBACK}:{port}/0"))


def test_a_wrong_password_is_unavailable_and_is_not_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with a_redis(tmp_path / "redis", password="r1ght") as server:
        said = everything_fails(server.url.replace("r1ght", "wr0ng"))
    assert all("r1ght" not in each and "wr0ng" not in each for each in [*said, caplog.text])


@pytest.mark.parametrize("url", ["", "http://:s3cret@host", "redis://:s3/cret@host", "redis:://s3"])
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(Invalid, match="redis://") as caught:
        RedisAllowances(url, "ledger", "one")
    assert "s3" not in str(caught.value)
    assert caught.value.__cause__ is None
