"""The fingerprint: what goes into it, what cannot be told from it."""

from __future__ import annotations

from hashlib import blake2b
from itertools import product

import pytest

from filters.key import FINGERPRINT_BYTES, KEY_BYTES, MEMBER_MASK, Fingerprinter, split
from filters.model import Channel

KEY = bytes(range(KEY_BYTES))
ADA = b"ada@example.test"


def test_it_is_keyed_blake2b_of_brand_channel_and_recipient() -> None:
    """Written out, so that another program can compute it: decimal brand, NUL, channel, NUL, recipient."""
    for brand, channel in product((0, 1, 100001, 2**31 - 1), Channel):
        expected = blake2b(b"%d\0%b\0%b" % (brand, channel.encode(), ADA), key=KEY, digest_size=12).digest()
        assert Fingerprinter(KEY)(brand, channel, ADA) == expected


def test_i3_a_question_does_not_depend_on_those_asked_before() -> None:
    """One hash state serves a whole campaign; a recipient left in it would be part of the next one's fingerprint."""
    fingerprint = Fingerprinter(KEY)
    asked = [(brand, channel, b"%d@example.test" % n) for n in range(3) for brand in (1, 2) for channel in Channel]
    for question in asked + asked[::-1] + asked:
        assert fingerprint(*question) == Fingerprinter(KEY)(*question)


def test_i3_brand_channel_and_recipient_cannot_run_into_each_other() -> None:
    fingerprint = Fingerprinter(KEY)
    questions = [
        *((brand, Channel.MESAJ, recipient) for brand in (1, 11, 111) for recipient in (b"", b"1", b"11", b"\0")),
        *((1, channel, recipient) for channel in Channel for recipient in (b"+905550000001", b"J", b"A\0")),
    ]
    assert len({fingerprint(*question) for question in questions}) == len(questions)


def test_i9_another_key_gives_another_index() -> None:
    one, other = Fingerprinter(KEY), Fingerprinter(bytes(KEY_BYTES))
    assert one(1, Channel.EPOSTA, ADA) != other(1, Channel.EPOSTA, ADA)
    assert one.check_value() != other.check_value()


def test_the_check_value_names_the_key_and_not_the_brand() -> None:
    used = Fingerprinter(KEY)
    used(100001, Channel.EPOSTA, ADA)
    assert used.check_value() == Fingerprinter(KEY).check_value()
    assert len(used.check_value()) == 8


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"32 bytes, not {length}"):
        Fingerprinter(bytes(length))


@pytest.mark.parametrize(
    ("fingerprint", "halves"),
    [
        (bytes(12), (0, 0)),
        (b"\xff" * 12, (2**32 - 1, MEMBER_MASK)),
        (b"\x00\x00\x00\x01" + b"\x00" * 7 + b"\x02", (1, 2)),
        (b"\x80\x00\x00\x00" + b"\x80" + b"\x00" * 7, (1 << 31, 0)),  # the 64th bit is dropped: intsets are signed
        (b"\x00\x00\x00\x00" + b"\x40" + b"\x00" * 7, (0, 1 << 62)),
    ],
)
def test_the_two_halves_of_the_redis_layout(fingerprint: bytes, halves: tuple[int, int]) -> None:
    assert split(fingerprint) == halves


def test_members_fit_an_intset_and_buckets_spread() -> None:
    fingerprint = Fingerprinter(KEY)
    halves = [split(fingerprint(1, Channel.MESAJ, b"+90555%07d" % n)) for n in range(4096)]
    assert all(0 <= member < 1 << 63 for _, member in halves)
    assert len({member for _, member in halves}) == 4096
    buckets = [bucket >> 27 for bucket, _ in halves]
    assert all(64 < buckets.count(number) < 192 for number in range(32))  # 128 each is what is expected


def test_the_length() -> None:
    assert len(Fingerprinter(KEY)(1, Channel.MESAJ, b"+905550000001")) == FINGERPRINT_BYTES == 12
