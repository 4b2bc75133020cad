"""The two kinds of calls that we make: for one message, and for as many as come."""

import asyncio

import grpc

from adapters.grpc.calling import Call, LostError, StoppedError, spoilt
from adapters.grpc.messages import MessageError
from adapters.limits import Queue


class Single(Call):
    """A call whose answer is one message."""

    __slots__ = ("_message", "answer")

    def __init__(self, request: bytes, most: int, queue: Queue) -> None:
        """Begin its time."""
        super().__init__(request, most, queue)
        self._message: bytes | None = None
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        """The message, StatusError or LostError."""

    def _came(self, count: int) -> None:
        assert self._connection is not None
        assert self._messages is not None
        self._connection.took(self._id, count)
        try:
            if self._message is None:
                self._message = self._messages.next()
        except MessageError as error:
            self.fail(spoilt(error))
            return
        if self._message is not None and self._messages.waiting:
            self.lose(grpc.StatusCode.INTERNAL, "more came than one answer")

    def _answered(self) -> None:
        if self._message is None:
            words = "the server says that all is well, and has sent no whole answer"
            self._failed(LostError(grpc.StatusCode.INTERNAL, words, sent=True))
        elif not self.answer.done():
            self.answer.set_result(self._message)

    def _failed(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # where nobody waits any more, it is not logged as forgotten


class Several(Call):
    """A call whose answer comes in messages, which are let in as they are read."""

    __slots__ = ("_error", "_is_stopped", "_reader", "_untaken")

    def __init__(self, request: bytes, most: int, queue: Queue) -> None:
        """Begin its time."""
        super().__init__(request, most, queue)
        self._untaken = 0
        """Bytes that came and whose room was not given back."""
        self._error: Exception | None = None
        self._is_stopped = False
        self._reader: asyncio.Future[None] | None = None

    @property
    def is_left(self) -> bool:
        """Whether neither the server nor the connection's room waits for a reader."""
        return self.is_over and not self._untaken

    async def read(self) -> bytes | None:
        """Return the next message, or None at the end.

        Raises StatusError or LostError, and StoppedError once it was stopped. What came before an
        error is returned before it is raised.
        """
        while not self._is_stopped:
            if (message := self._next()) is not None:
                return message
            if self._error is not None:
                raise self._error
            if self.is_over:
                self._check_end()
                return None
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            except asyncio.CancelledError:
                self.stop()
                raise
            finally:
                self._reader = None
        raise StoppedError

    def stop(self) -> None:
        """Have the server stop; whoever reads is told so."""
        self._is_stopped = True
        self.cancel()
        self._give_back(self._untaken)
        self._wake()

    def _next(self) -> bytes | None:
        """Return a message that is here; where one is not whole, let more of it come."""
        if self._messages is None:
            return None
        try:
            if self._messages.missing():
                self._give_back(self._untaken)
                return None
            message = self._messages.take()
        except MessageError as error:
            self._messages = None
            self._error = spoilt(error)
            self.cancel()
            return None
        self._give_back(self._untaken - self._messages.waiting)
        return message

    def _check_end(self) -> None:
        if self._messages is not None and self._messages.waiting:
            words = "the answer ended within a message"
            raise LostError(grpc.StatusCode.INTERNAL, words, sent=True)

    def _give_back(self, count: int) -> None:
        if count > 0 and self._connection is not None:
            self._untaken -= count
            self._connection.took(self._id, count)

    def _came(self, count: int) -> None:
        assert self._messages is not None
        self._untaken += count
        if self._reader is None:
            return
        try:
            is_whole = not self._messages.missing()
        except MessageError:
            is_whole = True  # whoever reads finds out
        if is_whole:
            self._wake()
        else:
            self._give_back(self._untaken)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _answered(self) -> None:
        self._wake()

    def _failed(self, error: Exception) -> None:
        self._error = error
        self._wake()
