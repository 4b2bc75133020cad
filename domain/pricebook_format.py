"""The price book as people write it: its exact schema, checked before it is published.

A book is TOML or JSON (docs/formats/price-book.md). Token prices are per million tokens, all
others per unit; prices are strings or whole numbers with at most six decimal places, so every
charge is an exact multiple of 10^-12. A pricing model that is not built yet is refused by name.
"""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from tollbook.amounts import parse_price
from tollbook.errors import Invalid

from domain.units import TOKENS, UNITS
from domain.values import Currency, Id, InstantIn, Name

PRICE_MAX = 1_000_000 * 10**6
"""The highest price, in 10^-6: one million currency units per million tokens or per unit."""

MODELS_MAX = 1000
TIERS_MAX = 50

PRICING = ("flat", "graduated")
"""The pricing models this version knows; a book that names another is refused."""


def _price(value: object) -> str:
    """Check a price and return it as the shortest decimal string of the same value."""
    if type(value) is int:
        value = str(value)
    if type(value) is not str:
        raise ValueError("must be a string or a whole number, never a float")
    try:
        price = parse_price(value)
    except Invalid as error:
        raise ValueError(error.facts.get("rule", error.message)) from None
    if not 0 <= price <= PRICE_MAX:
        raise ValueError("must lie between 0 and 1000000")
    whole, part = divmod(price, 10**6)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".") if part else str(whole)


Price = Annotated[
    str,
    PlainValidator(_price),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "minimum": 0,
            "maximum": PRICE_MAX // 10**6,
            "pattern": r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,6})?$",
            "description": "At most six places, at most 1000000; never a number with a fraction.",
        }
    ),
]

_CONFIG = ConfigDict(frozen=True, strict=True, extra="forbid")


class TierBody(BaseModel):
    """One tier of a graduated price; `up_to` is cumulative and inclusive, absent on the last."""

    model_config = _CONFIG
    up_to: int | None = Field(default=None, ge=1, le=10**15)
    input: Price
    output: Price
    cached_input: Price | None = None


class ModelBody(BaseModel):
    """The prices of one model: `prices` by unit, and `tiers` for its tokens when graduated."""

    model_config = _CONFIG
    name: Name
    pricing: str | None = None
    prices: dict[str, Price] = Field(default_factory=dict)
    tiers: list[TierBody] | None = Field(default=None, min_length=1, max_length=TIERS_MAX)
    max_output_tokens: int | None = Field(default=None, ge=1, le=10**9)

    @model_validator(mode="after")
    def _check(self) -> "ModelBody":
        if self.pricing is not None and self.pricing not in PRICING:
            raise ValueError(
                f"pricing {self.pricing!r} is not built yet; known are {', '.join(PRICING)}"
            )
        if (self.pricing == "graduated") != (self.tiers is not None) and self.pricing:
            raise ValueError("pricing must be 'graduated' with tiers and 'flat' without")
        if not self.prices and not self.tiers:
            raise ValueError(f"model {self.name} has no price")
        for unit in self.prices:
            if unit not in UNITS:
                raise ValueError(f"unit {unit!r} is not one of {', '.join(sorted(UNITS))}")
            if self.tiers and unit in TOKENS:
                raise ValueError(f"{unit} is priced by the tiers already")
        _check_tiers(self.tiers or [])
        return self


def _check_tiers(tiers: list[TierBody]) -> None:
    """Refuse tiers that leave a volume without a price or overlap."""
    reached = 0
    for number, tier in enumerate(tiers, 1):
        last = number == len(tiers)
        if last != (tier.up_to is None):
            raise ValueError("only the last tier, and always the last, has no up_to")
        if tier.up_to is not None:
            if tier.up_to <= reached:
                raise ValueError(f"up_to of tier {number} must be above {reached}")
            reached = tier.up_to


class PriceBookBody(BaseModel):
    """A version of a price book as submitted: `[book]` and its `[[model]]` tables."""

    model_config = _CONFIG
    id: Id
    currency: Currency
    effective_from: InstantIn
    models: list[ModelBody] = Field(min_length=1, max_length=MODELS_MAX)

    @model_validator(mode="after")
    def _check(self) -> "PriceBookBody":
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"model {name} stands twice in the book")
        return self

    def wire_models(self) -> list[dict[str, Any]]:
        """Return the models as they are stored: JSON values, absent fields left out."""
        return [
            {key: value for key, value in sorted(_wire_model(model).items()) if value}
            for model in self.models
        ]


def _wire_model(model: ModelBody) -> dict[str, Any]:
    tiers = [
        dict(sorted(tier.model_dump(mode="json", exclude_none=True).items()))
        for tier in model.tiers or ()
    ]
    return {
        "max_output_tokens": model.max_output_tokens,
        "name": model.name,
        "prices": dict(sorted(model.prices.items())),
        "tiers": tiers,
    }
