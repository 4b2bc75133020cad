"""Words for a text, after as long as the slowest request of the batch asks for."""

import time
from collections.abc import Sequence
from typing import Any

from adapters.triton.model_kit import TextModel, numbers

DELAY_MS_DEFAULT = 300


class TritonPythonModel(TextModel):
    """A model that takes its time."""

    def prepare(self, requests: Sequence[Any]) -> None:
        """Wait, and do not look whether anybody still does."""
        delays = [max(numbers(request, "DELAY_MS", DELAY_MS_DEFAULT, 1)) for request in requests]
        time.sleep(max(delays) / 1000)
