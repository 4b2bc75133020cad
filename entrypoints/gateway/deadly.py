"""Deadly requests: what ends a Triton server, or is never answered, is refused before that.

One customer would stop everybody else's inferences with it. Seen of Triton 2.51.0, and asked of a
real one by tests/gateway/test_deadly_requests.py: classes of an output of texts, or over HTTP of an
empty one, kill it, and so does a sequence named by a text where the model is told numbers; a batch
of none of tensors without elements is answered never.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from tollbook.errors import Invalid

from entrypoints.gateway.sequences import NAME

CLASSIFICATION = "classification"
"""The parameter of an output that is asked for as its likeliest classes."""


class Model(NamedTuple):
    """What has to be known of a model."""

    texts: frozenset[str]
    """Its outputs of texts."""
    batches: bool
    """Whether the first axis of its inputs may be a batch, of its own or of an ensemble's step."""
    numbers: bool
    """Whether it is told the numbers of its sequences, or may be: there is no room for texts."""


Shapes = Mapping[str, Sequence[int]]
"""The shapes of a request's inputs, by name."""


def is_suspect(shapes: Shapes, classified: Collection[str], sequence: object) -> bool:
    """Say whether the model has to be known; of most requests it need not."""
    named = isinstance(sequence, str) and bool(sequence)
    return named or bool(classified) or any(it and not it[0] for it in shapes.values())


def check(model: Model, shapes: Shapes, classified: Collection[str], sequence: object) -> None:
    """Refuse a deadly request.

    `classified` are the outputs that are asked for as classes, `sequence` its sequence's id.
    """
    if model.numbers and isinstance(sequence, str) and sequence:
        raise Invalid.because(f"parameters.{NAME}", sequence[:80], "a number of this model")
    for name, shape in shapes.items():
        if model.batches and shape and not shape[0]:
            raise Invalid.because(f"inputs.{name}.shape", list(shape), "a batch of at least one")
        if classified and not all(shape):
            rule = "of at least one element where an output is asked for as classes"
            raise Invalid.because(f"inputs.{name}.shape", list(shape), rule)
    for name in classified:
        if name in model.texts:
            field = f"outputs.{name}.parameters.{CLASSIFICATION}"
            raise Invalid.because(field, "given", "left out: texts have no classes")
