"""How each format writes each kind of column: PostgreSQL does the work, in one COPY."""

from projections.exports.tables import Column, Kind, Table

FORMATS = ("csv", "jsonl", "parquet")

_FORMULA_STARTS = "9, 10, 13, 39, 43, 45, 61, 64, 65291, 65293, 65309, 65312"
"""Code points of tab, line feed, carriage return and ' + - = @, and of the wide forms of these."""

_RFC_3339 = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""
_DAY = "'YYYY-MM-DD'"


def query(table: Table, format: str, position: int) -> str:
    """Return the COPY that streams a table as of a position, without any first line."""
    rows = table.rows.format(position=int(position))
    how = {"csv": _csv, "jsonl": _json, "parquet": _raw}[format]
    columns = ", ".join(f"{how(each)} AS {each.name}" for each in table.columns)
    ordered = f"({rows}) AS exported ORDER BY {table.order}"
    if format == "jsonl":
        # One value a line, and neither character can stand in JSON, so nothing is ever quoted.
        objects = f"(SELECT {columns} FROM {ordered}) AS whole"  # noqa: S608 - our own names
        lines = f"SELECT row_to_json(whole) FROM {objects}"  # noqa: S608 - our own names
        return f"COPY ({lines}) TO STDOUT (FORMAT csv, DELIMITER E'\\x02', QUOTE E'\\x01')"
    null = ", NULL '\\N'" if format == "parquet" else ""
    return f"COPY (SELECT {columns} FROM {ordered}) TO STDOUT (FORMAT csv{null})"  # noqa: S608


def first_line(table: Table, format: str, position: int, root: str) -> bytes:
    """Return what stands before the rows: the ledger's position and root, and column names."""
    if format == "jsonl":
        return f'{{"export":"{table.name}","position":{position},"root":"{root}"}}\n'.encode()
    names = ",".join(column.name for column in table.columns)
    said = f"# tollbook export {table.name} position={position} root={root}\n"
    return f"{said}{names}\n".encode()


def _csv(column: Column) -> str:
    """Write for people's spreadsheets as well: free text never begins like a formula."""
    name, kind = column
    if kind is Kind.FREE:
        guarded = f"'''' || {name}"
        return f"CASE WHEN ascii({name}) IN ({_FORMULA_STARTS}) THEN {guarded} ELSE {name} END"
    return _plain(column)


def _json(column: Column) -> str:
    """Write counts as numbers, and everything exact or long as text."""
    name, kind = column
    if kind in (Kind.MONEY, Kind.QUANTITY):
        return f"({_plain(column)})::text"
    return name if kind is Kind.FREE else _plain(column)


def _plain(column: Column) -> str:
    name, kind = column
    if kind is Kind.TIME:
        # Whole seconds and the rest apart: a float holds each of them exactly.
        seconds = f"to_timestamp({name} / 1000000) AT TIME ZONE 'UTC'"
        micros = f"({name} % 1000000) * interval '1 microsecond'"
        return f"to_char({seconds} + {micros}, {_RFC_3339})"
    if kind is Kind.DAY:
        return f"to_char({name}, {_DAY})"
    if kind is Kind.QUANTITY:
        return f"trim_scale({name})"
    return name


def _raw(column: Column) -> str:
    """Write values as they are kept, for a program that reads them by their types.

    Only days have a spelling that the database's settings decide.
    """
    return _plain(column) if column.kind is Kind.DAY else column.name
