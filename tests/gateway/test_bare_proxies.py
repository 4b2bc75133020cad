"""`python -m benchmarks.bare_proxies` runs; what it says is for a quiet machine."""

import re

import pytest

from benchmarks import bare_proxies
from tests.support.triton import installed


def test_a_bare_proxy_on_each_layer_carries_inferences(capsys: pytest.CaptureFixture[str]) -> None:
    installed()
    bare_proxies.main(["--rounds", "1", "--inferences", "40"])
    said = capsys.readouterr().out
    assert re.search(r"^\| Triton \| [0-9,]+ \| 1\.00x \|", said, re.MULTILINE)
    for layer in ("grpc.aio", "own"):
        line = rf"^\| {re.escape(layer)} \| [1-9][0-9,]* \| .* \| [1-9][0-9]* us \|"
        assert re.search(line, said, re.MULTILINE), layer
