"""The committed documents say what the code says, and the table of routes is whole."""

import ast
import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from adapters import api_keys
from domain.commands import COMMANDS
from domain.outcomes import REFUSALS
from entrypoints.http import openapi
from entrypoints.http.commanding import PREFIXES
from entrypoints.http.problems import CODES, TYPE_PREFIX, document
from entrypoints.http.roles import COMMAND_ROLES, ROLES
from entrypoints.http.routes import ROUTES
from entrypoints.http.routing import Route
from tests.architecture.source_files import ROOT, python_files

OF_THE_SHELL = {"usage", "interrupted"}
"""A wrong option, and a Ctrl-C."""

NEVER_OVER_HTTP = {*OF_THE_SHELL, "unbalanced"}
"""The last is of an event that the projector parks."""

BODIES = [route for route in ROUTES if route.body is not None]


def test_the_committed_description_is_the_one_that_is_served() -> None:
    """`python -m entrypoints.http.openapi` writes it; a change shows in a review."""
    committed = (openapi.DOCS / "openapi.json").read_bytes()
    assert committed == openapi.document_bytes()


def test_the_committed_table_of_problems_is_the_codes() -> None:
    """The same command writes it."""
    committed = (openapi.DOCS / "problems.md").read_text(encoding="utf-8")
    assert committed == openapi.problems_page()
    assert [code for code in OF_THE_SHELL if f"`{code}`" not in committed] == []


def test_every_refusal_of_a_rule_has_a_status_of_its_own_choice() -> None:
    """None falls back to the status that stands for what nobody thought of."""
    from entrypoints.http.problems import _REFUSED_WITH

    assert _REFUSED_WITH.keys() == REFUSALS.keys()


def codes_raised(path: Path) -> set[str]:
    """Return the codes that a file gives to errors, as literals."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "code":
            value = node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found.add(value.value)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            if "default_code" in names:
                found.add(str(node.value.value))
    return found


def test_every_code_that_the_server_gives_stands_in_the_table() -> None:
    """Whoever makes a new error says under which status it goes over HTTP."""
    rooms = ("domain", "application", "projections", "adapters", "entrypoints")
    files = [path for path in python_files() if path.relative_to(ROOT).parts[0] in rooms]
    codes = set().union(*(codes_raised(path) for path in files))
    assert {"overloaded", "id_reused", "unauthorized"} <= codes
    assert codes - NEVER_OVER_HTTP <= CODES.keys()


def test_a_problem_of_any_code_has_its_status() -> None:
    """As the document and as the answer."""
    from tollbook.errors import Refused

    for code, meaning in CODES.items():
        problem = document(Refused("no", code=code, available="1"))
        assert (problem["status"], problem["type"]) == (meaning.status, TYPE_PREFIX + code)
        assert problem["available"] == "1"


def test_each_route_stands_once_and_each_operation_has_its_name() -> None:
    """So that generated clients have a method for each."""
    assert max(Counter((route.method, route.path) for route in ROUTES).values()) == 1
    names = Counter(openapi.operation_id(route) for route in ROUTES if "/v1" in route.path)
    assert max(names.values()) == 1


def test_each_kind_of_command_has_roles_and_ids() -> None:
    """A new kind is nobody's until somebody says whose it is."""
    assert COMMAND_ROLES.keys() == COMMANDS.keys()
    assert PREFIXES.keys() == COMMANDS.keys() - {"publish_prices"}
    for route in ROUTES:
        if route.kind is not None:
            assert route.roles == COMMAND_ROLES[route.kind], route.path


def test_there_are_roles_for_the_keys_that_can_be_made() -> None:
    """Keys and routes know the same roles."""
    assert set(ROLES) == set(api_keys.ROLES)


def schema_of(name: str) -> dict[str, Any]:
    """Return a schema of the document with all that it refers to."""
    text = json.dumps(openapi.document()["components"]["schemas"])
    schemas = json.loads(text.replace("#/components/schemas/", "#/$defs/"))
    return {"$ref": f"#/$defs/{name}", "$defs": schemas}


@pytest.mark.parametrize("route", BODIES, ids=lambda route: f"{route.method} {route.path}")
def test_each_example_is_one_that_its_schema_allows(route: Route) -> None:
    """And anything more is not allowed, but where items are answered one by one."""
    schema = jsonschema_rs.validator_for(schema_of(str(route.body)))
    assert schema.is_valid(route.example)
    if route.body != "UsageEvent":
        assert not schema.is_valid({**(route.example or {}), "bogus": 1})


def test_every_schema_is_used_and_every_reference_leads_somewhere() -> None:
    """The document holds nothing that nobody can reach."""
    whole = openapi.document()
    text = json.dumps(whole)
    for kind in ("schemas", "responses"):
        for name in whole["components"][kind]:
            assert f'"#/components/{kind}/{name}"' in text, name
    for reference in set(_references(whole)):
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in whole["components"][kind], reference


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for each in node for found in _references(each)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [found for each in node.values() for found in _references(each)]
