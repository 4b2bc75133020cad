"""The kinds of inferences that the demo on a cluster has run, and what each of them costs.

Each kind has a customer of its own, so that the ledger itself tells the kinds apart.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

Line = Mapping[str, Any]
"""A line of a model's own log."""

_TOKENS = ("input_tokens", "output_tokens")
_TEXT_PRICES = {"input_tokens": "1", "output_tokens": "2"}

PRICES: dict[str, dict[str, str]] = {
    "textgen_stream": _TEXT_PRICES,
    "textgen_cached": {**_TEXT_PRICES, "cached_input_tokens": "0.5"},
    "pipeline": {"input_tokens": "2", "output_tokens": "4"},
    "image": {"images": "0.01"},
    "failing": {"requests": "0.001"},
}
"""By model as the price book names it; what runs as text has the price of the trace."""


class Kind(NamedTuple):
    """One way in which clients ask."""

    id: str
    told: str
    """What it is, for a person."""
    ran_by: tuple[str, ...]
    """The models whose logs have a line of each; what the first of them wrote is paid for."""

    @property
    def customer(self) -> str:
        """The customer who asks so, and nobody else does."""
        return f"asks-{self.id}"

    def usage(self, line: Line) -> dict[str, int]:
        """Return what a line of the model's own log is worth, in units of the price book."""
        match self.ran_by[0]:
            case "image":
                return {"images": line["units"]}
            case "failing":
                return {"requests": 1}
        return {unit: line[unit] for unit in _TOKENS}


def from_the_cache(usage: Mapping[str, int]) -> dict[str, int]:
    """Return what an answer is worth that was another one's before."""
    return {
        "cached_input_tokens": usage["input_tokens"],
        "output_tokens": usage["output_tokens"],
    }


TEXT_GRPC = Kind("text-grpc", "text, gRPC", ("textgen",))
TEXT_HTTP = Kind("text-http", "text, HTTP", ("textgen",))
STREAM_GRPC = Kind("stream-grpc", "stream, gRPC", ("textgen_stream",))
STREAM_HTTP = Kind("stream-http", "stream, HTTP", ("textgen_stream",))
CACHED = Kind("cached", "cached text", ("textgen_cached",))
ENSEMBLE = Kind("ensemble", "ensemble", ("textgen", "retrieve", "polish"))
IMAGES = Kind("images", "images", ("image",))
FAILING = Kind("failing", "half fail", ("failing",))

KINDS = (
    *(TEXT_GRPC, TEXT_HTTP, STREAM_GRPC, STREAM_HTTP),
    *(CACHED, ENSEMBLE, IMAGES, FAILING),
)

MODELS = ("pipeline", *dict.fromkeys(model for kind in KINDS for model in kind.ran_by))
"""What their server has to serve."""
