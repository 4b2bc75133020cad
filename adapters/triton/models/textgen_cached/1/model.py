"""Words for a text. Triton's response cache stands before it, and answers without running it."""

from adapters.triton.model_kit import TextModel


class TritonPythonModel(TextModel):
    """The plain model of texts; its configuration makes it a cached one."""
