"""Promise I3 for fingerprints: different questions have different ones, whatever was asked before."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from filters.key import FINGERPRINT_BYTES, MEMBER_MASK, Fingerprinter, split
from filters.model import Channel

STEADY = settings(derandomize=True, deadline=None, max_examples=100)
KEYS = st.integers(0, 1 << 16).map(lambda number: sha256(b"%d" % number).digest())
BRANDS = st.one_of(st.integers(0, 20), st.integers(0, 2**31 - 1))
# Recipients that end and begin like brands and channels do, so that a missing separator would show.
RECIPIENTS = st.lists(
    st.sampled_from([b"0", b"1", b"\0", b"MESAJ", b"ARAMA", b"+905550000001", b"a@"]), max_size=4
).map(b"".join)
QUESTIONS = st.tuples(BRANDS, st.sampled_from(Channel), RECIPIENTS)


@STEADY
@given(KEYS, st.lists(QUESTIONS, max_size=12))
def test_i3_equal_questions_and_only_they_have_equal_fingerprints(
    key: bytes, questions: list[tuple[int, Channel, bytes]]
) -> None:
    fingerprint = Fingerprinter(key)
    answers = {question: fingerprint(*question) for question in questions}
    assert len(set(answers.values())) == len(answers)
    for question, answer in answers.items():
        assert fingerprint(*question) == Fingerprinter(key)(*question) == answer


@STEADY
@given(KEYS, KEYS, QUESTIONS)
def test_i9_a_fingerprint_says_nothing_without_its_key(
    key: bytes, other: bytes, question: tuple[int, Channel, bytes]
) -> None:
    same = Fingerprinter(key)(*question) == Fingerprinter(other)(*question)
    assert same == (key == other) == (Fingerprinter(key).check_value() == Fingerprinter(other).check_value())


@STEADY
@given(st.binary(min_size=FINGERPRINT_BYTES, max_size=FINGERPRINT_BYTES))
def test_the_halves_lose_one_bit_and_no_more(fingerprint: bytes) -> None:
    bucket, member = split(fingerprint)
    assert 0 <= member <= MEMBER_MASK
    whole = bucket.to_bytes(4, "big") + member.to_bytes(8, "big")
    assert whole == fingerprint[:4] + bytes((fingerprint[4] & 0x7F,)) + fingerprint[5:]
