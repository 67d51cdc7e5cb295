"""Golden vectors: fingerprints and tokens that stand in indexes, journals and messages which are already out.

A change that alters one of them silently empties every index and breaks every reject link of three years. So nobody
regenerates these values: who needs other ones raises the format (`filters.layout.FORMAT`, the 1 in `izinli link 1`)
and migrates.
Each construction is written a second time here, from its description, with no code of ours.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from filters.address import canonical_email, canonical_msisdn
from filters.key import Fingerprinter, split
from filters.link import LinkMinter, Reject
from filters.model import Channel, RecipientType

ARAMA, MESAJ, EPOSTA = Channel
BIREYSEL, TACIR = RecipientType
INDEX_KEY = bytes(range(32))
LINK_KEYS = {0: bytes(range(32)), 5: bytes(range(32, 64))}
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Vector(NamedTuple):
    brand: int
    channel: Channel
    spelling: bytes
    canonical: bytes
    fingerprint: str


class Token(NamedTuple):
    key_id: int
    brand: int
    channel: Channel
    recipient_type: RecipientType
    recipient: bytes
    token: bytes


VECTORS = [
    Vector(100001, MESAJ, b"0555 000 00 01", b"+905550000001", "d1396f1edbcd116dbe0faeea"),
    Vector(100001, ARAMA, b"+905550000001", b"+905550000001", "d1a93ae14790fd5abc332b65"),
    Vector(100001, EPOSTA, b"Ada@Example.test", b"ada@example.test", "5fb29f4c4218eceac4ccc472"),
    Vector(100002, EPOSTA, b"ada@example.test", b"ada@example.test", "1292750ae1e6e7d1af1a9b9e"),
    Vector(700100, ARAMA, b"0212 000 00 01", b"+902120000001", "93d32049911ef87c09c726c8"),
    Vector(2147483647, MESAJ, b"+4915550000001", b"+4915550000001", "79dac7f5eacb9de5ae761adb"),
    Vector(1, EPOSTA, b"i@x.test", b"i@x.test", "d367021166c7c752fb9d1384"),
    Vector(1, EPOSTA, b"ayse@\xc3\xb6rnek.test", b"ayse@xn--rnek-4qa.test", "e47515e6b9a31df0e0f17684"),
]
TOKENS = [
    Token(0, 100001, MESAJ, BIREYSEL, b"+905550000001", b"3E6v4dMGPK2eIY2htD"),
    Token(5, 100001, MESAJ, TACIR, b"+905550000001", b"bYJQGDrgkuJikMks8U"),
    Token(5, 100001, ARAMA, BIREYSEL, b"+905550000001", b"aK8CqSIvCa504FoGEU"),
    Token(0, 100001, ARAMA, TACIR, b"+905550000001", b"3lk3PAm5vnIMng0SmE"),
    Token(0, 100001, EPOSTA, BIREYSEL, b"ada@example.test", b"0LoeudvthV8hnOWB9Y3NJU4-uM-r8Pv5DXtM5kVOP30ENgSLS"),
    Token(5, 100001, EPOSTA, TACIR, b"ada@example.test", b"5cMc_uRKMg2oAo6FijlK1mJKdka0D5KlZScq-_lfQnV-mPgnm"),
    Token(5, 100002, EPOSTA, BIREYSEL, b"ada@example.test", b"5292Th-qHNlDJg5YrVwhfJ3SbjtRS6wPPUPQitirwapIsvHl7"),
    Token(0, 100002, EPOSTA, TACIR, b"ada@example.test", b"01XR4Yi4DfbSrGKIiz-GcMOiOutCvikcy8nuTYznLS0Zh1NyX"),
    Token(0, 700100, ARAMA, BIREYSEL, b"+902120000001", b"0NBLzQPx31KG95X0gnxSK9q"),
    Token(5, 700100, ARAMA, TACIR, b"+902120000001", b"By3cWNqFRr7CwuQZe6BjuZc"),
    Token(5, 2147483647, MESAJ, BIREYSEL, b"+4915550000001", b"ArYaSm87vpoJ6Kx3JHPJr0j"),
    Token(0, 2147483647, MESAJ, TACIR, b"+4915550000001", b"05Ckx325BVJK9W23LvmwUTt"),
    Token(0, 1, EPOSTA, BIREYSEL, b"i@x.test", b"0z0T4lSaZpvrERifuzgfzzgxZM1b6N38HfcAO_A"),
    Token(5, 1, EPOSTA, TACIR, b"i@x.test", b"51jbZa6kbC3L9v1e8LXthN0dwgNOOdC_rETEwpA"),
    Token(
        5, 1, EPOSTA, BIREYSEL, b"ayse@xn--rnek-4qa.test", b"5RYrsk0fLicqVF8t-fR14q28EyQhmv5sAXpbSYVwyw_Rv3nub4v5GZZmx"
    ),
    Token(0, 1, EPOSTA, TACIR, b"ayse@xn--rnek-4qa.test", b"0yFyfPQ2QP17mvN-tVW_hh6jMF565CFOa2VlYBiun9Jdrvcgvo9b4_9aM"),
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.fingerprint)
def test_i3_fingerprints_stay_what_they_are(vector: Vector) -> None:
    canonical = canonical_email if vector.channel is EPOSTA else canonical_msisdn
    assert canonical(vector.spelling) == vector.canonical
    assert Fingerprinter(INDEX_KEY)(vector.brand, vector.channel, vector.canonical).hex() == vector.fingerprint


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.fingerprint)
def test_a_fingerprint_is_what_its_description_says(vector: Vector) -> None:
    text = b"%d\x00%s\x00%s" % (vector.brand, str(vector.channel).encode(), vector.canonical)
    assert hashlib.blake2b(text, key=INDEX_KEY, digest_size=12).hexdigest() == vector.fingerprint


def test_the_key_check_and_the_halves_stay_what_they_are() -> None:
    assert Fingerprinter(INDEX_KEY).check_value().hex() == "87f5ede8e3e82cb8"
    assert split(bytes.fromhex("d1396f1edbcd116dbe0faeea")) == (3510202142, 6614962590714932970)
    assert split(bytes.fromhex("5fb29f4c4218eceac4ccc472")) == (1605541708, 4762817099012555890)


@pytest.mark.parametrize("vector", TOKENS, ids=lambda vector: vector.token.decode())
def test_i3_tokens_stay_what_they_are(vector: Token) -> None:
    key_id, brand, channel, recipient_type, recipient, token = vector
    minter = LinkMinter(LINK_KEYS, key_id)
    assert minter.mint(brand, channel, recipient_type, recipient) == token
    assert minter.read(token) == Reject(brand, channel, recipient_type, recipient)


@pytest.mark.parametrize("vector", TOKENS, ids=lambda vector: vector.token.decode())
def test_a_token_is_what_its_description_says(vector: Token) -> None:
    master = LINK_KEYS[vector.key_id]
    who = f"{vector.brand:031b}{vector.recipient_type is TACIR:b}"
    if vector.channel is EPOSTA:
        sealed = AESSIV(derived(master, b"mail")).encrypt(int(who, 2).to_bytes(4, "big") + vector.recipient, None)
        expected = str(vector.key_id) + base64.urlsafe_b64encode(sealed).decode().rstrip("=")
    else:
        who += {ARAMA: "00", MESAJ: "01"}[vector.channel]
        if len(vector.recipient) == 13 and vector.recipient.startswith(b"+905"):
            expected = sealed_number(master, b"mobile", vector.key_id, f"{who}{int(vector.recipient[4:]):030b}", 40, 18)
        else:
            expected = sealed_number(master, b"number", vector.key_id, f"{who}{int(vector.recipient[1:]):050b}", 48, 23)
    assert expected == vector.token.decode()


def sealed_number(master: bytes, kind: bytes, key_id: int, payload: str, tag_bits: int, length: int) -> str:
    """key id ‖ tag ‖ payload xor stream, in base62; tag = AES(K1, payload), stream = AES(K2, tag).

    `payload` in binary digits.
    """
    tag = bits(block(derived(master, kind + b" tag")[:16], payload))[:tag_bits]
    stream = bits(block(derived(master, kind + b" stream")[:16], tag))[-len(payload) :]
    ciphertext = "".join("1" if a != b else "0" for a, b in zip(payload, stream, strict=True))
    value, text = int(f"{key_id:03b}{tag}{ciphertext}", 2), ""
    while len(text) < length:
        value, digit = divmod(value, 62)
        text = BASE62[digit] + text
    assert value == 0
    return text


def derived(master: bytes, info: bytes) -> bytes:
    """HKDF-Expand with SHA-256 (RFC 5869 §2.3), the first block; shorter keys are its beginning."""
    return hmac.digest(master, b"izinli link 1 " + info + b"\x01", "sha256")


def block(key: bytes, binary: str) -> bytes:
    """One AES-128 block of a number given in binary digits."""
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(int(binary, 2).to_bytes(16, "big"))


def bits(octets: bytes) -> str:
    return "".join(f"{octet:08b}" for octet in octets)
