"""One inference as a block of code: money is held on entry, and settled on the way out.

What is told with `used` adds up, so that a stream may tell as it goes. On the way out:

- usage was told: it is settled, also when the block failed midway (what was produced is owed);
- the block failed before any usage: the hold is given back;
- `used()` was called without units: nothing was produced, and the hold is given back;
- the block ended well and told nothing: that is a mistake, and raises. The hold stays, so that
  the usage can still be settled by the reservation's id.

A failure of the block is never hidden: if the settlement fails as well, the block's own error is
raised with a note, and `failure` holds the settlement's.
"""

from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tollbook.client.calls import Call
from tollbook.client.ids import new_id
from tollbook.client.inference_calls import UsageIn, extend, release, settle
from tollbook.client.money import Money
from tollbook.client.results import Hold, Released, Settlement
from tollbook.errors import Invalid, TollbookError

if TYPE_CHECKING:
    from tollbook.client.asynchronous import AsyncClient
    from tollbook.client.blocking import Client


class Inference:
    """What both kinds of inference know and decide."""

    def __init__(self, reserving: Call[Hold]) -> None:
        """Begin with the call that holds the money."""
        assert reserving.command is not None
        self._reserving = reserving
        self.reservation = reserving.command.id
        """The reservation's id."""
        self.settle_id = new_id("stl")
        """The id under which the usage is settled."""
        self.hold: Hold | None = None
        self.settlement: Settlement | None = None
        self.released: Released | None = None
        self.failure: TollbookError | None = None
        """Why the way out failed, when the block had failed already."""
        self._usage: dict[str, int | Decimal] = {}
        self._told = False

    def used(self, **units: int | str | Decimal) -> None:
        """Add to what was used; without units it says that nothing was."""
        self._told = True
        for unit, quantity in units.items():
            if type(quantity) is not int and not isinstance(quantity, str | Decimal):
                raise Invalid.because(unit, quantity, "a whole number, a decimal string or Decimal")
            more = quantity if isinstance(quantity, int) else Decimal(quantity)
            self._usage[unit] = self._usage.get(unit, 0) + more

    @property
    def usage(self) -> UsageIn:
        """Return what was told so far."""
        return dict(self._usage)

    @property
    def charged(self) -> Money:
        """Return what was charged in the end: nothing, unless usage was settled."""
        if self.settlement is not None:
            return self.settlement.charged
        if self.hold is None:
            raise Invalid(f"the inference {self.reservation} has not begun", field="charged")
        return Money(0, self.hold.held.currency)

    def _closing(self, *, failed: bool) -> Call[Settlement | Released]:
        if any(self._usage.values()):
            return settle(self.reservation, self._usage, id=self.settle_id)
        if failed or self._told:
            return release(self.reservation, reason="the inference failed" if failed else None)
        raise Invalid(
            f"the inference {self.reservation} ended without a word about its usage: call used(), "
            "or settle it by its id before the hold expires",
            field="usage",
            rule="told with used(), without units when nothing was used",
        )

    def _close(self, outcome: Settlement | Released) -> None:
        if isinstance(outcome, Settlement):
            self.settlement = outcome
        else:
            self.released = outcome

    def _fail(self, failure: TollbookError, error: BaseException) -> None:
        self.failure = failure
        error.add_note(f"and closing the inference {self.reservation} failed: {failure.message}")


class BlockingInference(Inference):
    """An inference in a `with` block."""

    def __init__(self, client: "Client", reserving: Call[Hold]) -> None:
        """Begin with a client and the call that holds the money."""
        super().__init__(reserving)
        self._client = client

    def extend(self, *, estimate: UsageIn | None = None, ttl_seconds: int | None = None) -> Hold:
        """Add units or time to the hold."""
        more = extend(self.reservation, estimate=estimate, ttl_seconds=ttl_seconds)
        self.hold = self._client.carry_out(more)
        return self.hold

    def __enter__(self) -> Self:
        """Hold the money, or raise the refusal."""
        self.hold = self._client.carry_out(self._reserving)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Settle what was used, or give the hold back."""
        call = self._closing(failed=error is not None)
        try:
            self._close(self._client.carry_out(call))
        except TollbookError as failure:
            if error is None:
                raise
            self._fail(failure, error)


class AsyncInference(Inference):
    """An inference in an `async with` block."""

    def __init__(self, client: "AsyncClient", reserving: Call[Hold]) -> None:
        """Begin with a client and the call that holds the money."""
        super().__init__(reserving)
        self._client = client

    async def extend(
        self, *, estimate: UsageIn | None = None, ttl_seconds: int | None = None
    ) -> Hold:
        """Add units or time to the hold."""
        more = extend(self.reservation, estimate=estimate, ttl_seconds=ttl_seconds)
        self.hold = await self._client.carry_out(more)
        return self.hold

    async def __aenter__(self) -> Self:
        """Hold the money, or raise the refusal."""
        self.hold = await self._client.carry_out(self._reserving)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Settle what was used, or give the hold back; a cancelled block does so too."""
        import anyio

        call = self._closing(failed=error is not None)
        try:
            # Bounded by the client's deadline.
            with anyio.CancelScope(shield=True):
                self._close(await self._client.carry_out(call))
        except TollbookError as failure:
            if error is None:
                raise
            self._fail(failure, error)
