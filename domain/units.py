"""The units that usage is counted in, and how their quantities travel.

Counts are integers. `gpu_seconds` and `compute_units` are decimal strings with at most six
places on the wire and integers of 10^-6 inside, so that a quantity is never a float.
"""

from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from tollbook.amounts import format_micro, parse_micro
from tollbook.errors import Invalid

COUNTED = frozenset(
    {"requests", "input_tokens", "cached_input_tokens", "output_tokens", "pages", "images"}
)
"""Units whose quantities are whole numbers."""

MEASURED = frozenset({"gpu_seconds", "compute_units"})
"""Units whose quantities have up to six decimal places."""

UNITS = COUNTED | MEASURED

TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens")
"""The units that graduated tiers price, in the order in which one inference consumes them."""

QUANTITY_MAX = 10**15
"""The largest quantity of one unit in one record, in base units (a safe limit)."""

UNITS_MAX = 16
"""The most units one record may name."""

Quantities = dict[str, int]
"""Unit name to quantity in base units: counts, or millionths for measured units."""


def _quantity(unit: str, value: object) -> int:
    if unit in MEASURED:
        if type(value) is not str:
            raise ValueError(f"{unit} must be a decimal string with at most 6 places")
        quantity = _micro(unit, value)
    elif type(value) is int:
        quantity = value
    else:
        raise ValueError(f"{unit} must be a whole number")
    if not 0 <= quantity <= QUANTITY_MAX:
        raise ValueError(f"{unit} must lie between 0 and {QUANTITY_MAX} base units")
    return quantity


def _micro(unit: str, value: str) -> int:
    try:
        return parse_micro(value)
    except Invalid as error:
        raise ValueError(f"{unit} must be {error.facts.get('rule', error.message)}") from None


def quantities_from_wire(value: object) -> Quantities:
    """Read usage as it travels, for example `{"input_tokens": 374, "gpu_seconds": "1.5"}`.

    Unknown unit names are kept (pricing refuses them by name, so that they are recorded);
    anything that is not a quantity raises ValueError.
    """
    if type(value) is not dict:
        raise ValueError("must be an object of unit names to quantities")
    before = ""
    for unit, quantity in value.items():
        known = unit in COUNTED and before < unit
        if not (known and type(quantity) is int and 0 <= quantity <= QUANTITY_MAX):
            break
        before = unit
    else:
        return dict(value)  # the usual case: known counts, in order
    if not all(type(unit) is str for unit in value):
        raise ValueError("must be an object of unit names to quantities")
    if len(value) > UNITS_MAX:
        raise ValueError(f"must name at most {UNITS_MAX} units")
    return {unit: _checked(unit, value[unit]) for unit in sorted(value)}


def _checked(unit: str, value: object) -> int:
    if unit not in UNITS and not _is_unit_name(unit):
        raise ValueError("unit names are lower-case words of at most 64 characters")
    return _quantity(unit, value)


def _is_unit_name(unit: str) -> bool:
    return (
        0 < len(unit) <= 64
        and unit.isascii()
        and unit.replace("_", "a").isalnum()
        and unit == unit.lower()
        and unit[0].isalpha()
    )


def quantities_to_wire(quantities: Quantities) -> dict[str, int | str]:
    """Write usage as it travels, keys in order."""
    if "gpu_seconds" not in quantities and "compute_units" not in quantities:
        return {unit: quantities[unit] for unit in sorted(quantities)}
    return {
        unit: format_micro(quantities[unit]) if unit in MEASURED else quantities[unit]
        for unit in sorted(quantities)
    }


_COUNT_SCHEMA = {"type": "integer", "minimum": 0, "maximum": QUANTITY_MAX}
_MEASURE_SCHEMA = {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$"}

Usage = Annotated[
    dict[str, int],
    PlainValidator(quantities_from_wire),
    PlainSerializer(quantities_to_wire, return_type=dict[str, int | str]),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                **dict.fromkeys(sorted(COUNTED), _COUNT_SCHEMA),
                **dict.fromkeys(sorted(MEASURED), _MEASURE_SCHEMA),
            },
            "additionalProperties": _COUNT_SCHEMA,
            "propertyNames": {"pattern": "^[a-z][a-z0-9_]{0,63}$"},
            "maxProperties": UNITS_MAX,
            "description": "Quantities by unit; a unit without a price is refused by its name.",
        }
    ),
]
"""Usage as a field of events and commands."""
