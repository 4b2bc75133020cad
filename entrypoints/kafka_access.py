"""Settings of the access to Kafka: TLS and a login, from the environment and from files alone.

Nothing of it is an option of a command, where every user of the machine could read it.
"""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from tollbook.errors import Invalid, Unavailable

from adapters.kafka.access import MECHANISMS, PLAIN_TEXT, Access

TLS, MECHANISM = "TOLLBOOK_KAFKA_TLS", "TOLLBOOK_KAFKA_MECHANISM"
AUTHORITIES = "TOLLBOOK_KAFKA_CA_FILE"
CERTIFICATE, KEY = "TOLLBOOK_KAFKA_CERTIFICATE_FILE", "TOLLBOOK_KAFKA_KEY_FILE"
USERNAME = "TOLLBOOK_KAFKA_USERNAME"
PASSWORD, PASSWORD_FILE = "TOLLBOOK_KAFKA_PASSWORD", "TOLLBOOK_KAFKA_PASSWORD_FILE"


def kafka_access(environment: Mapping[str, str] = os.environ) -> Access:
    """Return how Kafka is reached; raises Invalid where that would be less safe than it looks.

    `TOLLBOOK_KAFKA_TLS=on` asks for TLS, and everything else here does nothing without it.
    """
    chosen = environment.get(TLS) or "off"
    if chosen not in ("on", "off"):
        raise Invalid.because(TLS, chosen, "on or off")
    if chosen == "off":
        for name in (AUTHORITIES, CERTIFICATE, KEY, USERNAME, PASSWORD, PASSWORD_FILE, MECHANISM):
            if environment.get(name):
                raise Invalid.because(name, None, f"given with {TLS}=on alone")
        return PLAIN_TEXT
    username = environment.get(USERNAME)
    mechanism = environment.get(MECHANISM) or MECHANISMS[-1]
    if mechanism not in MECHANISMS:
        raise Invalid.because(MECHANISM, mechanism, f"one of {', '.join(MECHANISMS)}")
    password = _password(environment)
    if (username is None or not username) != (password is None):
        raise Invalid.because(USERNAME, username, "given with a password, and only with one")
    return Access(_context(environment), username or None, password or "", mechanism)


def _password(environment: Mapping[str, str]) -> str | None:
    password, file = environment.get(PASSWORD), environment.get(PASSWORD_FILE)
    if password and file:
        raise Invalid.because(PASSWORD, None, f"given, here or in {PASSWORD_FILE}, and not twice")
    if file:
        try:
            password = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"{PASSWORD_FILE} cannot be read: {error}") from None
        if not password:
            raise Invalid.because(PASSWORD_FILE, file, "a file with a password")
    return password or None


def _context(environment: Mapping[str, str]) -> ssl.SSLContext:
    """Return what checks the brokers' certificates and their names, and shows ours."""
    authorities = environment.get(AUTHORITIES) or None
    certificate, key = environment.get(CERTIFICATE), environment.get(KEY)
    if bool(certificate) != bool(key):
        raise Invalid.because(CERTIFICATE, certificate, f"given with {KEY}, and only with it")
    try:
        context = ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"{AUTHORITIES} cannot be used: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        try:
            # Without a word of it, a key that is locked would ask whoever sits at the terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(f"{CERTIFICATE} or {KEY} cannot be used: {error}") from None
    return context
