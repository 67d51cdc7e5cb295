"""Field walks: against another reader, and against anything at all."""

from __future__ import annotations

import pytest
import smpplib.client
import smpplib.smpp
from hypothesis import given
from hypothesis import strategies as st

from gateway.smpp.pdu import SubmitSm, bind_body, walk_bind, walk_submit_sm, walk_tlvs
from tests.gateway.smpp.support import SUBMIT, pdu, submit_body, tlv

TEXT = st.binary(max_size=254)
ADDRESS = st.from_regex(rb"[!-~]{0,20}", fullmatch=True)


@given(TEXT, ADDRESS, ADDRESS, st.sampled_from([b"", b"261125033000032+"]), st.sampled_from([b"", b"WAP"]))
def test_a_submit_sm_as_another_reads_it(
    text: bytes, source: bytes, dest: bytes, schedule: bytes, service_type: bytes
) -> None:
    whole = pdu(
        SUBMIT, 1, submit_body(text, source=source, dest=dest, schedule=schedule, service_type=service_type, coding=8)
    )
    at = walk_submit_sm(whole)
    other = smpplib.smpp.parse_pdu(
        whole,
        client=smpplib.client.Client("127.0.0.1", 0, allow_unknown_opt_params=True),
        allow_unknown_opt_params=True,
    )
    assert isinstance(at, SubmitSm)
    assert (whole[at.source : at.dest - 3], whole[at.dest : at.esm_class - 1]) == (
        other.source_addr,
        other.destination_addr,
    )
    assert whole[at.text : at.tlvs] == (other.short_message or b"")
    assert (whole[at.text - 1], whole[at.text - 3], whole[at.esm_class]) == (len(text), 8, 0)


@given(st.binary(max_size=120))
def test_nothing_raises(body: bytes) -> None:
    whole = pdu(SUBMIT, 1, body)
    at = walk_submit_sm(whole)
    assert isinstance(at, SubmitSm) or at > 0
    bind = walk_bind(whole)
    assert not isinstance(bind, int) or bind > 0
    walk_tlvs(whole, 16)


@given(st.integers(0, 60))
def test_a_truncated_submit_sm_is_refused(cut: int) -> None:
    body = submit_body(b"x" * 40)
    cut = min(cut, len(body) - 1)
    assert isinstance(walk_submit_sm(pdu(SUBMIT, 1, body[:cut])), int)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"service_type": b"toolong"}, 0x15),
        ({"source": b"1" * 21}, 0x0A),
        ({"dest": b"1" * 21}, 0x0B),
        ({"schedule": b"26112503300003"}, 0x61),
        ({"schedule": b"261125033000032+9"}, 0x61),
    ],
)
def test_what_is_wrong_with_it(fields: dict[str, bytes], status: int) -> None:
    assert walk_submit_sm(pdu(SUBMIT, 1, submit_body(**fields))) == status  # type: ignore[arg-type]


def test_tlvs_end_with_the_pdu() -> None:
    octets = tlv(0x1400, b"abc") + tlv(0x0204, b"")
    found = walk_tlvs(octets, 0)
    assert found is not None
    assert [(one.tag, octets[one.start : one.stop]) for one in found] == [(0x1400, b"abc"), (0x0204, b"")]
    assert walk_tlvs(octets[:-1], 0) is None
    assert walk_tlvs(octets + b"\0", 0) is None


def test_a_bind_keeps_what_it_need_not_know() -> None:
    rest = b"ESME\0\x34\1\1^90\0" + tlv(0x1400, b"x")
    whole = pdu(9, 1, bind_body(b"marka", b"x" * 100, rest))
    bind = walk_bind(whole)
    assert not isinstance(bind, int)
    assert bind == (b"marka", b"x" * 100, 0x34, rest)
