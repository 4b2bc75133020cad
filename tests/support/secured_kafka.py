"""A Kafka that lets in only who shows a certificate and knows a password, made for one test.

It has a listener with TLS, client certificates and SCRAM or PLAIN beside the plain one, over which
nobody but the test's own set-up and the broker itself go.
"""

import datetime as dt
import ipaddress
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from adapters.child_servers.ports import LOOPBACK, free_ports
from adapters.kafka.command import Ports, java
from adapters.kafka.server import KafkaServer
from tests.support.kafka import installed

USER, PASSWORD = "tollbook", "opens-sesame-42"
_DAY = dt.timedelta(days=1)


class Made(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self, passphrase: bytes | None = None) -> tuple[bytes, bytes]:
        """Return both as they are written to files; with a passphrase, the key is locked."""
        lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            lock = serialization.BestAvailableEncryption(passphrase)
        key = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            lock,
        )
        return self.certificate.public_bytes(serialization.Encoding.PEM), key


def made(name: str, issuer: Made | None = None) -> Made:
    """Make an authority, or what an authority vouches for: a server or a client at loopback."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    by = subject if issuer is None else issuer.certificate.subject
    builder = (
        x509.CertificateBuilder(by, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))])
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(names, critical=False).add_extension(
            x509.ExtendedKeyUsage(uses), critical=False
        )
    signer = key if issuer is None else issuer.key
    return Made(builder.sign(signer, hashes.SHA256()), key)


class Secured(NamedTuple):
    """A server, and what opens it."""

    server: KafkaServer
    address: str
    """Where it asks for a certificate and a password; the server's own address asks for nothing."""
    environment: Mapping[str, str]
    """The settings with which it lets one in."""


@contextmanager
def a_secured_kafka(folder: Path) -> Iterator[Secured]:
    """Run a server of the test's own."""
    ports = free_ports(3)
    files = _files(folder)
    server = KafkaServer(folder / "kafka", more=_settings(ports, files), installation=installed())
    server._ports = Ports(*ports[:2])
    try:
        server.start()
        _let_in(server)
        environment = {
            "TOLLBOOK_KAFKA_TLS": "on",
            "TOLLBOOK_KAFKA_CA_FILE": str(files["authority"]),
            "TOLLBOOK_KAFKA_CERTIFICATE_FILE": str(files["client"]),
            "TOLLBOOK_KAFKA_KEY_FILE": str(files["client-key"]),
            "TOLLBOOK_KAFKA_USERNAME": USER,
            "TOLLBOOK_KAFKA_PASSWORD_FILE": str(files["password"]),
        }
        yield Secured(server, f"{LOOPBACK}:{ports[2]}", environment)
    finally:
        server.kill()


def _files(folder: Path) -> dict[str, Path]:
    """Write certificates, keys and the password down; return their files."""
    authority = made("an authority of tests")
    server, client = made("a broker", authority), made("a client", authority)
    written = {
        "authority": authority.pem()[0],
        "server": b"".join(reversed(server.pem())),
        "client": client.pem()[0],
        "client-key": client.pem()[1],
        "password": f"{PASSWORD}\n".encode(),
    }
    for name, content in written.items():
        path = folder / f"{name}.pem"
        path.touch(0o600)
        path.write_bytes(content)
    return {name: folder / f"{name}.pem" for name in written}


def _settings(ports: Sequence[int], files: Mapping[str, Path]) -> dict[str, str | int]:
    """Return the broker's settings beyond those that every test's has."""
    clients, controller, secure = (f"{LOOPBACK}:{port}" for port in ports)
    told = f"PLAINTEXT://{clients},SECURE://{secure}"
    login = 'org.apache.kafka.common.security.{} required username="{}" password="{}" user_{}="{}";'
    plain = login.format("plain.PlainLoginModule", USER, PASSWORD, USER, PASSWORD)
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL"
    here = "listener.name.secure"
    return {
        "listeners": f"{told},CONTROLLER://{controller}",
        "advertised.listeners": told,
        "listener.security.protocol.map": protocols,
        f"{here}.ssl.keystore.type": "PEM",
        f"{here}.ssl.keystore.location": str(files["server"]),
        f"{here}.ssl.truststore.type": "PEM",
        f"{here}.ssl.truststore.location": str(files["authority"]),
        f"{here}.ssl.client.auth": "required",
        f"{here}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        f"{here}.plain.sasl.jaas.config": plain,
        f"{here}.scram-sha-256.sasl.jaas.config": scram,
        f"{here}.scram-sha-512.sasl.jaas.config": scram,
    }


def _let_in(server: KafkaServer) -> None:
    """Have the broker know the user by SCRAM, as an administrator does."""
    told = ("--bootstrap-server", server.address, "--entity-type", "users", "--entity-name", USER)
    for bits in (256, 512):  # it takes one at a time
        way = f"SCRAM-SHA-{bits}=[password={PASSWORD}]"
        arguments = (*told, "--alter", "--add-config", way)
        command = java(installed(), server.folder, "kafka.admin.ConfigCommand", *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
