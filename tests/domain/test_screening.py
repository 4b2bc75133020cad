"""The export list: one replaces the other, and a code that means nothing is refused."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.commands import parse
from domain.countries import COUNTRIES
from domain.registry_commands import PublishExportList
from domain.screening import ExportList, decide_publish, evolve, export_list_to_wire


def published(current: ExportList, countries: Any, **more: Any) -> ExportList:
    """Return the list after a publication."""
    command = parse("publish_export_list", {"id": "c", "countries": countries, **more})
    assert isinstance(command, PublishExportList)
    (event,) = decide_publish(current, command)
    assert (event.stream(), event.command_scope()) == ("export-0", "")
    return evolve(current, event)


def test_before_the_first_list_nobody_is_denied() -> None:
    assert ExportList() == ExportList(frozenset(), 0)


def test_a_list_replaces_the_one_before() -> None:
    first = published(ExportList(), ["SY", "KP"], note="as of today")
    assert first == ExportList(frozenset({"KP", "SY"}), 1)
    assert published(first, ["IR"]) == ExportList(frozenset({"IR"}), 2)
    assert published(first, []) == ExportList(frozenset(), 2)


def test_the_order_in_which_countries_are_given_means_nothing() -> None:
    one, other = (
        parse("publish_export_list", {"id": "c", "countries": countries})
        for countries in (["SY", "KP"], ["KP", "SY"])
    )
    assert one == other
    listed = published(ExportList(), ["SY", "KP"])
    assert export_list_to_wire(listed) == {"countries": ["KP", "SY"], "version": 1}


@pytest.mark.parametrize(
    "countries",
    [["UK"], ["kp"], ["KP "], ["PRK"], ["408"], ["KP", "KP"], ["EU"], [7], [None], "KP", None],
)
def test_what_is_no_country_is_refused(countries: Any) -> None:
    """A code of no country would deny nobody, and nobody would notice."""
    with pytest.raises(Invalid) as refused:
        published(ExportList(), countries)
    assert refused.value.facts["field"] == "countries"


def test_every_country_of_the_standard_can_be_denied() -> None:
    assert len([code for code in COUNTRIES if not _is_for_users(code)]) == 249
    everywhere = published(ExportList(), sorted(COUNTRIES))
    assert everywhere.countries == COUNTRIES


def _is_for_users(code: str) -> bool:
    return code in ("AA", "ZZ") or code[0] == "X" or (code[0] == "Q" and code[1] >= "M")
