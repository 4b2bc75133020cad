"""What a demo on a cluster reports of the mixed kinds: a part of its document, and a table."""

from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from domain.outcomes import money
from entrypoints.demo.job import CURRENCY
from entrypoints.demo.mixed_counting import Counted

_NUMBERS = ("inferences", "charged", "parked", "released")


class Mixed(NamedTuple):
    """Everything that was found out about the mixed kinds, and about the whole ledger after."""

    kinds: list[Counted]
    unclaimed: int
    """Inferences that models ran and nobody had been asked for."""
    from_allowances: int
    """Inferences that a slice paid for, which Redis had handed out."""
    reconciled: dict[str, Any]
    """The charges against Triton's own counters."""
    position: int
    root: str
    state_hash: str
    audit: dict[str, Any]

    @property
    def is_clean(self) -> bool:
        """Whether models, Triton and audit agree with every charge."""
        is_counted = not self.unclaimed and all(each.equal for each in self.kinds)
        return is_counted and bool(self.reconciled["explained"]) and bool(self.audit["ok"])


def document(mixed: Mixed) -> dict[str, Any]:
    """Return it as a part of the demo's document."""
    return {
        "kinds": {
            each.kind.id: {
                **{name: getattr(each, name) for name in _NUMBERS},
                "amount": money(each.amount, CURRENCY),
                "counted_by_models": {"ran": each.ran, "equal": each.equal},
            }
            for each in mixed.kinds
        },
        "unclaimed": mixed.unclaimed,
        "from_allowances": mixed.from_allowances,
        "reconciled": mixed.reconciled,
        "position": mixed.position,
        "state_hash": mixed.state_hash,
        "root": mixed.root,
        "audit": mixed.audit,
    }


def show(mixed: Mixed, console: Console) -> None:
    """Print the table of kinds and what they come to."""
    console.print()
    console.print(_table(mixed))
    counted = not mixed.unclaimed and all(each.equal for each in mixed.kinds)
    gaps = "[green]none[/green]" if mixed.reconciled["explained"] else "[red]yes[/red]"
    clean = "[green]clean[/green]" if mixed.audit["ok"] else "[red]with differences[/red]"
    lines = [
        ("Redis", f"{mixed.from_allowances:,} of them were admitted from allowances"),
        ("Models", _verdict(counted)),
        ("Triton", f"unexplained gaps to its counters: {gaps}; the causes of the others:"),
        *(("", line) for line in _causes(mixed.reconciled)),
        ("Ledger", f"{mixed.position:,} events, Merkle root {mixed.root}"),
        ("Audit", f"{clean}, of all of it"),
    ]
    for name, text in lines:
        console.print(f"[bold]{name:<11}[/bold] {text}", highlight=False, soft_wrap=True)


def _table(mixed: Mixed) -> Table:
    title = "Mixed kinds, through a gateway that is a process of its own"
    table = Table(title=title, title_justify="left", pad_edge=False)
    table.add_column("kind")
    for name in (*_NUMBERS, CURRENCY, "by logs"):
        table.add_column(name, justify="right")
    for each in mixed.kinds:
        numbers = (f"{getattr(each, name):,}" for name in _NUMBERS)
        ran = f"{each.ran:,}" if each.equal else f"[red]{each.ran:,}[/red]"
        table.add_row(each.kind.told, *numbers, _exactly(each.amount), ran)
    return table


def _exactly(amount: int) -> str:
    """Show a small amount with all its digits."""
    return str(money(amount, CURRENCY)["amount"]).rstrip("0").rstrip(".")


def _verdict(counted: bool) -> str:
    if counted:
        return "[green]every charge is what the models' own logs say[/green], and nothing else ran"
    return "[red]the charges are not what the models' own logs say[/red] (--json shows it)"


def _causes(reconciled: dict[str, Any]) -> list[str]:
    """Say of each model with a gap what makes it."""
    return [
        f"{', '.join(each['served_as'])}: {each['ran']:,} ran, {each['charged']:,} charged: "
        + ", ".join(f"{part['count']:+,} {part['cause']}" for part in each["causes"])
        for each in reconciled["models"]
        if each["causes"]
    ]
