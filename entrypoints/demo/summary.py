"""What a demo reports: the JSON document of contract.md, and a page that a person likes to read."""

from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from domain.balance import BalanceView
from domain.money import display
from domain.outcomes import money
from entrypoints.demo import mixed_summary
from entrypoints.demo.counting import Counted
from entrypoints.demo.job import CURRENCY, Outcome
from entrypoints.demo.licenses import Revoked
from entrypoints.demo.mixed_summary import Mixed


class Result(NamedTuple):
    """Everything a demo run found out."""

    inferences: int
    outcome: Outcome
    balances: dict[str, BalanceView]
    blocked: list[str]
    """Customers whose accounts the fraud rule has blocked."""
    position: int
    state_hash: str
    root: str
    audit: dict[str, Any]
    seconds: float
    """How long reserving and settling took on the wall clock."""
    trace_seconds: int
    source: str
    revoked: Revoked
    data: str | None
    """The folder that keeps the ledger, or None when it was a temporary one."""
    counted: Counted | None = None
    """What the model counted, where the inferences went through Triton."""
    reconciled: dict[str, Any] | None = None
    """The charges against Triton's own counters, where a cluster settled them."""
    mixed: Mixed | None = None
    """What ran after the trace, where there was a cluster."""

    @property
    def is_clean(self) -> bool:
        """Whether the audit, and whoever else has counted, agree with every charge."""
        counted = self.counted is None or self.counted.equal
        explained = self.reconciled is None or bool(self.reconciled["explained"])
        mixed = self.mixed is None or self.mixed.is_clean
        return bool(self.audit["ok"]) and counted and explained and mixed


def document(result: Result) -> dict[str, Any]:
    """Return the JSON document; amounts as contract.md writes money."""
    outcome = result.outcome
    return {
        "inferences": result.inferences,
        "settled": outcome.settled,
        "refused": outcome.refused,
        "refusals": outcome.refusals,
        "blocked": result.blocked,
        "charged": money(sum(each.charged for each in outcome.customers.values()), CURRENCY),
        "customers": {
            name: {
                "charged": money(tally.charged, CURRENCY),
                "input_tokens": tally.input_tokens,
                "output_tokens": tally.output_tokens,
                "balance": money(result.balances[name].available, CURRENCY),
            }
            for name, tally in outcome.customers.items()
        },
        "licenses": {
            "issued": len(outcome.customers) + 1,
            "validated": outcome.validated,
            "revoked": result.revoked._asdict(),
        },
        "position": result.position,
        "state_hash": result.state_hash,
        "root": result.root,
        "audit": result.audit,
        "source": result.source,
        **_through_triton(result),
    }


def _through_triton(result: Result) -> dict[str, Any]:
    if result.counted is None:
        return {}
    answered = result.inferences - result.outcome.refused
    found: dict[str, Any] = {
        "through_triton": answered,
        "counted_by_model": result.counted._asdict(),
    }
    if result.reconciled is not None:
        found["reconciled"] = result.reconciled
    if result.mixed is not None:
        found["mixed"] = mixed_summary.document(result.mixed)
    return found


def show(result: Result, console: Console) -> None:
    """Print the summary for a person."""
    outcome = result.outcome
    tallies = outcome.customers.values()
    charged = sum(each.charged for each in tallies)
    console.print()
    console.print(_table(result))
    rate = f": {result.inferences / result.seconds:,.0f} inferences/s" if result.seconds else ""
    tokens_in = sum(each.input_tokens for each in tallies)
    tokens_out = sum(each.output_tokens for each in tallies)
    blocked = f", blocked: {', '.join(result.blocked)}" if result.blocked else ""
    refused = f", {outcome.refused:,} refused {outcome.refusals}" if outcome.refused else ""
    lines = (
        ("Source", result.source),
        ("Inferences", f"{result.inferences:,}: {outcome.settled:,} settled{refused}{blocked}"),
        ("Licences", _license_line(result)),
        ("Tokens", f"{tokens_in:,} in, {tokens_out:,} out"),
        ("Charged", f"{display(charged, CURRENCY)}, exactly {money(charged, CURRENCY)['amount']}"),
        (
            "Time",
            f"{result.seconds:.1f} s for {result.trace_seconds // 60} min of trace{rate}",
        ),
        *(() if result.counted is None else (("Triton", _triton_line(result, result.counted)),)),
        *(() if result.reconciled is None else (("Stream", _stream_line(result.reconciled)),)),
        ("Ledger", f"{result.position:,} events, Merkle root {result.root}"),
        ("State hash", result.state_hash),
        ("Audit", _audit_line(result.audit)),
    )
    for name, text in lines:
        console.print(f"[bold]{name:<11}[/bold] {text}", highlight=False, soft_wrap=True)
    if result.mixed is not None:
        mixed_summary.show(result.mixed, console)
    console.print()
    console.print(_next_steps(result), highlight=False, soft_wrap=True)


def _table(result: Result) -> Table:
    table = Table(title="What each customer used and paid", title_justify="left")
    table.add_column("customer")
    for name in ("input tokens", "output tokens", "charged", "balance"):
        table.add_column(name, justify="right")
    tallies = result.outcome.customers
    for name in list(tallies)[:25]:
        tally = tallies[name]
        table.add_row(
            name,
            f"{tally.input_tokens:,}",
            f"{tally.output_tokens:,}",
            display(tally.charged, CURRENCY),
            display(result.balances[name].available, CURRENCY),
        )
    if len(tallies) > 25:
        table.add_row(f"... and {len(tallies) - 25:,} more", "", "", "", "")
    return table


def _license_line(result: Result) -> str:
    revoked = result.revoked
    return (
        f"{result.outcome.validated:,} inferences validated with {len(result.outcome.customers):,} "
        f"licences; {revoked.license}: {revoked.before}, then revoked: {revoked.after}"
    )


def _stream_line(reconciled: dict[str, Any]) -> str:
    verdict = (
        "[green]no unexplained gap[/green]"
        if reconciled["explained"]
        else "[red]an unexplained gap[/red] (--json shows it)"
    )
    return f"settled from Kafka by two workers; Triton's own counters: {verdict}"


def _triton_line(result: Result, counted: Counted) -> str:
    answered = result.inferences - result.outcome.refused
    verdict = (
        "[green]every charge is what the model counted[/green]"
        if counted.equal
        else "[red]the charges are not what the model counted[/red]"
    )
    return (
        f"{answered:,} inferences went through it; its model's log: {counted.inferences:,}, "
        f"{counted.input_tokens:,} tokens in, {counted.output_tokens:,} out: {verdict}"
    )


def _audit_line(audit: dict[str, Any]) -> str:
    if audit["ok"]:
        return (
            "[green]clean[/green]: every charge, balance and receivable recomputed "
            "from the events, no difference"
        )
    return (
        f"[red]{len(audit['differences'])} differences[/red], the first: {audit['differences'][0]}"
    )


def _next_steps(result: Result) -> str:
    if result.data is None:
        return "The ledger was temporary. Keep one with: tollbook demo --data DIR"
    steps = (
        f"The ledger stays in {result.data}. Go on with:\n"
        f"  tollbook audit verify --data {result.data} --expect {result.position}:{result.root}\n"
        f"  tollbook audit replay --data {result.data} --to {result.position // 2}"
    )
    if result.mixed is None:
        return steps
    config = Path(result.data) / "gateway.toml"
    return f"{steps}\n  tollbook reconcile triton --config {config} --data {result.data}"
