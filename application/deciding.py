"""Deciding a batch: one command after another on a draft of the world, nothing written yet."""

from typing import NamedTuple

from tollbook.errors import Refused, TollbookError

from application.answers import Answer, first_difference, id_reused
from application.draft import Draft
from application.handlers import (
    TakenResourceError,
    already_exists,
    customer_of,
    decide,
    refused,
)
from application.jobs import Item, Job
from application.keeping import kept
from application.moments import CHARGES
from application.pipeline_handlers import AS_A_WHOLE
from application.ports import Batch, EventStore, Key, Rider
from application.prefetching import prefetch_ids
from application.recording import Events, Mark, record
from application.staging import binding, parts_of, refusal_of
from application.taken import resource_exists
from application.world import World
from domain.balance import Balance, due
from domain.command import Command
from domain.commands import CreateCustomer
from domain.event import Event, Recorded
from domain.inferences import told_by
from domain.outcomes import Decision, Refusal
from domain.usage_events import UsageParked


class _Mark(NamedTuple):
    """Where a plan stood, to go back to."""

    draft: Draft
    events: Mark
    ids: dict[Key, int]


class Plan:
    """What a batch would append, and the answers it would give once that is committed."""

    def __init__(self, world: World, store: EventStore, recent: dict[Key, int], now: int) -> None:
        """Start an empty plan at the world's position; `recent` holds ids that are taken.

        `now` is the time of every decision whose item does not bring its own.
        """
        self._world = world
        self._store = store
        self._recent = recent
        self._now = now
        self.careful = False
        self._errors = 0
        self._read: Recorded | None = None
        """The stored event that answered last."""
        self.draft = Draft(world)
        self.base = world.position
        self._events = Events()
        self.ids: dict[Key, int] = {}
        self.riders: list[Rider] = []

    def batch(self) -> Batch:
        """Return what to append."""
        return Batch(self.base, self.events, list(self.ids.items()), self.riders)

    @property
    def events(self) -> list[Recorded]:
        """Return what is to be appended."""
        return self._events.all()

    @property
    def has_errors(self) -> bool:
        """Say whether any answer is an error that the ledger does not record."""
        return self._errors > 0

    def add(self, job: Job) -> None:
        """Decide every command of a job and set its answers."""
        self.riders.extend(job.riders)
        if job.atomic:
            self._add_atomic(job)
            return
        for item in job.items:
            item.answer = kept(item, self._answer, self._known)

    def _add_atomic(self, job: Job) -> None:
        """Decide commands that succeed together or not at all."""
        before = self._mark()
        for item in job.items:
            item.answer = self._answer(item)
            if item.answer.done:
                continue
            culprit = item.answer
            self._back_to(before)
            if culprit.recorded is not None and not culprit.repeated:
                culprit = self._refused_alone(item, culprit, culprit.recorded)
            aborted = Refused(
                f"not done, because {item.command.id} in the same group failed ({culprit.code})",
                code="aborted",
                because=item.command.id,
            )
            for other in job.items:
                other.answer = Answer(other.command.id, None, error=aborted)
            item.answer = culprit
            return

    def _refused_alone(self, item: Item, culprit: Answer, recorded: Recorded) -> Answer:
        """Record the refusal that failed a group, if it holds without the rest of the group.

        A refusal that only the group brought about is answered, but its id stays free. As nothing
        is appended for it then, nothing else would tell that the id is taken.
        """
        command = item.command
        known = self._known(command, recorded.customer or "")
        if known is not None:
            return known
        before = self._mark()
        alone = self._answer(item)
        if alone.recorded is not None and not alone.done:
            return alone
        self._back_to(before)
        self._errors += 1
        return Answer(command.id, None, error=culprit.problem())

    def _mark(self) -> "_Mark":
        return _Mark(self.draft.copy(), self._events.mark(), self.ids.copy())

    def _back_to(self, mark: "_Mark") -> None:
        self.draft, self.ids = mark.draft.copy(), mark.ids.copy()
        self._events.back_to(mark.events)

    def _answer(self, item: Item) -> Answer:
        """Decide one command, or repeat the answer that its id has already."""
        command = item.command
        key: Key | None = None
        if item.problem is not None:
            return Answer(command.id, None, error=item.problem)
        try:
            customer = customer_of(self.draft, command)
            key = command.key(customer or "")
            if key in self._recent or key in self.ids:
                return self._repeat(command, customer, self._taken(key))
            return self._decide(item, customer, key)
        except TollbookError as error:
            if key is not None and key not in self.ids:
                stored = self._store.taken([key])
                if stored:
                    self._recent.update(stored)
                    return self._repeat(command, None, self._taken(key))
            self._errors += 1
            return Answer(command.id, None, error=error.kept())

    def _known(self, command: Command, scope: str) -> Answer | None:
        """Return the answer that a command's key has already; None where it has none."""
        key = command.key(scope)
        if key not in self.ids and key not in self._recent:
            self._recent.update(self._store.taken([key]))
        known = key in self.ids or key in self._recent
        return self._repeat(command, scope, self._taken(key)) if known else None

    def _taken(self, key: Key) -> Recorded:
        """Return what answered a key, from this batch or from the store."""
        position = self.ids.get(key)
        if position is not None:
            return told_by(self.events[position - self.base - 1], key[2])
        position = self._recent[key]
        if self._read is None or self._read.position != position:  # one may answer many
            self._read = self._store.at([position])[position]
        return told_by(self._read, key[2])

    def _repeat(self, command: Command, customer: str | None, recorded: Recorded) -> Answer:
        field = first_difference(command, recorded.event)
        if field is not None:
            return Answer(command.id, None, error=id_reused(command, field, recorded))
        if isinstance(recorded.event, UsageParked):
            recorded = self._answer_for_parked(recorded, recorded.event.parked)
        currency = self._currency(recorded.customer or customer)
        return Answer(command.id, recorded, currency, repeated=True)

    def _answer_for_parked(self, recorded: Recorded, name: str) -> Recorded:
        """Return what answers for a parked record by now: its parking, or its release.

        A parking beyond the world's position is not known; such a batch is decided again.
        """
        parked = self.draft.parked_usage(name)
        if parked is None or parked.answered_at == recorded.position:
            return recorded
        position = parked.answered_at
        if position > self.base:
            return self.events[position - self.base - 1]
        return self._store.at([position])[position]

    def _currency(self, customer: str | None) -> str:
        terms = self.draft.balance(customer).customer if customer else None
        return terms.currency if terms else ""

    def _decide(self, item: Item, customer: str | None, key: Key) -> Answer:
        command = item.command
        now = self._now if item.at is None else item.at
        now = max(now, self.draft.recorded_at)
        balance = self._with_due_booked(item, customer, now)
        if type(command) in AS_A_WHOLE:
            decision = self._decide_whole(item, command, now)
            balance = self._with_due_booked(item, customer, now)
        else:
            decision = self._decision(balance, command, now)
        if isinstance(decision, Refusal):
            if customer is None or balance.customer is None:  # nobody to record it for: id free
                raise Refused(decision.detail, code=decision.code, **decision.facts)
            decision = (refused(command, customer, key, decision),)
        if balance.customer is None and not isinstance(command, CreateCustomer):
            customer = None  # usage that names nobody: it stands in no customer's history
        return self._record_all(item, customer, decision, now, key)

    def _with_due_booked(self, item: Item, customer: str | None, now: int) -> Balance:
        """Return a customer's balance, once what time has made due is booked."""
        if customer is None:
            return Balance()
        balance = self.draft.balance(customer)
        if now < balance.next_expiry:
            return balance
        for event in due(balance, now):
            self._record(item, customer, event, now, None)
        return self.draft.balance(customer)

    def _decide_whole(self, item: Item, command: Command, now: int) -> Decision:
        """Decide the command of each stage as ordinary ones, and the fact that binds them.

        When one of them is not done, none is: what was recorded for the others is taken back.
        """
        if self.careful and self._resource_exists(command):
            return already_exists(command)
        parts = parts_of(self.draft, command)
        if isinstance(parts, Refusal):
            return parts
        if self.careful:  # those of a pipeline that this batch has published are not known before
            prefetch_ids(self._world, self._world.ahead, [part for _, part in parts])
        before, decided = self._mark(), []
        for stage, part in parts:
            one = Item(part, item.actor, item.correlation, item.causation, now)
            answer = self._answer(one)
            if answer.recorded is None or not answer.done or answer.repeated:
                self._back_to(before)
                if self._resource_exists(command):
                    return already_exists(command)
                return refusal_of(self.draft, command, stage, answer)
            decided.append((stage, answer.recorded.event))
        return (binding(self.draft, command, decided),)

    def _record_all(
        self, item: Item, customer: str | None, decision: tuple[Event, ...], now: int, key: Key
    ) -> Answer:
        """Record a decision, and a block where one is due; the answer names a kind of command."""
        found: Answer | None = None
        for event in decision:
            answers = bool(event.command_kind())
            answer = self._record(item, customer, event, now, key if answers else None)
            found = answer if answers else found
            if isinstance(event, CHARGES):
                balance = self.draft.balance(event.customer)
                assert answer.recorded is not None
                block = self._world.moments.block_after(
                    balance, answer.recorded, self._events, self.base
                )
                if block is not None:
                    self._record(item, customer, block, now, None)
        assert found is not None
        return found

    def _decision(self, balance: Balance, command: Command, now: int) -> Decision:
        """Ask the rule; whatever it would say, the id of a resource that exists is taken.

        The order is the same whatever is in memory: malformed, unknown, taken, refused.
        """
        try:
            decision = decide(self.draft, balance, command, now)
        except TakenResourceError:
            if not self.careful:
                raise
            return already_exists(command)
        look = self.careful or type(command) is CreateCustomer or isinstance(decision, Refusal)
        return already_exists(command) if look and self._resource_exists(command) else decision

    def _resource_exists(self, command: Command) -> bool:
        return resource_exists(command, self.draft, self._store, self.events, self.ids)

    def _record(
        self, item: Item, customer: str | None, event: Event, now: int, key: Key | None
    ) -> Answer:
        """Record an event, and what its command and it take for ever."""
        recorded, currency = record(self.draft, self._events, item, customer, event, now)
        if key is not None:
            self.ids[key] = recorded.position
        for other in event.other_ids():
            self.ids[other] = recorded.position
        return Answer(item.command.id, recorded, currency)
