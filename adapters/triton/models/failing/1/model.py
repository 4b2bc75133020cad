"""Words for a text, and failures on request: FAIL fails one request, the text `crash` the batch."""

from collections.abc import Sequence
from typing import Any

from adapters.triton.model_kit import TextModel, numbers, texts


class TritonPythonModel(TextModel):
    """A model that fails when it is asked to."""

    def prepare(self, requests: Sequence[Any]) -> None:
        """Fail everything when one text says so."""
        if any("crash" in texts(request) for request in requests):
            raise RuntimeError("crash: the whole batch fails")

    def refusal(self, request: Any) -> str:
        """Fail the request that asks for it."""
        return "fail: as the request asks" if any(numbers(request, "FAIL", 0, 1)) else ""
