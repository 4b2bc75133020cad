"""How Kafka is reached: by settings that are whole and safe, or not at all, and never shown."""

import ssl
from pathlib import Path

import pytest
from faust.auth import SASLCredentials, SSLCredentials
from tollbook.errors import Invalid, TollbookError, Unavailable

from adapters.kafka.access import MECHANISMS, PLAIN_TEXT
from entrypoints.kafka_access import kafka_access
from streams.worker import Source, credentials
from tests.support.secured_kafka import made

TLS = {"TOLLBOOK_KAFKA_TLS": "on"}
LOGIN = {**TLS, "TOLLBOOK_KAFKA_USERNAME": "ada", "TOLLBOOK_KAFKA_PASSWORD": "lovelace"}


def test_without_a_word_connections_are_plain_text() -> None:
    for environment in ({}, {"TOLLBOOK_KAFKA_TLS": ""}, {"TOLLBOOK_KAFKA_TLS": "off"}):
        assert kafka_access(environment) == PLAIN_TEXT
    assert PLAIN_TEXT.options() == {}
    assert credentials({}) is None


def test_tls_checks_the_brokers_certificate_and_its_name() -> None:
    options = kafka_access(TLS).options()
    context = options.pop("ssl_context")
    assert options == {"security_protocol": "SSL"}
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    found = credentials({**options, "ssl_context": context})
    assert isinstance(found, SSLCredentials)
    assert found.context is context


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_login_is_told_alike_to_both_libraries(mechanism: str) -> None:
    options = kafka_access({**LOGIN, "TOLLBOOK_KAFKA_MECHANISM": mechanism}).options()
    assert (options["security_protocol"], options["sasl_mechanism"]) == ("SASL_SSL", mechanism)
    found = credentials(options)
    assert isinstance(found, SASLCredentials)
    assert found.protocol.value == "SASL_SSL"
    assert found.mechanism.value == mechanism
    assert (found.username, found.password) == ("ada", "lovelace")
    assert found.ssl_context is options["ssl_context"]


def test_the_password_is_read_from_a_file_and_shown_by_nothing(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("lovelace\n")
    named = {**TLS, "TOLLBOOK_KAFKA_USERNAME": "ada", "TOLLBOOK_KAFKA_PASSWORD_FILE": str(file)}
    access = kafka_access(named)
    assert access.options()["sasl_plain_password"] == "lovelace"
    assert access.options()["sasl_mechanism"] == "SCRAM-SHA-512"
    assert "lovelace" not in repr(access) + repr(Source("a:1", "t", options=access.options))
    assert "lovelace" not in repr(credentials(access.options()))


BAD: list[tuple[dict[str, str], str]] = [
    ({"TOLLBOOK_KAFKA_TLS": "yes"}, "TLS"),
    ({"TOLLBOOK_KAFKA_CA_FILE": "ca.pem"}, "CA_FILE"),
    ({"TOLLBOOK_KAFKA_USERNAME": "ada", "TOLLBOOK_KAFKA_PASSWORD": "lovelace"}, "USERNAME"),
    ({"TOLLBOOK_KAFKA_TLS": "off", "TOLLBOOK_KAFKA_PASSWORD": "lovelace"}, "PASSWORD"),
    ({**TLS, "TOLLBOOK_KAFKA_USERNAME": "ada"}, "USERNAME"),
    ({**TLS, "TOLLBOOK_KAFKA_PASSWORD": "lovelace"}, "USERNAME"),
    ({**LOGIN, "TOLLBOOK_KAFKA_PASSWORD_FILE": "password"}, "PASSWORD"),
    ({**LOGIN, "TOLLBOOK_KAFKA_MECHANISM": "GSSAPI"}, "MECHANISM"),
    ({**TLS, "TOLLBOOK_KAFKA_CERTIFICATE_FILE": "a.pem"}, "CERTIFICATE_FILE"),
    ({**TLS, "TOLLBOOK_KAFKA_KEY_FILE": "a.pem"}, "CERTIFICATE_FILE"),
]


@pytest.mark.parametrize(("environment", "field"), BAD)
def test_half_of_a_setting_and_a_password_without_tls_are_refused(
    environment: dict[str, str], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        kafka_access(environment)
    assert refused.value.facts["field"] == f"TOLLBOOK_KAFKA_{field}"
    assert "lovelace" not in str(refused.value.facts) + str(refused.value)


UNREADABLE = [
    {"TOLLBOOK_KAFKA_CA_FILE": "missing"},
    {"TOLLBOOK_KAFKA_CA_FILE": "nonsense"},
    {"TOLLBOOK_KAFKA_CERTIFICATE_FILE": "missing", "TOLLBOOK_KAFKA_KEY_FILE": "missing"},
    {"TOLLBOOK_KAFKA_CERTIFICATE_FILE": "certificate", "TOLLBOOK_KAFKA_KEY_FILE": "locked"},
    {"TOLLBOOK_KAFKA_USERNAME": "ada", "TOLLBOOK_KAFKA_PASSWORD_FILE": "missing"},
    {"TOLLBOOK_KAFKA_USERNAME": "ada", "TOLLBOOK_KAFKA_PASSWORD_FILE": "empty"},
]


@pytest.mark.parametrize("named", UNREADABLE)
def test_files_that_are_no_use_are_told_by_the_setting_that_names_them(
    named: dict[str, str], tmp_path: Path
) -> None:
    """A key under a passphrase is one of them: nobody is asked for it at a terminal."""
    one = made("one")
    (tmp_path / "certificate").write_bytes(one.pem()[0])
    (tmp_path / "locked").write_bytes(one.pem(b"a passphrase")[1])
    (tmp_path / "nonsense").write_text("no certificate")
    (tmp_path / "empty").write_text("\n")
    files = {
        name: str(tmp_path / value) if name.endswith("_FILE") else value
        for name, value in named.items()
    }
    with pytest.raises(TollbookError, match="TOLLBOOK_KAFKA_") as refused:
        kafka_access({**TLS, **files})
    assert isinstance(refused.value, Unavailable | Invalid)
