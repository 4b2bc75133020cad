"""Translating: what the driver raises becomes an error of the port.

Whoever decides knows only those: the batch was not written, or nobody knows.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from application.ports import ConnectionLostError, FencedError, StoreFailedError, TakenError

LOST = (psycopg.OperationalError, psycopg.InterfaceError)
"""Raised when a connection breaks, among other things."""

_FULL = (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory, psycopg.errors.InsufficientResources)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into the ones of the port."""
    try:
        yield
    except psycopg.errors.UniqueViolation as error:
        raise TakenError(str(error.diag.constraint_name)) from None
    except _FULL as error:
        raise StoreFailedError(_line(error)) from None
    except psycopg.Error as error:
        state = error.sqlstate
        if state == "TB001":
            raise FencedError from None
        if state == "TB002":
            raise TakenError("customer") from None
        if isinstance(error, LOST) and (state is None or state[:2] in ("08", "57")):
            raise ConnectionLostError(_line(error)) from None
        raise StoreFailedError(_line(error)) from None


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
