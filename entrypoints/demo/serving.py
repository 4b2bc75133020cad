"""The demo's Triton: our own models on a real server, which goes when the demo has ended."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tollbook.errors import Unavailable

from adapters.triton.errors import TritonUnavailable
from adapters.triton.installation import Installation, find
from adapters.triton.server import TritonServer


def installed() -> Installation:
    """Return the Triton of this machine; raises Unavailable with what to do about it."""
    try:
        return find()
    except TritonUnavailable as error:
        raise Unavailable(f"the demo cannot run through Triton: {error}") from None


@contextmanager
def serving(log: Path, models: Sequence[str]) -> Iterator[TritonServer]:
    """Run a Triton with these of our models, which write what they did below `log`."""
    with tempfile.TemporaryDirectory(prefix="tollbook-demo-triton-") as name:
        server = TritonServer(Path(name), models=models, model_log=log, installation=installed())
        try:
            server.start()
        except TritonUnavailable as error:
            raise Unavailable(f"the demo cannot run through Triton: {error}") from None
        try:
            yield server
        finally:
            server.kill()  # nothing is under way any more, and an orderly stop takes seconds
