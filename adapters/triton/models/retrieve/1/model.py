"""The first stage of the pipeline: puts what was found before the text."""

from collections.abc import Sequence
from typing import Any

import triton_python_backend_utils as triton

from adapters.triton.model_kit import Account, facts, texts, textual, work


class TritonPythonModel:
    """A stage that looks things up."""

    def initialize(self, args: dict[str, str]) -> None:
        """Begin the account of this stage."""
        self.account = Account(args["model_name"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer a batch."""
        with self.account.batch(requests) as lines:
            work()
            return [self._answer(request, lines) for request in requests]

    def _answer(self, request: Any, lines: list[dict[str, Any]]) -> Any:
        made = [f"found three words {text}" for text in texts(request)]
        lines.append(facts(request, units=len(made)))
        outputs = [textual("CONTEXT", made, (len(made), 1))]
        return triton.InferenceResponse(output_tensors=outputs)
