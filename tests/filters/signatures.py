"""Keys to sign with, made once a run, and dkimpy to verify: a reader of signatures that was not written here."""

from __future__ import annotations

from functools import cache

import dkim as dkimpy
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from filters.dkim import Signer

DOMAIN = "kampanya.example.com.tr"
T = 1_795_000_000


@cache
def rsa_pem(bits: int = 2048) -> bytes:
    return _pem(rsa.generate_private_key(65537, bits))


@cache
def ed25519_pem() -> bytes:
    return _pem(ed25519.Ed25519PrivateKey.generate())


@cache
def ec_pem() -> bytes:
    """A key that no DKIM signature can be made with."""
    return _pem(ec.generate_private_key(ec.SECP256R1()))


@cache
def signers() -> tuple[Signer, Signer]:
    """One of each kind; the same for all tests of a run."""
    return Signer(rsa_pem(), DOMAIN, "rsa-2026"), Signer(ed25519_pem(), DOMAIN, "ed-2026")


def verified(message: bytes, *by: Signer) -> list[bool]:
    """What dkimpy says of each signature, from the top; the records of `by` stand in DNS."""
    records = {signer.record_name.encode() + b".": signer.record.encode() for signer in by or signers()}
    reader = dkimpy.DKIM(message)
    count = sum(1 for name, _ in reader.headers if name.lower() == b"dkim-signature")
    return [reader.verify(idx=at, dnsfunc=lambda name, **_: records.get(name)) for at in range(count)]


def _pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
