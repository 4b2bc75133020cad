"""The environment variables of Tollbook, in one list, and a word about those that nothing reads.

A mistyped variable has no effect, so somebody must say so. The list is of the whole project, the
server's settings and the tests' among them: one machine may have what belongs to several programs,
and only what none of them reads is worth a word. tests/architecture/test_variables.py holds the
list to the sources and to the documents, in both directions.
"""

import re
from collections.abc import Iterator, Mapping

PREFIX = "TOLLBOOK_"

_SHELL = {"TRACEBACK"}
_CLIENT = {"URL", "KEY"}
_LEDGER = {
    *("DATA", "DATABASE", "DATABASE_FILE", "MASTER_KEY_FILE", "SERVER_USER"),
    *("SIGNING_EPOCH", "SIGNING_EPOCH_OLDEST"),
}
_SERVER = {
    *("LOG_LEVEL", "RATE_REQUESTS", "RATE_COMMANDS", "RATE_REFUSED"),
    *("RATE_CUSTOMER_REQUESTS", "RATE_CUSTOMER_COMMANDS"),
    *("BODY_BYTES", "BODY_SECONDS", "HEADER_BYTES", "HEADER_SECONDS", "IDLE_SECONDS"),
    *("REQUESTS_AT_ONCE", "CONNECTIONS", "STOP_SECONDS", "TRUSTED_PROXIES"),
}
_FRAUD = {
    *("FRAUD_SCORING", "SECURITY_WEBHOOK_URL"),
    *("SECURITY_WEBHOOK_SECRET", "SECURITY_WEBHOOK_SECRET_FILE"),
}
_PARTS = {
    *("KAFKA", "KAFKA_TLS", "KAFKA_CA_FILE", "KAFKA_CERTIFICATE_FILE", "KAFKA_KEY_FILE"),
    *("KAFKA_USERNAME", "KAFKA_PASSWORD", "KAFKA_PASSWORD_FILE", "KAFKA_MECHANISM"),
    *("REDIS", "KAFKA_HOME", "REDIS_HOME", "TRITON_HOME", "MODEL_LOG"),
}
_COMPOSE = {"USER"}
_TESTS = {
    *("REQUIRE", "EXAMPLES", "SEED", "FAULT_SECONDS"),
    *("TEST_DATABASE", "TEST_FOLDER"),
}

KNOWN = frozenset(
    PREFIX + name
    for group in (_SHELL, _CLIENT, _LEDGER, _SERVER, _FRAUD, _PARTS, _COMPOSE, _TESTS)
    for name in group
)
"""Every variable that something of ours reads."""

# A pod is told of each service beside it; one that is called `tollbook` is no mistake.
_OF_A_SERVICE = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT(_[0-9]+_|$)")


def unread(environment: Mapping[str, str]) -> list[str]:
    """Return the names that look like ours and that nothing reads, in order."""
    pod = "KUBERNETES_SERVICE_HOST" in environment
    return sorted(
        name
        for name in environment
        if name.startswith(PREFIX)
        and name not in KNOWN
        and not (pod and _OF_A_SERVICE.search(name))
    )


def warnings(environment: Mapping[str, str]) -> Iterator[str]:
    """Say of each name that nothing reads which one was meant, maybe; its value is never shown."""
    for name in unread(environment):
        from difflib import get_close_matches  # seldom needed, and a command is to start quickly

        # All begin alike, so only what comes after that says how near two of them are.
        known = sorted(each.removeprefix(PREFIX) for each in KNOWN)
        near = get_close_matches(name.removeprefix(PREFIX), known, n=1)
        meant = f" (did you mean {PREFIX}{near[0]}?)" if near else ""
        yield f"the environment variable {name} has no effect: nothing reads it{meant}"
