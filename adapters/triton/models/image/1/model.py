"""A label and a score for each image, told from its brightness."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from adapters.triton.model_kit import Account, facts, tensor, textual, work


class TritonPythonModel:
    """A model without any word about usage."""

    def initialize(self, args: dict[str, str]) -> None:
        """Begin the account of this model."""
        self.account = Account(args["model_name"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer a batch; each request may hold several images."""
        with self.account.batch(requests) as lines:
            work()
            return [self._answer(request, lines) for request in requests]

    def _answer(self, request: Any, lines: list[dict[str, Any]]) -> Any:
        images = triton.get_input_tensor_by_name(request, "IMAGE").as_numpy()
        count = len(images)
        scores = images.reshape(count, -1).mean(axis=1) / 255
        labels = ["bright" if score >= 0.5 else "dark" for score in scores]
        lines.append(facts(request, units=count))
        return triton.InferenceResponse(
            output_tensors=[
                textual("LABEL", labels, (count, 1)),
                tensor("SCORE", scores, np.float32, (count, 1)),
            ]
        )
