"""What our Triton models share. It runs inside Triton's Python backend, never in our processes.

Tokens are words. Each model writes one line for each request that it executed, when it is told
where: an account of what was done that owes nothing to what Triton, or a gateway, reports.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

LOG_SETTING = "TOLLBOOK_MODEL_LOG"
TOKENS_DEFAULT = 16

_WORDS = (
    *("the", "a", "small", "quiet", "river", "city", "light", "stone"),
    *("winter", "song", "carries", "holds", "finds", "opens"),
)


class Account:
    """What one model executed, a line a request."""

    def __init__(self, model: str) -> None:
        """Open the file of a model, where a folder is named for it."""
        folder = os.environ.get(LOG_SETTING)
        self.model = model
        self._file = -1
        if folder:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(Path(folder) / f"{model}.jsonl", flags, 0o600)

    def write(self, facts: dict[str, Any], *, batch: int, begun: int, device: int) -> None:
        """Write the line of a request, in one piece."""
        if self._file >= 0:
            measured = {"batch": batch, "begun_ns": begun, "device_ns": device}
            line = {"model": self.model, **facts, **measured}
            os.write(self._file, json.dumps(line).encode() + b"\n")

    @contextmanager
    def batch(self, requests: Sequence[Any]) -> Iterator[list[dict[str, Any]]]:
        """Time a batch and write the lines that its block has made.

        An exception fails every request of a batch, whatever the block has made of some.
        """
        begun = time.monotonic_ns()
        lines: list[dict[str, Any]] = []
        try:
            yield lines
        except Exception:
            lines = [facts(request, outcome="error", chunks=0) for request in requests]
            raise
        finally:
            device = time.monotonic_ns() - begun
            for line in lines:
                self.write(line, batch=len(requests), begun=begun, device=device)


def facts(
    request: Any,
    *,
    outcome: str = "ok",
    tokens_in: int = 0,
    tokens_out: int = 0,
    chunks: int = 1,
    units: int = 0,
) -> dict[str, Any]:
    """Say what became of a request: ok, error or cancelled, and what was made for it."""
    return {
        "request_id": request.request_id(),
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "chunks": chunks,
        "units": units,
        "outcome": outcome,
    }


def texts(request: Any, name: str = "TEXT") -> list[str]:
    """Read an input of bytes, whatever its shape, as texts."""
    given = triton.get_input_tensor_by_name(request, name)
    return [bytes(item).decode("utf-8", "replace") for item in given.as_numpy().ravel()]


def numbers(request: Any, name: str, default: int, count: int) -> list[int]:
    """Read an optional input of whole numbers, one for each text."""
    given = triton.get_input_tensor_by_name(request, name)
    return [default] * count if given is None else [int(item) for item in given.as_numpy().ravel()]


def generated(text: str, count: int) -> list[str]:
    """Return the words that are generated for a text: always the same ones."""
    digests = (sha256(f"{number} {text}".encode()).digest() for number in range(count))
    return [_WORDS[digest[0] % len(_WORDS)] for digest in digests]


def tensor(name: str, values: Sequence[Any], kind: Any, shape: Sequence[int]) -> Any:
    """Make an output tensor."""
    return triton.Tensor(name, np.array(values, dtype=kind).reshape(shape))


def textual(name: str, values: Sequence[str], shape: Sequence[int]) -> Any:
    """Make an output tensor of texts."""
    return tensor(name, [value.encode() for value in values], np.object_, shape)


def refused(message: str) -> Any:
    """Make the answer to a request that fails alone."""
    return triton.InferenceResponse(output_tensors=[], error=triton.TritonError(message))


def work() -> None:
    """Do a little, so that a batch takes a time that is worth measuring."""
    square = np.full((64, 64), 1.000_1)
    (square @ square).sum()
    time.sleep(0.001)


class TextModel:
    """Generates words for texts, in batches, with their exact count."""

    def initialize(self, args: dict[str, str]) -> None:
        """Begin the account of the model that Triton names."""
        self.account = Account(args["model_name"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer a batch: each request for itself, after the work for all of them."""
        with self.account.batch(requests) as lines:
            self.prepare(requests)
            work()
            return [self._answer(request, lines) for request in requests]

    def prepare(self, requests: Sequence[Any]) -> None:
        """Do what a kind of model does before a batch."""

    def refusal(self, request: Any) -> str:
        """Say why a request fails alone; empty when it does not."""
        return "boom: the text is refused" if _holds_boom(request) else ""

    def _answer(self, request: Any, lines: list[dict[str, Any]]) -> Any:
        given = texts(request)
        counts_in = [len(text.split()) for text in given]
        tokens_in = sum(counts_in)
        reason = self.refusal(request)
        if reason:
            lines.append(facts(request, outcome="error", tokens_in=tokens_in, chunks=0))
            return refused(reason)
        limits = numbers(request, "MAX_TOKENS", TOKENS_DEFAULT, len(given))
        made = [generated(text, limit) for text, limit in zip(given, limits, strict=True)]
        counts_out = [len(words) for words in made]
        lines.append(facts(request, tokens_in=tokens_in, tokens_out=sum(counts_out)))
        shape = triton.get_input_tensor_by_name(request, "TEXT").as_numpy().shape
        return triton.InferenceResponse(
            output_tensors=[
                textual("OUT", [" ".join(words) for words in made], shape),
                tensor("INPUT_TOKENS", counts_in, np.int64, shape),
                tensor("OUTPUT_TOKENS", counts_out, np.int64, shape),
                textual("REQUEST_ID", [request.request_id()] * len(given), shape),
            ]
        )


def _holds_boom(request: Any) -> bool:
    return any("boom" in text.split() for text in texts(request))
