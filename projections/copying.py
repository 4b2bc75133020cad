"""Rows on their way into a table: lines of PostgreSQL's COPY, joined and sent in one piece."""

from projections.model import Connection

NULL = "\\N"
_SPECIAL = {ord("\\"): "\\\\", ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


def field(text: str | None) -> str:
    r"""Write any text as a field of a COPY line, None as `\N`.

    Ids and names need none of this: their form leaves no room for a character that means something.
    """
    if text is None:
        return NULL
    return text if text.isalnum() else text.translate(_SPECIAL)


def in_one_piece(lines: list[str]) -> list[str]:
    """Join lines that are about to travel to another process: one text is less to carry."""
    return ["".join(lines)] if lines else []


def copy_lines(connection: Connection, table: str, columns: str, lines: list[str]) -> None:
    """Append lines to a table inside the open transaction."""
    if lines:
        with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
            copy.write("".join(lines))
