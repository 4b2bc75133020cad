"""How commands show things to people: tables, lists of facts, amounts and times."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

from tollbook.amounts import format_pico, parse_pico
from tollbook.cli_support import printable
from tollbook.times import SECOND, format_instant, parse_instant

WIDTH_WITHOUT_TERMINAL = 10_000
"""Text that another program reads is never folded."""

FOLDING = {"reason", "units", "what"}
"""Headings of columns with sentences, which a terminal folds; ids and amounts stay whole."""

FOLDED_WIDTH_MIN = 24


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()) -> str:
    """Draw a table; a terminal gets its sentences folded, a pipe gets nothing folded."""
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    numbers = set(right)
    drawn = Table(box=box.SIMPLE_HEAD if unicode else box.ASCII2, show_edge=False, pad_edge=False)
    cells = [[printable(cell) for cell in row] for row in rows]
    needed = 0
    for place, heading in enumerate(headings):
        folds = heading in FOLDING
        drawn.add_column(
            heading,
            justify="right" if heading in numbers else "left",
            overflow="fold",
            no_wrap=not folds,
        )
        widest = max((cell_len(row[place]) for row in cells), default=0)
        needed += FOLDED_WIDTH_MIN if folds else max(widest, cell_len(heading))
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    # Where whole columns do not fit, the terminal breaks the line: better than cutting an id.
    room = max(shutil.get_terminal_size().columns, needed + 3 * len(headings))
    width = room if terminal else WIDTH_WITHOUT_TERMINAL
    page = StringIO()
    Console(file=page, width=width, force_terminal=terminal).print(drawn)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines() if line.strip())


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Draw names and values in two columns."""
    listed = list(pairs)
    width = max((len(name) for name, _ in listed), default=0)
    return "\n".join(f"{name:<{width}}  {printable(value)}".rstrip() for name, value in listed)


def shown_name(path: str) -> str:
    """Name an input file for a person."""
    return "standard input" if path == "-" else path


def amount(money: dict[str, str] | None) -> str:
    """Show an amount as people write it; a part of the minor unit is shown where it is all."""
    if money is None:
        return ""
    from domain.money import display

    pico, currency = parse_pico(money["amount"]), money["currency"]
    shown = display(pico, currency)
    if pico and not any(digit in shown for digit in "123456789"):
        return exact(pico, currency)
    return shown


def exact(pico: int, currency: str) -> str:
    """Show an amount to its last place, without zeros that say nothing."""
    whole, _, places = format_pico(pico).partition(".")
    return f"{whole}.{places.rstrip('0'):0<2} {currency}"


def instant(text: str | None) -> str:
    """Show a time without the parts of a second that are zero."""
    if not text:
        return ""
    at = parse_instant(text)
    return format_instant(at).replace(".000000Z", "Z") if at % SECOND == 0 else text


def number(value: Any) -> str:
    """Show a quantity, its thousands apart; quantities with places are strings already."""
    return f"{value:,}" if isinstance(value, int) else str(value)
