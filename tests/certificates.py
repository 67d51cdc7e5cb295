"""A certificate authority for one test: keys and certificates as files, the way a configuration names them.

    authority = make_authority(tmp_path)
    certificate, key = authority.issue("mx.example.test")

EC P-256, because an RSA key takes longer to make than most tests take to run.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Backdated, so that a clock which is set back a little while a test runs does not make them "not yet valid".
BACKDATED = timedelta(hours=1)


class Authority:
    """What `make_authority` returns. `ca_file` is the PEM file that a client trusts; the key stays in memory."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issued = 0
        now = datetime.now(UTC)
        subject = _name(name)
        self._certificate = (
            _unsigned(subject, subject, self._key.public_key(), self._key.public_key())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(certificates=True), critical=True)
            .sign(self._key, SHA256())
        )
        self.ca_file = _write(directory / "ca.pem", self._certificate.public_bytes(Encoding.PEM))

    def issue(self, name: str, *, days: float = 1, expired: bool = False) -> tuple[Path, Path]:
        """(certificate, key): new files each time, mode 0600, for a server or a client.

        It names `name`, localhost and 127.0.0.1 (RFC 5280 §4.2.1.6) and is valid for `days`; an expired one was, until
        a minute ago.
        """
        self._issued += 1
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        until = now - timedelta(minutes=1) if expired else now + timedelta(days=days)
        names = [x509.DNSName(each) for each in dict.fromkeys([name, "localhost"])]
        certificate = (
            _unsigned(_name(name), self._certificate.subject, key.public_key(), self._key.public_key())
            .not_valid_before(until - timedelta(days=days) - BACKDATED)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([*names, x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
            )
            .sign(self._key, SHA256())
        )
        stem = f"{name.replace('*', 'any')}-{self._issued}"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return (
            _write(self._directory / f"{stem}.pem", certificate.public_bytes(Encoding.PEM)),
            _write(self._directory / f"{stem}.key", secret),
        )


def make_authority(directory: Path, name: str = "izinli test authority") -> Authority:
    """A new authority whose files stand in `directory` (made when it is missing; one authority each)."""
    directory.mkdir(parents=True, exist_ok=True)
    return Authority(directory, name)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, issuer_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    """Both key identifiers are there because OpenSSL's strict mode, Python's default since 3.13, asks for them."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    """An authority signs certificates, everybody else handshakes."""
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return path
