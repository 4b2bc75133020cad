"""File descriptors of a gateway: clients' connections take no more of them than it can spare."""

import logging
import resource
from dataclasses import replace

from entrypoints.gateway.config import GatewayConfig

logger = logging.getLogger("tollbook.gateway")

RESERVE = 500
"""For what is neither a client nor an inference: the ledger, the intent log, the servers, Redis and
Kafka, health and metrics, questions about models, and connections that are just being refused."""


def fitted(config: GatewayConfig) -> GatewayConfig:
    """Let this process open as many files as it needs; return a configuration that fits.

    Where the system allows fewer, there are fewer connections: the log says so.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = needed = config.connections + config.at_once + RESERVE
    if hard != resource.RLIM_INFINITY:
        allowed = min(needed, hard)
    if soft not in (resource.RLIM_INFINITY, hard) and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    connections = connections_within(allowed, config)
    if connections == config.connections:
        return config
    logger.warning(
        "only %d connections of clients at once, not %d: this process may open %d files (ulimit "
        "-Hn) and would need %d",
        connections,
        config.connections,
        hard,
        needed,
    )
    return replace(config, connections=connections)


def connections_within(files: int, config: GatewayConfig) -> int:
    """Return how many clients may connect where so many files may be open.

    An inference over HTTP has a connection to its server besides that of its client. Where there
    are few files, both get their share: an inference that runs has a client, as a rule.
    """
    free = files - RESERVE
    return max(1, min(config.connections, max(free - config.at_once, free // 2)))
