"""HTTP against the clock: a peer that answers byte by byte gains no time by it.

The timeouts of http.client begin again with each piece that comes; here all of them end together.
"""

import http.client
import io
import socket
import ssl
import time
from typing import Any


def connected(
    connection: http.client.HTTPConnection, context: ssl.SSLContext | None, deadline: float
) -> socket.socket:
    """Return an open socket for a connection, with TLS where there is a context; raises OSError.

    The deadline is an instant of the monotonic clock.
    """
    host, failed = connection.host, OSError("the name has no address")
    for each in socket.getaddrinfo(host, connection.port, type=socket.SOCK_STREAM):
        try:
            address = (str(each[4][0]), connection.port)
            opened = socket.create_connection(address, _left(deadline))
        except OSError as error:
            failed = error
            continue
        return _secured(opened, context, host, deadline)
    raise failed


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
