"""A score for each page of a document: how many of its words are different ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from adapters.triton.model_kit import Account, facts, tensor, texts, work


class TritonPythonModel:
    """A model of documents."""

    def initialize(self, args: dict[str, str]) -> None:
        """Begin the account of this model."""
        self.account = Account(args["model_name"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each document for itself."""
        with self.account.batch(requests) as lines:
            work()
            return [self._answer(request, lines) for request in requests]

    def _answer(self, request: Any, lines: list[dict[str, Any]]) -> Any:
        pages = [page.split() for page in texts(request, "PAGES")]
        scores = [len(set(words)) / max(1, len(words)) for words in pages]
        lines.append(facts(request, units=len(pages)))
        outputs = [tensor("SCORES", scores, np.float32, (len(pages),))]
        return triton.InferenceResponse(output_tensors=outputs)
