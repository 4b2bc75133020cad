"""Access: whether Kafka is reached through TLS, and as whom; the same for every connection."""

import ssl
from dataclasses import dataclass, field
from typing import Any

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class Access:
    """How brokers are reached; without TLS, by nobody in particular."""

    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str = field(default="", repr=False)
    mechanism: str = MECHANISMS[-1]

    def __post_init__(self) -> None:
        """Keep a password off a connection that anybody may read."""
        assert self.tls is not None or self.username is None

    def options(self) -> dict[str, Any]:
        """Return what aiokafka's clients are told, each of them alike."""
        if self.tls is None:
            return {}
        if self.username is None:
            return {"security_protocol": "SSL", "ssl_context": self.tls}
        return {
            "security_protocol": "SASL_SSL",
            "ssl_context": self.tls,
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
        }


PLAIN_TEXT = Access()
