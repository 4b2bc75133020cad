"""Ports of loopback for the servers that we run."""

import contextlib
import secrets
import socket

LOOPBACK = "127.0.0.1"

# Below the range from which the kernel takes ports for outgoing connections: after a kill, a
# server must get its ports again, whatever connected to something meanwhile.
_FIRST_PORT = 12_000
_PORTS = 20_000


def free_ports(count: int) -> tuple[int, ...]:
    """Find ports that nobody listens on at the moment."""
    found: set[int] = set()
    while len(found) < count:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind((LOOPBACK, port))
            found.add(port)
    return tuple(found)
