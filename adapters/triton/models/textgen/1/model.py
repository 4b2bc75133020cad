"""Words for a text, with exact counts; a text with the word `boom` fails alone."""

from adapters.triton.model_kit import TextModel


class TritonPythonModel(TextModel):
    """The plain model of texts."""
