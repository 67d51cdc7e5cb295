"""Hashes of passwords, and their checking in threads."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections import Counter

import pytest

from filters.passwords import MEMORY_OCTETS_MAX
from gateway import limits
from gateway.passwords import Answer, Checker, Hash, Stored, make
from tests.conftest import eventually_async


def test_a_hash_is_of_its_password_alone() -> None:
    hashed = make("parola çok uzun".encode())
    assert hashed.matches("parola çok uzun".encode())
    assert not hashed.matches(b"parola")
    assert Hash.parse(str(hashed)) == hashed
    assert str(hashed).startswith("scrypt$14$8$1$")
    assert make(b"x") != make(b"x"), "salted"


def test_the_vector_of_rfc_7914() -> None:
    """§12: password "pleaseletmein", salt "SodiumChloride", N 16384, r 8, p 1."""
    digest = bytes.fromhex(
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
    )
    line = f"scrypt$14$8$1${b64encode(b'SodiumChloride').decode()}${b64encode(digest).decode()}"
    assert Hash.parse(line).matches(b"pleaseletmein")


SALT, DIGEST = b64encode(bytes(16)).decode(), b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "parola",
        f"bcrypt$14$8$1${SALT}${DIGEST}",
        f"scrypt$14$8$1${SALT}",
        f"scrypt$14$8$1${SALT}${DIGEST}$",
        f"scrypt$9$8$1${SALT}${DIGEST}",
        f"scrypt$20$32$1${SALT}${DIGEST}",
        f"scrypt$14$0$1${SALT}${DIGEST}",
        f"scrypt$14$8$99${SALT}${DIGEST}",
        f"scrypt$-4$8$1${SALT}${DIGEST}",
        f"scrypt$١٤$8$1${SALT}${DIGEST}",
        f"scrypt$14$8$1$!${DIGEST}",
        f"scrypt$14$8$1$${DIGEST}",
        f"scrypt$14$8$1${SALT}$AAAA",
    ],
)
def test_what_is_no_hash(line: str) -> None:
    with pytest.raises(ValueError, match=r"scrypt|numbers|memory|base64|length"):
        Hash.parse(line)


def test_the_dearest_hash_that_is_taken_can_be_computed() -> None:
    dearest = Hash.parse(f"scrypt$16$15$1${SALT}${DIGEST}")
    assert 128 * dearest.r * (1 << dearest.ln) <= MEMORY_OCTETS_MAX
    assert not dearest.matches(b"x")


async def test_right_wrong_and_unknown() -> None:
    checker, answers = Checker(), list[Answer]()
    hashed, plain = Stored(hashed=make(b"one")), Stored(plain=b"two")
    cases = [(hashed, b"one"), (hashed, b"two"), (plain, b"two"), (plain, b"one"), (None, b"one"), (Stored(), b"")]
    for stored, password in cases:
        checker.check(stored, password, answers.append)
    await eventually_async(lambda: len(answers) == len(cases), within=90)
    assert Counter(answers) == {Answer.RIGHT: 2, Answer.WRONG: 4}
    checker.close()


async def test_everybody_costs_one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown name, a plain password and a hash cannot be told apart by the time they take."""
    costs: list[tuple[int, int, int]] = []
    real = hashlib.scrypt

    def counted(password: bytes, *, n: int, r: int, p: int, **rest: object) -> bytes:
        costs.append((n, r, p))
        return real(password, n=n, r=r, p=p, **rest)  # type: ignore[arg-type]

    hashed = Stored(hashed=make(b"one"))
    monkeypatch.setattr(hashlib, "scrypt", counted)
    checker, answers = Checker(), list[Answer]()
    for stored in (hashed, Stored(plain=b"one"), None):
        checker.check(stored, b"one", answers.append)
    await eventually_async(lambda: len(answers) == 3, within=90)
    assert costs == [(16384, 8, 1)] * 3
    checker.close()


async def test_i7_no_more_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUTH_WAITING_MAX", 1)
    checker, answers = Checker(), list[Answer]()
    for _ in range(limits.AUTH_THREADS + 3):
        checker.check(None, b"x", answers.append)
    assert answers == [Answer.BUSY] * 2
    await eventually_async(lambda: len(answers) == limits.AUTH_THREADS + 3, within=90)
    checker.check(None, b"x", answers.append)
    await eventually_async(lambda: answers[-1] is Answer.WRONG, within=90)
    checker.close()


async def test_after_closing_nobody_is_told() -> None:
    checker, answers = Checker(), list[Answer]()
    for _ in range(limits.AUTH_THREADS + 5):
        checker.check(None, b"x", answers.append)
    checker.close()
    checker.close()
    assert answers == []
