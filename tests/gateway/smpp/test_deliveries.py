"""Receipts and messages from handsets at a pooled SMSC: each to its account, under the id that this was told."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import limits
from tests.conftest import eventually_async
from tests.gateway.smpp.pooled import (
    OTHER_LOGIN,
    TEXT,
    Centre,
    accounts,
    mo_body,
    pooled,
    receipt_body,
    sent,
    silent,
    taken,
)
from tests.gateway.smpp.support import (
    ALERT,
    BIND_RX,
    BIND_TX,
    DELIVER,
    LOGIN,
    QUERY,
    RESP,
    SUBMIT,
    pdu,
    smsc,
)

ROK, SYSERR, INVMSGID, T_APPN, R_APPN = 0, 8, 0x0C, 0x64, 0x66


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, patient: None) -> None:
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MIN", 0.02)
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MAX", 0.1)
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.02)


# receipts


async def test_i3_a_receipt_goes_to_the_account_that_sent_the_message(tmp_path: Path) -> None:
    async with (
        Centre() as centre,
        pooled(tmp_path, centre.port) as gate,
        gate.bound() as marka,
        gate.bound(OTHER_LOGIN) as banka,
    ):
        await sent(marka, centre, b"7001")
        await sent(banka, centre, b"7002")
        first, second = centre.deliver(receipt_body(b"7002", b"7002")), centre.deliver(receipt_body(b"7001"))
        assert (await taken(banka)).body == receipt_body(b"7002", b"7002")
        assert (await taken(marka)).body == receipt_body(b"7001")
        for sequence in (first, second):
            assert (await centre.answer(sequence)).body == b"\0"
        await silent(marka, banka)
        assert gate.went("receipt", "passed") == 2


async def test_i2_the_smsc_has_the_clients_own_answer(tmp_path: Path) -> None:
    async with Centre() as centre, pooled(tmp_path, centre.port) as gate, gate.bound() as marka:
        await sent(marka, centre, b"7001")
        for status in (T_APPN, 0x65, ROK):
            sequence = centre.deliver(receipt_body(b"7001"))
            await taken(marka, status)
            assert (await centre.answer(sequence)).status == status


@pytest.mark.parametrize(
    ("message_id", "told", "in_text", "in_tlv"),
    [
        ("same", b"0A1b", b"0A1b", b"0A1b"),
        ("loose", b"0A1b", b"a1B", b"000A1B"),
        ("hex_in_response", b"001E8480", b"2000000", b"2000000"),
        ("hex_in_response", b"1e8480", b"0002000000", b"001E8480"),
        ("hex_in_response", b"1e8480", b"2000000", b""),
        ("hex_in_receipt", b"02000000", b"1E8480", b""),
    ],
)
async def test_the_client_sees_the_id_that_it_was_told(
    tmp_path: Path, message_id: str, told: bytes, in_text: bytes, in_tlv: bytes
) -> None:
    async with (
        Centre() as centre,
        pooled(tmp_path, centre.port, message_id=message_id) as gate,
        gate.bound() as marka,
        gate.bound(OTHER_LOGIN) as banka,
    ):
        await sent(marka, centre, told)
        centre.deliver(receipt_body(in_text, in_tlv))
        assert (await taken(marka)).body == receipt_body(told, told if in_tlv else b"")
        await silent(banka)


async def test_i3_what_is_the_same_number_in_the_other_writing_is_another_message(tmp_path: Path) -> None:
    async with (
        Centre() as centre,
        pooled(tmp_path, centre.port, message_id="hex_in_response") as gate,
        gate.bound() as marka,
        gate.bound(OTHER_LOGIN) as banka,
    ):
        await sent(marka, centre, b"10")
        await sent(banka, centre, b"0A")
        centre.deliver(receipt_body(b"10"))
        assert (await taken(banka)).body == receipt_body(b"0A")
        await silent(marka)


async def test_a_receipt_before_the_answer_to_its_message_waits_for_that(tmp_path: Path) -> None:
    async with (
        Centre() as centre,
        pooled(tmp_path, centre.port) as gate,
        gate.bound() as marka,
        gate.bound(OTHER_LOGIN) as banka,
    ):
        marka.submit(source=b"OTP")
        await centre.submits(1)
        sequence = centre.deliver(receipt_body(b"7001"))
        await eventually_async(lambda: gate.metrics.smpp_orphans["smsc"] == 1)
        await silent(marka, banka)
        await centre.take(b"7001")
        assert (await marka.hear()).body == b"7001\0"
        assert (await taken(marka)).body == receipt_body(b"7001")
        assert (await centre.answer(sequence)).status == ROK
        assert gate.metrics.smpp_orphans["smsc"] == 0


async def test_a_receipt_in_the_same_breath_follows_the_answer(tmp_path: Path) -> None:
    async with Centre() as centre, pooled(tmp_path, centre.port) as gate, gate.bound() as marka:
        for number in range(20):
            marka.submit(source=b"OTP")
            one = (await centre.submits(number + 1))[number]
            answer = pdu(SUBMIT | RESP, one.sequence, b"%d\0" % number)
            delivery = pdu(DELIVER, 1000 + number, receipt_body(b"%d" % number))
            centre.say(*((answer, delivery) if number % 2 else (delivery, answer)))
            assert (await marka.hear()).command == SUBMIT | RESP
            assert (await taken(marka)).body == receipt_body(b"%d" % number)


async def test_i7_receipts_that_wait_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_ORPHANS_MAX", 1)
    async with Centre() as centre, pooled(tmp_path, centre.port) as gate, gate.bound() as marka:
        marka.submit(source=b"OTP")
        await centre.submits(1)
        first = centre.deliver(receipt_body(b"7001"))
        await eventually_async(lambda: gate.metrics.smpp_orphans["smsc"] == 1)
        second = centre.deliver(receipt_body(b"7002"))
        assert (await centre.answer(second)).status == T_APPN
        await centre.take(b"7001")
        await marka.hear()
        await taken(marka)
        assert (await centre.answer(first)).status == ROK


async def test_a_receipt_of_nobodys_message_comes_again_and_then_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMPP_ORPHAN_S", 0.05)
    async with Centre() as centre, pooled(tmp_path, centre.port) as gate, gate.bound() as marka:
        sequence = centre.deliver(receipt_body(b"9999"))
        assert (await centre.answer(sequence)).status == T_APPN
        assert gate.went("receipt", "later") == 1
        monkeypatch.setattr(limits, "SMPP_STRANGE_S", 0.0)
        sequence = centre.deliver(receipt_body(b"9999"))
        assert (await centre.answer(sequence)).status == R_APPN
        sequence = centre.deliver(receipt_body())
        assert (await centre.answer(sequence)).status == R_APPN, "it names no id"
        assert gate.went("receipt", "nobody") == 2
        await silent(marka)


async def test_the_only_account_gets_also_what_we_do_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_ORPHAN_S", 0.05)
    monkeypatch.setattr(limits, "SMPP_STRANGE_S", 0.0)
    only = {LOGIN[0].encode(): accounts()[LOGIN[0].encode()]}
    async with Centre() as centre, pooled(tmp_path, centre.port, known=only) as gate, gate.bound() as marka:
        sequence = centre.deliver(receipt_body(b"9999"))
        assert (await taken(marka)).body == receipt_body(b"9999")
        assert (await centre.answer(sequence)).status == ROK
        centre.deliver(mo_body(b"whatever"))
        assert (await taken(marka)).body == mo_body(b"whatever")


async def test_i2_without_a_bind_that_receives_the_smsc_brings_it_again(tmp_path: Path) -> None:
    async with (
        Centre() as centre,
        pooled(tmp_path, centre.port) as gate,
        gate.bound(command=BIND_TX) as marka,
        gate.bound(OTHER_LOGIN) as banka,
    ):
        await sent(marka, centre, b"7001")
        sequence = centre.deliver(receipt_body(b"7001"))
        assert (await centre.answer(sequence)).status == T_APPN
        async with gate.bound(command=BIND_RX) as receiver:
            sequence = centre.deliver(receipt_body(b"7001"))
            assert (await taken(receiver)).body == receipt_body(b"7001")
            assert (await centre.answer(sequence)).status == ROK
        await silent(marka, banka)


async def test_i2_a_client_that_leaves_without_an_answer(tmp_path: Path) -> None:
    async with Centre() as centre, pooled(tmp_path, centre.port) as gate, gate.bound(command=BIND_TX) as sender:
        async with gate.bound() as marka:
            await sent(sender, centre, b"7001")
            sequence = centre.deliver(receipt_body(b"7001"))
            assert (await marka.hear()).command == DELIVER
        assert (await centre.answer(sequence)).status == T_APPN


async def test_i3_answers_of_a_client_go_to_the_bind_that_asked(tmp_path: Path) -> None:
    """Both binds of the SMSC use the same sequence numbers."""
    async with smsc() as centre, pooled(tmp_path, centre.port, binds=2) as gate, gate.bound() as marka:
        await gate.stands(2)
        await marka.say(source=b"OTP")
        ident = centre.messages[0].message_id.encode()
        for session in centre.sessions:
            session.ask(DELIVER, receipt_body(ident))
        first, second = await marka.hear(), await marka.hear()
        marka.writer.write(pdu(DELIVER | RESP, second.sequence, b"\0", status=0x14))
        await eventually_async(lambda: len(centre.answered) == 1)
        marka.writer.write(pdu(DELIVER | RESP, first.sequence, b"\0"))
        await eventually_async(lambda: len(centre.answered) == 2)
        assert [one[1] for one in centre.answered] == [0x14, ROK]
        assert {one[2] for one in centre.answered} == {1}
        assert gate.errors("unknown_response") == 0


async def test_i3_an_answer_for_a_bind_that_is_lost_reaches_nobody(tmp_path: Path) -> None:
    async with Centre() as centre, pooled(tmp_path, centre.port) as gate, gate.bound() as marka:
        await sent(marka, centre, b"7001")
        centre.deliver(receipt_body(b"7001"))
        heard = await marka.hear()
        assert centre.writer is not None
        centre.writer.close()
        await eventually_async(lambda: centre.connections == 2)
        await gate.stands()
        marka.writer.write(pdu(DELIVER | RESP, heard.sequence, b"\0"))
        await silent(marka)
        centre.asked = 0
        assert not [one for one in centre.heard if one.command == DELIVER | RESP]
        sequence = centre.deliver(receipt_body(b"7001"))
        await taken(marka, 0x14)
        assert (await centre.answer(sequence)).status == 0x14


async def test_a_malformed_delivery_is_told_so(tmp_path: Path) -> None:
    async with Centre() as centre, pooled(tmp_path, centre.port) as gate, gate.bound() as marka:
        sequence = centre.deliver(b"\0\1\1" + b"9" * 30)
        assert (await centre.answer(sequence)).status == 0x0A
        await silent(marka)


# ids of two hosts


async def test_i3_each_host_may_have_ids_of_its_own(tmp_path: Path) -> None:
    async with (
        Centre() as first,
        Centre() as second,
        pooled(tmp_path, first.port, second.port, id_space="host") as gate,
        gate.bound() as marka,
        gate.bound(OTHER_LOGIN) as banka,
    ):
        await sent(marka, first, b"7001")
        first._server.close()
        assert first.writer is not None
        first.writer.close()
        await eventually_async(lambda: second.connections == 1)
        await gate.stands()
        await sent(banka, second, b"7001")
        sequence = second.deliver(receipt_body(b"7001"))
        assert (await taken(banka)).body == receipt_body(b"7001")
        assert (await second.answer(sequence)).status == ROK
        assert (await marka.converse(QUERY, b"7001\0\5\0OTP\0")).status == SYSERR, "its host is away"
        sequence = banka.ask(QUERY, b"7001\0\5\0OTP\0")
        await eventually_async(lambda: any(one.command == QUERY for one in second.heard))
        asked = next(one for one in second.heard if one.command == QUERY)
        second.say(pdu(QUERY | RESP, asked.sequence, b"7001\0\0\2\0"))
        assert (await banka.hear()).sequence == sequence
        await silent(marka)


async def test_all_hosts_of_an_smsc_usually_share_their_ids(tmp_path: Path) -> None:
    async with (
        Centre() as first,
        Centre() as second,
        pooled(tmp_path, first.port, second.port) as gate,
        gate.bound() as marka,
    ):
        await sent(marka, first, b"7001")
        first._server.close()
        assert first.writer is not None
        first.writer.close()
        await eventually_async(lambda: second.connections == 1)
        await gate.stands()
        second.deliver(receipt_body(b"7001"))
        assert (await taken(marka)).body == receipt_body(b"7001")


# messages from handsets


async def test_a_message_goes_by_the_address_that_it_was_sent_to(tmp_path: Path) -> None:
    addresses = {LOGIN[0]: (b"5550", b"MARKA*"), OTHER_LOGIN[0]: (b"MARKA2", b"555*")}
    async with (
        Centre() as centre,
        pooled(tmp_path, centre.port, addresses=addresses) as gate,
        gate.bound() as marka,
        gate.bound(OTHER_LOGIN) as banka,
    ):
        for dest, whose in (
            (b"5550", marka),
            (b"MARKA", marka),
            (b"MARKA21", marka),
            (b"MARKA2", banka),
            (b"5551", banka),
        ):
            sequence = centre.deliver(mo_body(dest))
            assert (await taken(whose)).body == mo_body(dest)
            assert (await centre.answer(sequence)).status == ROK
        sequence = centre.deliver(mo_body(b"4444"))
        assert (await centre.answer(sequence)).status == R_APPN
        assert gate.went("message", "nobody") == 1
        assert gate.went("message", "passed") == 5
        await silent(marka, banka)


async def test_a_message_to_nobodys_address_may_have_a_default(tmp_path: Path) -> None:
    async with (
        Centre() as centre,
        pooled(tmp_path, centre.port, default_account=OTHER_LOGIN[0].encode()) as gate,
        gate.bound() as marka,
        gate.bound(OTHER_LOGIN) as banka,
    ):
        centre.deliver(mo_body(b"4444"))
        assert (await taken(banka)).body == mo_body(b"4444")
        await silent(marka)


async def test_what_looks_like_a_receipt_and_is_none_goes_by_its_address(tmp_path: Path) -> None:
    addresses = {OTHER_LOGIN[0]: (b"5550",)}
    async with (
        Centre() as centre,
        pooled(tmp_path, centre.port, addresses=addresses) as gate,
        gate.bound() as marka,
        gate.bound(OTHER_LOGIN) as banka,
    ):
        await sent(marka, centre, b"7001")
        centre.deliver(mo_body(b"5550", TEXT % b"7001"))
        assert (await taken(banka)).body == mo_body(b"5550", TEXT % b"7001")
        await silent(marka)


async def test_an_alert_goes_to_whom_the_handset_was_not_there_for(tmp_path: Path) -> None:
    async with (
        Centre() as centre,
        pooled(tmp_path, centre.port, addresses={OTHER_LOGIN[0]: (b"BANKA",)}) as gate,
        gate.bound() as marka,
        gate.bound(OTHER_LOGIN) as banka,
    ):
        body = b"\1\1905550000001\0\5\0BANKA\0"
        centre.deliver(body, ALERT)
        heard = await banka.hear()
        assert (heard.command, heard.body) == (ALERT, body)
        centre.deliver(b"\1", ALERT)
        await silent(marka, banka)
