"""How a client gets its methods: from the functions that build the calls, signatures and all.

Each call is described once, with its parameters and its words; both clients take their methods
from there, so that neither can offer something else than the other.
"""

import functools
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

C = TypeVar("C")
P = ParamSpec("P")
A = TypeVar("A")
R = TypeVar("R")


class Method(Generic[C, P, A, R]):
    """A method that builds something and hands it to its client."""

    def __init__(self, build: Callable[P, A], use: Callable[[C, A], R]) -> None:
        """Take the function that builds, and what the client does with what was built."""
        self._build = build
        self._use = use
        self.__doc__ = build.__doc__

    def __get__(self, client: C, owner: type[C]) -> Callable[P, R]:
        """Return the method of one client."""

        @functools.wraps(self._build)
        def method(*args: P.args, **kwargs: P.kwargs) -> R:
            return self._use(client, self._build(*args, **kwargs))

        return method
