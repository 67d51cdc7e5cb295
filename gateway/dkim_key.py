"""`izinli dkim-key`: a private key to sign with, and the DNS record that lets everybody verify."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from filters.dkim import RSA_BITS_GOOD, Signer

TXT_OCTETS_MAX: Final = 255
"""Octets of one character-string of a TXT record (RFC 1035 §3.3); verifiers join them (RFC 6376 §3.6.2.2)."""


def create(path: Path, domain: str, selector: str, kind: Literal["rsa", "ed25519"]) -> Signer:
    """Write a new key to `path`, for its owner alone. Raises KeyUnusable, FileExistsError and other OSErrors."""
    if kind == "rsa":
        private = generate_private_key(public_exponent=65537, key_size=RSA_BITS_GOOD)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    else:
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    signer = Signer(pem, domain, selector)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink()  # half a key would keep the next attempt from writing a whole one
        raise
    return signer


def zone_line(signer: Signer) -> str:
    """The record as a zone file has it: full name with its dot, the text in strings of at most 255 octets."""
    text = " ".join(f'"{part}"' for part in strings(signer.record))
    return f"{signer.record_name}. IN TXT ( {text} )"


def strings(text: str) -> Iterator[str]:
    """A TXT record's text in the strings it is published in."""
    for at in range(0, len(text), TXT_OCTETS_MAX):
        yield text[at : at + TXT_OCTETS_MAX]
