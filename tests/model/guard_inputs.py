"""What the model is fed about guards: a customer whose requests are cheap, caps, and bursts."""

from typing import Any

from hypothesis import strategies as st

from tests.model.oracle_rules import Body
from tests.model.wire import SECOND

BURSTING = "dash"
"""A customer who can afford a thousand requests."""

CHEAP: Body = {
    "id": "cheap",
    "currency": "USD",
    "effective_from": "2020-01-01T00:00:00.000000Z",
    "models": [{"name": "flat", "prices": {"requests": "0.001", "gpu_seconds": "0.25"}}],
}

OPENING: list[tuple[str, Body]] = [
    ("publish_prices", CHEAP),
    ("create_customer", {"id": BURSTING, "price_book": "cheap", "credit_limit": "3"}),
]

BEFORE = st.sampled_from([0, 1, 90, 120, 1200])
"""Requests of the time before a burst."""
GAPS = st.sampled_from(
    [each * SECOND for each in (3900, 3917, 5030, 86_399, 86_417)] + [3900 * SECOND - 1]
)
"""From the first use to a burst: just enough, within a minute, a day, a microsecond too short."""
BURSTS = st.lists(st.sampled_from([1, 2, 400, 600, 1000, 1001]), min_size=1, max_size=4)
BACK = st.sampled_from([0, 0, 0, 1, 30 * SECOND, 300 * SECOND, 300 * SECOND - 1, 7200 * SECOND])
"""How long before its receipt usage occurred."""

UNITS = ["requests", "requests", "input_tokens", "output_tokens"]
WINDOWS: list[Body] = [
    *({"calendar": each} for each in ("hour", "day", "week", "month")),
    *({"rolling_seconds": each} for each in (60, 61, 600, 86_400)),
]
MODELS: list[Body] = [{}, {}, {"models": ["flat"]}, {"models": ["tiered", "flat"]}]


def unblocking(draw: st.DrawFn, name: str, customer: Any) -> Body:
    """Return the body of an unblock."""
    reason = draw(st.sampled_from(["they called", "a test of ours"]))
    return {"id": name, "customer": customer, "reason": reason}


def capping(draw: st.DrawFn, name: str, customer: Any) -> Body:
    """Return the body that replaces a customer's caps by a few."""
    caps = []
    for number in range(draw(st.integers(0, 3))):
        unit = draw(st.sampled_from(UNITS))
        limit = draw(st.sampled_from([0, 1, 4, 10] if unit == "requests" else [600, 1500, 5000]))
        window, models = draw(st.sampled_from(WINDOWS)), draw(st.sampled_from(MODELS))
        caps.append({"id": f"k{number}", "unit": unit, "limit": limit, **window, **models})
    return {"id": name, "customer": customer, "caps": caps}
