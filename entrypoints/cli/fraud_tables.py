"""What `tollbook fraud` prints: tables for people."""

from typing import Any

from entrypoints.cli.tables import facts, instant, number, table


def cases_text(document: dict[str, Any]) -> str:
    """Show cases, one a line."""
    if not document["cases"]:
        return f"No fraud case, at position {document['position']:,}."
    headings = ("case", "customer", "status", "since", "opened", "flags", "score")
    rows = [
        (
            each["id"],
            each["customer"],
            each["status"],
            instant(each["since"]),
            instant(each["opened_at"]),
            number(each["flags"]),
            str(each.get("score", "")),
        )
        for each in document["cases"]
    ]
    foot = f"As of position {document['position']:,}."
    if document["next"] is not None:
        foot += f" There are more: go on with --after '{document['next']}'"
    return f"{table(headings, rows, right=('flags', 'score'))}\n\n{foot}"


def case_text(case: dict[str, Any]) -> str:
    """Show a case on one page."""
    head = facts(
        (
            ("case", case["id"]),
            ("customer", case["customer"]),
            ("status", f"{case['status']} since {instant(case['since'])}"),
            ("opened", instant(case["opened_at"])),
            ("flags", number(case["flags"])),
            ("score", str(case.get("score", "none"))),
        )
    )
    headings = ("position", "when", "step", "by", "reason")
    rows = [
        (
            f"{step['position']:,}",
            instant(step["at"]),
            step["what"],
            step["actor"],
            _why(step),
        )
        for step in case["steps"]
    ]
    return f"{head}\n\n{table(headings, rows, right=('position',))}"


def _why(step: dict[str, Any]) -> str:
    """Say in a line why a step was taken: the words, the signs, or the figures of the rule."""
    if "recent" in step:
        return (
            f"{step['recent']:,} requests in 5 minutes, against {step['total']:,}"
            f" in the {step['windows']:,} windows before"
        )
    words = str(step["reason"])
    if "signs" in step:
        signs = ", ".join(f"{sign['code']} {sign['points']}" for sign in step["signs"])
        words += f" ({signs})"
    return words
