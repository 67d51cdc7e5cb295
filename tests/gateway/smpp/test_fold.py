"""Receipts of messages that became several: the client hears once, under the id that it knows, of the worst of them."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import eventually_async
from tests.gateway.smpp.folding import LONG, Memory, answer, nothing_more, read, receipt_body, submitted, take, tell
from tests.gateway.smpp.support import (
    BIND_TX,
    DATA,
    DELIVER,
    NUMBER,
    RESP,
    SUBMIT,
    SUBMIT_MULTI,
    smsc,
    submit_body,
    tlv,
)

ROK, T_APPN = 0, 0x64
OTHER_NUMBER = b"905550000002"


@pytest.mark.parametrize("told_first", [True, False])
async def test_two_receipts_become_one_under_the_id_that_the_client_knows(memory: Memory, told_first: bool) -> None:
    async with smsc() as centre, memory.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        told, segments = await submitted(centre, client, registered=1)
        assert [one.registered_delivery for one in segments] == [1, 1]
        first, last = segments if told_first else segments[::-1]
        assert await tell(centre, first, done="2611251435") == ROK
        await nothing_more(client)
        answering = asyncio.ensure_future(tell(centre, last, done="2611251430"))
        heard = await take(client)
        assert await answering == ROK
        assert (heard["id"], heard.tlvs[0x1E]) == (told, told.encode() + b"\0")
        assert (heard["stat"], heard["err"], heard.tlvs[0x427]) == ("DELIVRD", "000", b"\2")
        assert (heard["sub"], heard["dlvrd"]) == ("001", "001"), "what the client submitted is one message"
        assert heard["done date"] == "2611251435", "the last of them"
        assert (heard.esm_class, heard.source, heard.dest) == (4, NUMBER, b"ORNEK")
        await nothing_more(client)


@pytest.mark.parametrize(
    ("words", "worst"),
    [
        (("DELIVRD", "UNDELIV"), "UNDELIV"),
        (("UNKNOWN", "DELIVRD"), "UNKNOWN"),
        (("UNKNOWN", "DELETED"), "DELETED"),
        (("EXPIRED", "DELETED"), "EXPIRED"),
        (("EXPIRED", "UNDELIV"), "UNDELIV"),
        (("REJECTD", "UNDELIV"), "REJECTD"),
    ],
)
async def test_the_worst_of_them_counts(on_disk: Memory, words: tuple[str, str], worst: str) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        _, segments = await submitted(centre, client, registered=1)
        errors = {words[0]: "011", words[1]: "022"}
        assert await tell(centre, segments[0], words[0], error="011") == ROK
        answering = asyncio.ensure_future(tell(centre, segments[1], words[1], error="022"))
        heard = await take(client)
        assert await answering == ROK
        assert (heard["stat"], heard["err"], heard["dlvrd"]) == (worst, errors[worst], "000")
        await nothing_more(client)


@pytest.mark.parametrize("registered", [0, 1, 2, 3, 0x10, 0x11])
async def test_every_segment_asks_as_the_client_did(on_disk: Memory, registered: int) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        _, segments = await submitted(centre, client, registered=registered)
        assert [one.registered_delivery for one in segments] == [registered] * 2


async def test_an_acknowledgement_of_the_handset_is_asked_for_once(on_disk: Memory) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        _, segments = await submitted(centre, client, registered=0x0D)
        assert [one.registered_delivery for one in segments] == [0x0D, 1]


async def test_who_asks_for_failures_alone_hears_of_the_first(on_disk: Memory) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        told, segments = await submitted(centre, client, registered=2)
        answering = asyncio.ensure_future(tell(centre, segments[1], "EXPIRED"))
        heard = await take(client)
        assert await answering == ROK
        assert (heard["id"], heard["stat"]) == (told, "EXPIRED")
        assert await tell(centre, segments[0], "UNDELIV") == ROK
        await nothing_more(client)


async def test_an_intermediate_notification_passes_under_the_known_id(on_disk: Memory) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        told, segments = await submitted(centre, client, registered=0x11)
        for segment in segments:
            answering = asyncio.ensure_future(tell(centre, segment, "ENROUTE", esm=0x20))
            heard = await take(client)
            assert await answering == ROK
            assert (heard.esm_class, heard["stat"]) == (0x20, "ENROUTE")
            assert (heard["id"], heard.tlvs[0x1E]) == (told, told.encode() + b"\0")
        assert await tell(centre, segments[0]) == ROK, "they do not count as the end"
        await nothing_more(client)


async def test_the_reference_of_the_client_is_echoed(on_disk: Memory) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        _, segments = await submitted(centre, client, registered=1, tlvs=tlv(0x204, b"\x12\x34"))
        assert await tell(centre, segments[0]) == ROK
        answering = asyncio.ensure_future(tell(centre, segments[1]))
        assert (await take(client)).tlvs[0x204] == b"\x12\x34"
        assert await answering == ROK


async def test_a_client_of_version_33_gets_no_tlvs(on_disk: Memory) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client(bind=None) as client:
        centre.behaviour.receipts = False
        assert (await client.bind(version=0x33)).status == 0
        told, segments = await submitted(centre, client, registered=1)
        assert await tell(centre, segments[0], tlvs=b"") == ROK
        answering = asyncio.ensure_future(tell(centre, segments[1], tlvs=b""))
        heard = await take(client)
        assert await answering == ROK
        assert (heard["id"], heard.tlvs) == (told, {})


async def test_receipts_at_another_worker_than_the_message(memory: Memory) -> None:
    async with smsc() as centre, memory.worker(centre) as one, memory.worker(centre) as other:
        centre.behaviour.receipts = False
        async with one.client() as sender, other.client() as receiver:
            told, segments = await submitted(centre, sender, registered=1)
            assert await tell(centre, segments[1], "UNDELIV", bind=0, error="007") == ROK
            answering = asyncio.ensure_future(tell(centre, segments[0], bind=1))
            heard = await take(receiver)
            assert await answering == ROK
            assert (heard["id"], heard["stat"], heard["err"]) == (told, "UNDELIV", "007")
            await nothing_more(sender)
            await nothing_more(receiver)


async def test_two_last_receipts_at_once_are_one(memory: Memory) -> None:
    async with smsc() as centre, memory.worker(centre) as one, memory.worker(centre) as other:
        centre.behaviour.receipts = False
        async with one.client() as sender, other.client() as receiver:
            for _ in range(10):
                await submitted(centre, sender, registered=1)
                before = len(centre.answered)
                for bind, segment in enumerate(centre.messages[-2:]):
                    centre.sessions[bind].ask(DELIVER, receipt_body(segment))
                heard = [asyncio.ensure_future(client.hear()) for client in (sender, receiver)]
                done, waiting = await asyncio.wait(heard, return_when=asyncio.FIRST_COMPLETED)
                assert len(done) == 1
                got = sender if heard[0] in done else receiver
                got.writer.write(answer(read(await done.pop()).sequence))
                await eventually_async(lambda before=before: len(centre.answered) == before + 2, within=90)
                assert [status for _, status, _ in centre.answered[before:]] == [ROK] * 2
                idle = receiver if got is sender else sender
                idle.ask(0x15)
                assert (await waiting.pop()).command == 0x15 | RESP


async def test_it_goes_on_after_a_restart(memory: Memory) -> None:
    async with smsc() as centre:
        centre.behaviour.receipts = False
        async with memory.worker(centre) as gate, gate.client() as client:
            told, segments = await submitted(centre, client, registered=1)
            assert await tell(centre, segments[0], "REJECTD") == ROK
        await eventually_async(lambda: not centre.sessions, within=90)
        async with memory.worker(centre) as gate, gate.client() as client:
            answering = asyncio.ensure_future(tell(centre, segments[1]))
            heard = await take(client)
            assert await answering == ROK
            assert (heard["id"], heard["stat"]) == (told, "REJECTD")


async def test_a_receipt_that_the_client_does_not_take_now_comes_again(
    on_disk: Memory,
) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        told, segments = await submitted(centre, client, registered=1)
        assert await tell(centre, segments[0]) == ROK
        answering = asyncio.ensure_future(tell(centre, segments[1]))
        await take(client, T_APPN)
        assert await answering == T_APPN
        assert await tell(centre, segments[0]) == ROK, "which the SMSC does not know to be done"
        await nothing_more(client)
        answering = asyncio.ensure_future(tell(centre, segments[1]))
        assert (await take(client))["id"] == told
        assert await answering == ROK
        for segment in segments:
            assert await tell(centre, segment) == ROK
        await nothing_more(client)


async def test_a_receipt_that_overtakes_the_answer_waits(on_disk: Memory) -> None:
    """Whatever comes first, at whichever worker, the client has its answer before its receipt."""
    async with smsc() as centre, on_disk.worker(centre) as one, on_disk.worker(centre) as other:
        centre.behaviour.receipts = False
        centre.behaviour.holding = True
        async with one.client() as sender, other.client() as receiver:
            sequence = sender.ask(SUBMIT, submit_body(LONG, registered=1))
            await eventually_async(lambda: len(centre.messages) == 2, within=90)
            for segment in centre.messages:
                centre.sessions[1].ask(DELIVER, receipt_body(segment))
            await nothing_more(receiver)
            assert not [one for one in centre.answered if one[0] == DELIVER | RESP], "they wait"
            centre.release()
            answer = await sender.hear()
            assert (answer.sequence, answer.status) == (sequence, 0)
            heard = await take(receiver)
            assert heard["id"] == answer.body.rstrip(b"\0").decode()
            await eventually_async(lambda: len(centre.answered) >= 2, within=90)
            assert {status for _, status, _ in centre.answered} == {ROK}
            await nothing_more(receiver)


async def test_segments_of_a_refused_message_are_nobodys(on_disk: Memory) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        centre.behaviour.statuses.extend([0, 0x58])
        assert (await client.say(LONG, registered=1)).status == 0x58
        (segment,) = centre.messages
        assert await tell(centre, segment, "EXPIRED") == ROK
        await nothing_more(client)


async def test_an_ordinary_receipt_passes_as_it_came(memory: Memory) -> None:
    async with smsc() as centre, memory.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        assert (await client.say(registered=1)).status == 0
        (message,) = centre.messages
        body = receipt_body(message, "UNDELIV", error="0b1", tlvs=tlv(0x1401, b"x"))
        before = len(centre.answered)
        centre.sessions[0].ask(DELIVER, body)
        heard = await client.hear()
        assert heard.body == body
        client.writer.write(answer(heard.sequence, 0x66))
        await eventually_async(lambda: len(centre.answered) > before, within=90)
        assert centre.answered[before][1] == 0x66, "with the client's own answer"


async def test_receipts_that_come_as_data_sm(on_disk: Memory) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        told, segments = await submitted(centre, client, registered=1)
        for segment, word in zip(segments, ("EXPIRED", "DELIVRD"), strict=True):
            deliver = receipt_body(segment, word)
            at = deliver.index(b"ORNEK\0") + 6
            text, tlvs = deliver[at + 10 : at + 10 + deliver[at + 9]], deliver[at + 10 + deliver[at + 9] :]
            centre.sessions[0].ask(DATA, deliver[:at] + b"\4\0\0" + tlvs + tlv(0x424, text))
        heard = await client.hear()
        assert heard.command == DATA
        assert b"id:%b sub:001 dlvrd:000 " % told.encode() in heard.body
        assert b"stat:EXPIRED" in heard.body
        assert tlv(0x1E, told.encode() + b"\0") + tlv(0x427, b"\3") in heard.body


async def test_each_destination_of_a_submit_multi_has_its_own(on_disk: Memory) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        head, tail = b"\0\5\0ORNEK\0", b"\0\0\0\0\0" + bytes((1, 0, 0, 0, len(LONG))) + LONG
        dests = b"".join(b"\1\1\1%b\0" % number for number in (NUMBER, OTHER_NUMBER))
        assert (await client.converse(SUBMIT_MULTI, head + b"\2" + dests + tail)).status == 0
        for number in (NUMBER, OTHER_NUMBER):
            segments = [one for one in centre.messages if one.dest.encode() == number]
            assert len(segments) == 2
            assert await tell(centre, segments[0]) == ROK
            answering = asyncio.ensure_future(tell(centre, segments[1]))
            heard = await take(client)
            assert await answering == ROK
            assert heard.source == number
            assert heard["id"] == segments[1].message_id, "its first segment's, which went last"
        await nothing_more(client)


async def test_a_transmitter_sends_and_a_receiver_hears(on_disk: Memory) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate:
        centre.behaviour.receipts = False
        async with gate.client(bind=BIND_TX) as sender, gate.client(bind=1) as receiver:
            told, segments = await submitted(centre, sender, registered=1)
            assert await tell(centre, segments[0], bind=1) == ROK
            answering = asyncio.ensure_future(tell(centre, segments[1], bind=1))
            assert (await take(receiver))["id"] == told
            assert await answering == ROK
