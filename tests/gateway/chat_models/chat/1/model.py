"""A model of the kind whose counts are asked for, as those of Triton's vLLM backend are.

Each count is an output that is there where an input of its name, after `return_`, is true. That of
the prompt's tokens is the same in every response, that of those made is of the response itself.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from adapters.triton.model_kit import (
    TOKENS_DEFAULT,
    Account,
    facts,
    generated,
    tensor,
    texts,
    textual,
)


class TritonPythonModel:
    """Words for a text: two in a response where the model is decoupled, else all in one."""

    def initialize(self, args: dict[str, str]) -> None:
        """Begin the account of the model that Triton names."""
        self.account = Account(args["model_name"])
        policy = json.loads(args["model_config"]).get("model_transaction_policy", {})
        self.at_once = 2 if policy.get("decoupled") else None

    def execute(self, requests: Sequence[Any]) -> list[Any] | None:
        """Answer each request, at once or word by word."""
        with self.account.batch(requests) as lines:
            answers = [list(self._responses(request, lines)) for request in requests]
        if self.at_once is None:
            return [one for (one,) in answers]
        for request, responses in zip(requests, answers, strict=True):
            sender = request.get_response_sender()
            for each in responses:
                sender.send(each)
            sender.send(flags=triton.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None

    def _responses(self, request: Any, lines: list[dict[str, Any]]) -> Iterator[Any]:
        text = texts(request, "text_input")[0]
        most = json.loads(request.parameters()).get("max_tokens", TOKENS_DEFAULT)
        words, read = generated(text, int(most)), len(text.split())
        step = self.at_once or len(words)
        parts = [words[at : at + step] for at in range(0, len(words), step)]
        lines.append(facts(request, tokens_in=read, tokens_out=len(words), chunks=len(parts)))
        for part in parts:
            found = [textual("text_output", [" ".join(part)], (1,))]
            for name, count in (("num_input_tokens", read), ("num_output_tokens", len(part))):
                asked = triton.get_input_tensor_by_name(request, f"return_{name}")
                if asked is not None and asked.as_numpy().all():
                    found.append(tensor(name, [count], np.uint32, (1,)))
            yield triton.InferenceResponse(output_tensors=found)
