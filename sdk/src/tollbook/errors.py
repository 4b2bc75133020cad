"""What can go wrong, as one tree of exceptions, and the exit code of each on the shell.

    TollbookError
    ├── Invalid       the input breaks a rule of form; facts: field, value, rule     exit 2
    ├── NotFound      nothing has that id                                            exit 2
    ├── Refused       a rule of the ledger says no (insufficient_balance, expired)   exit 3
    ├── Conflict      it collides with what is already recorded (id_reused)          exit 3
    ├── Unavailable   something we need does not answer; trying again may help       exit 4
    ├── Unknown       the outcome is unknown; ask by id before doing it again        exit 4
    ├── Interrupted   somebody stopped it before its end; ask by id                  exit 130
    └── Tampered      a proof, hash or signature does not hold; never retried        exit 1

An error carries a stable ``code`` for programs, a message for people, and facts that a caller
would otherwise have to parse out of the message. Transport statuses live where the transport does.
"""

from typing import Any, Self

EXIT_DONE = 0
EXIT_DIFFERENCES = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_UNAVAILABLE = 4
EXIT_INTERRUPTED = 130  # as a shell reports a process that SIGINT ended: 128 and its number

SHOWN_VALUE_LIMIT = 80
_RESERVED_FACTS = frozenset({"type", "title", "status", "detail", "instance"})


class TollbookError(Exception):
    """The root of every error that Tollbook raises on purpose."""

    title = "Internal error"
    default_code = "internal"
    default_retryable = False
    exit_status = EXIT_UNAVAILABLE

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retryable: bool | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message)
        reserved = _RESERVED_FACTS & facts.keys()
        if reserved:
            raise TypeError(f"a problem document already has a member {min(reserved)!r}")
        self.message = message
        self.code = self.default_code if code is None else code
        self.retryable = self.default_retryable if retryable is None else retryable
        self.facts = facts

    def kept(self) -> Self:
        """Return this error as a value to keep: without the frames that it was raised through.

        They hold whatever was at hand there, a request's body for one, and often the error itself:
        such a circle lives on until the garbage collector comes by, which may be late.
        """
        self.__context__ = self.__cause__ = None
        return self.with_traceback(None)

    def problem(self) -> dict[str, Any]:
        """Return the problem document (after RFC 9457): code, title, detail and the facts."""
        return {"code": self.code, "title": self.title, "detail": self.message, **self.facts}


class Invalid(TollbookError):
    """The input breaks a rule of form, and will break it again."""

    title = "Invalid input"
    default_code = "invalid"
    exit_status = EXIT_USAGE

    @classmethod
    def because(cls, field: str, value: object, rule: str) -> Self:
        """Make the usual error: which field has which value, and the rule that it breaks."""
        # A field may be a key that the sender made up, so it is cut as well.
        field, shown = field[:SHOWN_VALUE_LIMIT], shorten(value)
        fact = _clean(value) if isinstance(value, str) else shown
        told = "missing" if value is None else shown
        return cls(f"{field} is {told}: must be {rule}", field=field, value=fact, rule=rule)


class NotFound(TollbookError):
    """Nothing in the ledger has that id."""

    title = "Not found"
    default_code = "not_found"
    exit_status = EXIT_USAGE


class Refused(TollbookError):
    """A rule of the ledger says no."""

    title = "Refused by a rule"
    default_code = "refused"
    exit_status = EXIT_REFUSED


class Conflict(TollbookError):
    """The request collides with something that is already recorded."""

    title = "Conflict"
    default_code = "conflict"
    exit_status = EXIT_REFUSED


class Unavailable(TollbookError):
    """Something that is needed does not answer, and nothing was done."""

    title = "Unavailable"
    default_code = "unavailable"
    default_retryable = True


class Unknown(TollbookError):
    """The outcome is unknown: it may have happened, so ask by id."""

    title = "Outcome unknown"
    default_code = "unknown"


class Interrupted(TollbookError):
    """Somebody stopped it before its end: what was under way may have happened, so ask by id."""

    title = "Interrupted"
    default_code = "interrupted"
    exit_status = EXIT_INTERRUPTED


class Tampered(TollbookError):
    """Stored or received bytes are not the ones that were hashed or signed."""

    title = "Tampered"
    default_code = "tampered"
    exit_status = EXIT_DIFFERENCES


def exit_code(error: BaseException) -> int:
    """Return the exit code of the shell for an error; whatever is not ours is internal."""
    return error.exit_status if isinstance(error, TollbookError) else EXIT_UNAVAILABLE


def shorten(value: object) -> str:
    """Show a value in an error message, in ASCII and cut to a harmless length."""
    if isinstance(value, int) and value.bit_length() > SHOWN_VALUE_LIMIT:
        return f"an integer of {value.bit_length()} bits"
    if value is not None and not isinstance(value, str | bytes | int | float):
        return f"a {type(value).__name__}"
    # A huge text is cut before it is escaped, so that showing it costs nothing.
    shown = ascii(value[:SHOWN_VALUE_LIMIT] if isinstance(value, str | bytes) else value)
    if len(shown) <= SHOWN_VALUE_LIMIT:
        return shown
    return shown[: SHOWN_VALUE_LIMIT - 3] + "..."


def _clean(text: str) -> str:
    # A lone surrogate would make the problem document itself impossible to send.
    return text[:SHOWN_VALUE_LIMIT].encode(errors="replace").decode()
