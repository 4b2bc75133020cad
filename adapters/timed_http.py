"""HTTP against the clock: a peer that answers byte by byte gains no time by it.

The timeouts of http.client begin again with each piece that comes; here all of them end together.
"""

import http.client
import io
import socket
import ssl
import time
from concurrent.futures import Future
from threading import Thread
from typing import Any


def connected(
    connection: http.client.HTTPConnection, context: ssl.SSLContext | None, deadline: float
) -> socket.socket:
    """Return an open socket for a connection, with TLS where there is a context; raises OSError.

    The deadline is an instant of the monotonic clock.
    """
    host, failed = connection.host, OSError("the name has no address")
    for address in _addresses(host, connection.port, deadline):
        try:
            opened = socket.create_connection((address, connection.port), _left(deadline))
        except OSError as error:
            failed = error
            continue
        return _secured(opened, context, host, deadline)
    raise failed


def _addresses(host: str, port: int, deadline: float) -> list[str]:
    """Look a name up; the system's lookup knows no limit, so one that is late goes on alone."""
    found: Future[list[str]] = Future()

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.set_result([str(each[4][0]) for each in answers])
        except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it is
            found.set_exception(error)

    Thread(target=look_up, name="name-lookup", daemon=True).start()
    try:
        return found.result(_left(deadline))
    except TimeoutError:
        raise TimeoutError("the lookup of the name timed out") from None


def _secured(
    opened: socket.socket, context: ssl.SSLContext | None, host: str, deadline: float
) -> socket.socket:
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.settimeout(_left(deadline))  # of the whole handshake, and of whatever is sent
        return opened if context is None else context.wrap_socket(opened, server_hostname=host)
    except BaseException:
        opened.close()
        raise


def answer_of(opened: socket.socket, deadline: float) -> http.client.HTTPResponse:
    """Return the answer to a request that was sent, to be read before the deadline."""
    answer = http.client.HTTPResponse(opened, method="POST")
    answer.fp.close()
    answer.fp = io.BufferedReader(_Reads(opened, deadline))
    answer.begin()
    return answer


class _Reads(io.RawIOBase):
    """What comes through a socket, until an instant."""

    def __init__(self, opened: socket.socket, deadline: float) -> None:
        self._opened = opened
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._opened.settimeout(_left(self._deadline))
        return self._opened.recv_into(buffer)


def _left(deadline: float) -> float:
    """Return the seconds until an instant; raises TimeoutError once there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
