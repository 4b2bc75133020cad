"""The main job: for every inference validate, reserve and settle, at the trace's own time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from application.answers import Answer
from application.jobs import Item
from application.license_desk import LicenseDesk
from application.tollbook import Tollbook
from domain.command import Command
from domain.commands import CreateCustomer, IssueGrant, PublishPrices, Reserve, Settle
from domain.events import ReservationSettled
from domain.pricebook import publication_id
from domain.pricebook_format import PriceBookBody
from domain.values import PICO
from entrypoints.demo import licenses
from entrypoints.demo.trace import Row

MODEL = "gpt4-equivalent"
CURRENCY = "USD"
GRANT = 10_000 * PICO
ROWS_PER_BATCH = 256
ACTOR = "demo"

BOOK = {
    "id": "default",
    "currency": CURRENCY,
    "effective_from": "2000-01-01T00:00:00Z",
    "models": [
        {
            "name": MODEL,
            "max_output_tokens": 16_384,
            "tiers": [
                {"up_to": 1_000_000, "input": "10", "output": "30"},
                {"up_to": 10_000_000, "input": "8", "output": "24"},
                {"up_to": 100_000_000, "input": "6", "output": "18"},
                {"input": "5", "output": "15"},
            ],
        }
    ],
}


@dataclass
class Tally:
    """What the job counted for one customer, from the answers alone."""

    charged: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass
class Outcome:
    """What the job counted in all."""

    settled: int = 0
    validated: int = 0
    """Inferences that their licences admitted."""
    refused: int = 0
    customers: dict[str, Tally] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)


def customer_id(number: int) -> str:
    """Return the id of the demo's customer with this number."""
    return f"cust-{number:03d}"


def set_up(tollbook: Tollbook, desk: LicenseDesk, customers: int, at: int | None) -> list[str]:
    """Publish the price book, give every customer a paid grant and a licence; return the keys.

    All of it happens at an instant of the trace, or now, where none is given.
    """
    book = PriceBookBody.model_validate(BOOK)
    name = publication_id(book.id, book.effective_from)
    carry_out(tollbook, [PublishPrices(id=name, book=book)], at)
    commands: list[Command] = []
    for number in range(customers):
        customer = customer_id(number)
        body = {"id": customer, "name": f"Demo customer {number}", "currency": CURRENCY}
        sealed = tollbook.sealed("create_customer", body)["name_sealed"]
        commands.append(CreateCustomer(id=customer, name_sealed=sealed, currency=CURRENCY))
        grant = f"grant-{number:03d}"
        commands.append(IssueGrant(id=grant, customer=customer, amount=GRANT, kind="paid"))
    names = [customer_id(number) for number in range(customers)]
    issues = list(licenses.issues(tollbook, desk, names))
    commands.extend(command for command, _ in issues)
    carry_out(tollbook, commands, at)
    return [key for _, key in issues]


def carry_out(tollbook: Tollbook, commands: Sequence[Command], at: int | None) -> None:
    """Carry commands out at an instant of the trace, or now; raises what refuses one of them."""
    for start in range(0, len(commands), ROWS_PER_BATCH):
        batch = [Item(each, ACTOR, at=at) for each in commands[start : start + ROWS_PER_BATCH]]
        for answer in tollbook.executor.execute(batch, timeout=120):
            answer.result()


def run(
    tollbook: Tollbook, rows: Sequence[Row], customers: int, advance: Callable[[int], None]
) -> Outcome:
    """Run every inference of a trace; `advance` is told how many rows each batch finished."""
    outcome = Outcome(customers={customer_id(each): Tally() for each in range(customers)})
    for start in range(0, len(rows), ROWS_PER_BATCH):
        batch = rows[start : start + ROWS_PER_BATCH]
        items = [item for row in batch for item in _inference(row, customers)]
        answers = iter(tollbook.executor.execute(items, timeout=120))
        for row in batch:
            _count(outcome, row, customer_id(row.number % customers), next(answers), next(answers))
        advance(len(batch))
    return outcome


def _inference(row: Row, customers: int) -> Iterator[Item]:
    usage = {"input_tokens": row.input_tokens, "output_tokens": row.output_tokens}
    name = f"inf-{row.number:08d}"
    number = row.number % customers
    reserve = Reserve(
        id=name,
        customer=customer_id(number),
        model=MODEL,
        estimate=usage,
        license=licenses.license_id(number),
    )
    yield Item(reserve, ACTOR, correlation=name, at=row.at)
    yield Item(Settle(id=name, reservation=name, usage=usage), ACTOR, correlation=name, at=row.at)


def _count(outcome: Outcome, row: Row, customer: str, reserved: Answer, settled: Answer) -> None:
    if reserved.done:
        outcome.validated += 1
    if not reserved.done or not settled.done:
        code = settled.code if reserved.done else reserved.code
        outcome.refused += 1
        outcome.refusals[code] = outcome.refusals.get(code, 0) + 1
        return
    assert settled.recorded is not None
    event = settled.recorded.event
    assert isinstance(event, ReservationSettled)
    tally = outcome.customers[customer]
    tally.charged += event.charged
    tally.input_tokens += row.input_tokens
    tally.output_tokens += row.output_tokens
    outcome.settled += 1
