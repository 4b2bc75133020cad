"""Which of Triton's extensions the gateway offers: clients that look are told of no others."""

from collections.abc import Iterable

_REFUSED = frozenset(
    {
        "model_repository",
        "model_repository(unload_dependents)",
        "system_shared_memory",
        "cuda_shared_memory",
        "trace",
        "logging",
    }
)
"""What belongs to whoever runs the servers, by the names in Triton's metadata of a server."""
_STATISTICS = "statistics"


def offered(extensions: Iterable[str], *, statistics: bool) -> list[str]:
    """Return which of a server's extensions clients of the gateway may use as well."""
    refused = _REFUSED if statistics else _REFUSED | {_STATISTICS}
    return [each for each in extensions if each not in refused]
