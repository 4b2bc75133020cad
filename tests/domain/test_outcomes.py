"""The codes under which rules refuse: each is documented, and no documented one is unused."""

import ast
from pathlib import Path

from domain.denials import DENIALS
from domain.outcomes import REFUSALS

ROOT = Path(__file__).resolve().parents[2]


def codes_in(folder: str) -> set[str]:
    """Return the literal codes of all refusals in a room's source."""
    codes: set[str] = set()
    for path in (ROOT / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Refusal":
                code = node.args[0]
                if isinstance(code, ast.Constant) and isinstance(code.value, str):
                    codes.add(code.value)
    return codes


def denials_in(folder: str) -> set[str]:
    """Return the codes of a licence's denials that stand in a room, but for their table."""
    texts: set[object] = set()
    for path in (ROOT / folder).glob("*.py"):
        if path.name != "denials.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            texts |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {code for code in DENIALS if code in texts}


def test_every_refusal_has_a_documented_code_and_every_code_a_refusal() -> None:
    # Named after the status of a reservation, and of a case.
    closed = {"already_settled", "already_released", "case_cleared", "case_confirmed"}
    found = codes_in("domain") | codes_in("application") | denials_in("domain") | closed
    assert found == set(REFUSALS)
