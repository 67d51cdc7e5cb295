"""The walk of a submit_sm against tshark's dissector: the same places of addresses, text and TLVs, or a known reason.

tshark knows no longest field. Of what it calls well-formed, the walk refuses only what is longer than the specification
has it, or a time that has another length than a time; all else that one refuses, the other calls malformed. And tshark
reads a TLV of fixed size by its table, whatever length it says: behind such a one they are no longer at the same place.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.smpp.pdu import SubmitSm, walk_submit_sm, walk_tlvs
from tests.interop.smpp_wire import Dissection, dissect
from tests.properties.smpp_readers import SIZES, corpus, sized

pytestmark = pytest.mark.interop

COUNT = 2000
TIME = (1, 17)
LONGEST = {  # by what the walk says: tshark's name of the field, and the sizes that it may have (§4.4.1)
    0x15: ("smpp.service_type", range(1, 7)),
    0x0A: ("smpp.source_addr", range(1, 22)),
    0x0B: ("smpp.destination_addr", range(1, 22)),
    0x61: ("smpp.schedule_delivery_time", TIME),
    0x62: ("smpp.validity_period", TIME),
}


def too_long(status: int, found: Dissection) -> bool:
    """Has the field another size than it may have?"""
    name, sizes = LONGEST[status]
    ((start, stop),) = found.places(name) or found.places(f"{name}_r")
    return stop - start not in sizes


def read_alike(at: SubmitSm, found: Dissection) -> None:
    assert found.places("smpp.source_addr") == [(at.source, at.dest - 2)]
    assert found.places("smpp.destination_addr") == [(at.dest, at.esm_class)]
    assert found.places("smpp.sm_length") == [(at.text - 1, at.text)]
    assert found.places("smpp.message") == ([(at.text, at.tlvs)] if at.tlvs > at.text else [])


@pytest.mark.parametrize("seed", [20261125, 20261126])
def test_i3_tshark_finds_the_fields_where_the_walk_does(tmp_path: Path, seed: int) -> None:
    pdus = corpus(seed, COUNT)
    reasons, tables = set(), 0
    for whole, found in zip(pdus, dissect(tmp_path, pdus), strict=True):
        at = walk_submit_sm(whole)
        malformed = "SMPP" in found.malformed
        if isinstance(at, int):
            assert malformed or too_long(at, found), (whole.hex(), at)
            reasons.add((at, malformed))
            continue
        read_alike(at, found)
        tlvs = walk_tlvs(whole, at.tlvs)
        if any(length != SIZES[tag] for tag, length in sized(whole, at.tlvs)):
            tables += 1
        elif tlvs is None:
            assert malformed, whole.hex()
        else:
            assert not malformed, whole.hex()
            assert found.places("smpp.opt_param") == [(one.start - 4, one.stop) for one in tlvs], whole.hex()
    assert tables < COUNT / 10, "it is the exception"
    assert {status for status, _ in reasons} == {*LONGEST, 0x01}, "each refusal was seen"
    assert (0x01, False) not in reasons
