"""The last stage of the pipeline: makes a sentence of a draft."""

from collections.abc import Sequence
from typing import Any

import triton_python_backend_utils as triton

from adapters.triton.model_kit import Account, facts, texts, textual, work


class TritonPythonModel:
    """A stage that tidies."""

    def initialize(self, args: dict[str, str]) -> None:
        """Begin the account of this stage."""
        self.account = Account(args["model_name"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer a batch."""
        with self.account.batch(requests) as lines:
            work()
            return [self._answer(request, lines) for request in requests]

    def _answer(self, request: Any, lines: list[dict[str, Any]]) -> Any:
        made = [f"{text.capitalize()}." for text in texts(request, "DRAFT")]
        lines.append(facts(request, units=len(made)))
        outputs = [textual("OUT", made, (len(made), 1))]
        return triton.InferenceResponse(output_tensors=outputs)
