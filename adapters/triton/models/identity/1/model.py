"""Gives back what it got."""

from collections.abc import Sequence
from typing import Any

import triton_python_backend_utils as triton

from adapters.triton.model_kit import Account, facts


class TritonPythonModel:
    """A model that does no work."""

    def initialize(self, args: dict[str, str]) -> None:
        """Begin the account of this model."""
        self.account = Account(args["model_name"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request with its own numbers."""
        with self.account.batch(requests) as lines:
            return [self._answer(request, lines) for request in requests]

    def _answer(self, request: Any, lines: list[dict[str, Any]]) -> Any:
        given = triton.get_input_tensor_by_name(request, "IN").as_numpy()
        lines.append(facts(request, units=len(given)))
        return triton.InferenceResponse(output_tensors=[triton.Tensor("OUT", given)])
