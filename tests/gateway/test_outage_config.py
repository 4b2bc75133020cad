"""The outage policies of a gateway's configuration: what is given, and what is refused by name."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.values import PICO
from entrypoints.gateway.config import GatewayConfig
from tests.gateway.rig import configured

GOLD = {"template": "gold", "amount": "0.5"}


def config(*outages: dict[str, Any]) -> GatewayConfig:
    return configured(outage=list(outages))


def test_without_a_word_every_licence_waits_for_the_ledger() -> None:
    assert configured().outage == ()


def test_a_template_may_go_on_with_an_amount_for_some_time() -> None:
    gold, free = config(GOLD, {"template": "free", "amount": "1", "seconds": 3600}).outage
    assert (gold.template, gold.amount, gold.seconds) == ("gold", PICO // 2, 60)
    assert (free.template, free.amount, free.seconds) == ("free", PICO, 3600)


@pytest.mark.parametrize(
    ("field", "outages"),
    [
        ("outage.0.amount", [{"template": "gold"}]),
        ("outage.0.amount", [{**GOLD, "amount": "0"}]),
        ("outage.0.amount", [{**GOLD, "amount": "-1"}]),
        ("outage.0.amount", [{**GOLD, "amount": 1}]),
        ("outage.0.amount", [{**GOLD, "amount": "1" + 15 * "0" + ".1"}]),
        ("outage.0.template", [{"amount": "1"}]),
        ("outage.0.template", [{**GOLD, "template": "no id"}]),
        ("outage.1.seconds", [GOLD, {**GOLD, "template": "free", "seconds": 0}]),
        ("outage.0.seconds", [{**GOLD, "seconds": 3601}]),
        ("outage.0.policy", [{**GOLD, "policy": "open"}]),
        ("body", [GOLD, {**GOLD, "seconds": 5}]),
    ],
)
def test_a_policy_that_cannot_be_is_refused_by_naming_its_field(
    field: str, outages: list[dict[str, Any]]
) -> None:
    with pytest.raises(Invalid) as caught:
        config(*outages)
    assert caught.value.facts["field"] == field
