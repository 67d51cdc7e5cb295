"""The walk of a submit_sm against smpplib and smpp.pdu3: whoever reads it finds the same addresses and the same text.

Where one refuses what the other reads, the reason is one of these:

* smpplib refuses nothing but TLVs: it reads on behind the end, and knows no longest field. TLVs of fixed size it reads
  by a table of its own, whatever length they say, and raises where that leads behind the end, or to one not expected.
* smpp.pdu3 refuses values that no table of the specification has (a TON of 9, a time that is none). Where they stand is
  not in question, and what they mean is the SMSC's to say.
"""

from __future__ import annotations

import random
import struct
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from smpp.pdu.error import PDUParseError

from tests.gateway.smpp.support import SUBMIT, pdu
from tests.properties.smpp_readers import SIZES, broken, corpus, ours, pdu3s, smpplibs, well_formed

SEED, COUNT = 20261125, 3000


def beside_smpplib(whole: bytes) -> str:
    """They agree, or differ for the reason that is returned."""
    mine, other = ours(whole), smpplibs(whole)
    if isinstance(mine, int):
        return "it is refused here alone" if not isinstance(other, Exception) else ""
    reading, tlvs = mine
    if isinstance(other, Exception):
        assert isinstance(other, struct.error | KeyError), other
        assert tlvs is None or isinstance(other, KeyError) or any(tag in SIZES for tag, _ in tlvs), other
        return "its TLVs"
    assert other == reading
    return "" if tlvs is not None else "TLVs that do not end with it are refused here alone"


def beside_pdu3(whole: bytes) -> str:
    mine, other = ours(whole), pdu3s(whole)
    if isinstance(mine, int) or mine[1] is None:
        assert isinstance(other, Exception), "what is refused here is read there"
        return ""
    if isinstance(other, Exception):
        assert isinstance(other, PDUParseError), other  # where fields do not fit it raises PDUCorruptError
        return "a value"
    assert other == mine[0]
    return ""


@given(st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=300, deadline=None)
def test_i3_whoever_reads_it_finds_the_same(chance: random.Random, in_order: bool) -> None:
    body = well_formed(chance)
    whole = pdu(SUBMIT, 7, body if in_order else broken(chance, body))
    beside_smpplib(whole)
    beside_pdu3(whole)


@given(st.binary(max_size=120))
def test_i3_of_anything_at_all(body: bytes) -> None:
    beside_smpplib(pdu(SUBMIT, 7, body))
    beside_pdu3(pdu(SUBMIT, 7, body))


def test_i3_the_same_three_thousand_each_time() -> None:
    """Each difference that is named above is there to be seen; what is in order all read alike."""
    seen: Counter[str] = Counter()
    for n, whole in enumerate(corpus(SEED, COUNT)):
        of_smpplib, of_pdu3 = beside_smpplib(whole), beside_pdu3(whole)
        if n % 3 == 0:
            assert (of_smpplib, of_pdu3) == ("", "")
        seen.update((of_smpplib, of_pdu3))
    assert set(seen) == {
        "",
        "it is refused here alone",
        "its TLVs",
        "TLVs that do not end with it are refused here alone",
        "a value",
    }
