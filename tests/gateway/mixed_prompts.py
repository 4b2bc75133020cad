"""Prompts for the models of texts, and what these answer."""

from random import Random
from typing import NamedTuple

from tests.gateway.mixed_seen import generated

_SAID = ("one", "two", "three", "four", "five", "six")


class Prompt(NamedTuple):
    """Texts for a model, and how many words each is to be answered with."""

    model: str
    texts: tuple[str, ...]
    limit: int

    def answers(self) -> list[str]:
        """Return what the model answers."""
        made = [" ".join(generated(_said(self.model, text), self.limit)) for text in self.texts]
        return [f"{each.capitalize()}." for each in made] if self.model == "pipeline" else made


def _said(model: str, text: str) -> str:
    """Return what a model of texts is given; the pipeline retrieves something first."""
    return f"found three words {text}" if model == "pipeline" else text


def prompt(chance: Random, model: str) -> Prompt:
    """Return any prompt; a streaming model gets one text, some of them to break it."""
    if model == "textgen_cached":
        # Few, so that many are answered from the cache.
        return Prompt(model, (f"again {chance.randrange(12)}",), 5)
    said = " ".join(chance.choices(_SAID, k=chance.randint(1, 8)))
    if model == "textgen_stream":
        said = chance.choice((said, said, said, said, f"{said} crumble", f"{said} boom"))
        return Prompt(model, (said,), chance.randint(1, 12))
    count = chance.choice((1, 1, 1, 2, 4))
    return Prompt(model, (said,) * count, chance.randint(0, 12))


def ids(chance: Random) -> str:
    """Return an id as clients give it: none, the same again and again, or another each time."""
    return chance.choice(("", "same", "same", f"mine-{chance.randrange(10**9)}"))
