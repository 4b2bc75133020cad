"""Ports: one number at every address of a host, which is kept until somebody listens there.

Where the kernel chooses a port it chooses another for each address.
"""

import errno
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

_TURN_SECONDS = 5.0
"""So long who wants a port waits for others that look for theirs; each takes a millisecond."""
_LOOK_SECONDS = 0.01

_TRIES = 100
"""So many free ports are tried, where each is taken at another address of the host."""

_Addresses = Sequence[tuple[socket.AddressFamily, Any]]


def has_several_addresses(host: str) -> bool:
    """Say whether who listens at a host listens at several addresses; no for one that has none."""
    with suppress(OSError):
        return len(list(_addresses(host, 0))) > 1
    return False


@contextmanager
def kept(host: str, port: int) -> Iterator[int]:
    """Keep a port at all addresses of a host during the block, and yield it; 0 takes a free one.

    Nothing listens here, and who shares the port may listen. Raises OSError where it is taken.
    """
    with ExitStack() as stack:
        addresses = list(_addresses(host, port))
        with _turn():
            port = stack.enter_context(_kept_at_all(addresses, port))
        yield port


@contextmanager
def _turn() -> Iterator[None]:
    """Be the only one of this user that looks for its ports; raises OSError if that never comes.

    Two that looked at once would both find a port free, and share it from then on: between the look
    and the hold nobody may come. The name is one of this network alone, as ports are, and no file:
    it is gone with its process, however that ends.
    """
    until = time.monotonic() + _TURN_SECONDS
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as mine:
        while True:
            try:
                mine.bind(f"\0tollbook-gateway-ports-{os.geteuid()}")
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            if time.monotonic() >= until:
                raise TimeoutError("another gateway looks for its ports for too long; end that one")
            time.sleep(_LOOK_SECONDS)
        yield


def _addresses(host: str, port: int) -> Iterator[tuple[socket.AddressFamily, Any]]:
    """Yield the addresses of a host that this machine can have, each once."""
    told = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, address in dict.fromkeys((each[0], each[4]) for each in told):
        try:
            socket.socket(family, socket.SOCK_STREAM).close()
        except OSError:
            continue  # the kernel does not know the family: nobody listens there
        yield family, address


@contextmanager
def _kept_at_all(addresses: _Addresses, port: int) -> Iterator[int]:
    """Keep one port at all addresses during the block, and yield it; 0 takes a free one."""
    for left in reversed(range(_TRIES)):
        with ExitStack() as stack:
            found = port
            try:
                for address in addresses:
                    found = stack.enter_context(_kept(*address, found)).getsockname()[1]
            except OSError as error:
                if port or error.errno != errno.EADDRINUSE or not left:
                    raise
                continue  # what is free at one address may be taken at the next
            yield found
            return


def _kept(family: socket.AddressFamily, address: Any, port: int) -> socket.socket:
    place = (address[0], port, *address[2:])
    # Another crew would share the port: only who asks for it alone hears that it is taken.
    with _opened(family) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(place)
        place = alone.getsockname()
    with ExitStack() as stack:
        mine = stack.enter_context(_opened(family))
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # What is left for a minute of connections to an earlier gateway is in nobody's way; but
        # from then on this socket is in the way of whoever asks for the port alone.
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        mine.bind(place)
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        stack.pop_all()
    return mine


def _opened(family: socket.AddressFamily) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:  # the addresses of IPv4 are asked for as such
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return opened
