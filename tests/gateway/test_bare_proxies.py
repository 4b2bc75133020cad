"""`python -m benchmarks.bare_proxies` runs; what it says is for a quiet machine."""

import re

import pytest

from benchmarks import bare_proxies
from tests.support.triton import installed


def test_a_bare_proxy_on_the_library_that_is_used_carries_inferences(
    capsys: pytest.CaptureFixture[str],
) -> None:
    installed()
    bare_proxies.main(["--rounds", "1", "--inferences", "40", "grpc.aio"])
    said = capsys.readouterr().out
    assert re.search(r"^\| Triton \| [0-9,]+ \| 1\.00x \|", said, re.MULTILINE)
    assert re.search(
        r"^\| grpc\.aio \| [1-9][0-9,]* \| .* \| [1-9][0-9]* us \|", said, re.MULTILINE
    )


def test_a_library_that_is_not_installed_is_named() -> None:
    installed()
    with pytest.raises(SystemExit, match="the proxy on zttp did not begin: is it installed"):
        bare_proxies.main(["--rounds", "1", "--inferences", "40", "zttp"])
