"""What an account may ask for: its rate, and its word for a refusal."""

from __future__ import annotations

import re

import pytest

from filters.consent import outcome_of
from filters.model import Outcome, Reason
from gateway import limits
from gateway.smpp.receipts import Receipt, Receipts
from gateway.smpp.statuses import ESME_RSUBMITFAIL, OF_REASON, RECEIPT_ERROR
from tests.conftest import eventually_async
from tests.gateway.smpp.support import (
    BIND_RX,
    BIND_TX,
    BLOCKED,
    CANONICAL,
    DELIVER,
    ENQUIRE,
    NUMBER,
    RESP,
    SUBMIT,
    SUBMIT_MULTI,
    UNBIND,
    House,
    Pdu,
    house,
    pdu,
    smsc,
    tlv,
)
from tests.gateway.smpp.test_multi import multi_body, numbers, unsuccessful
from tests.gateway.smpp.test_submit import part_of

ROK, T_APPN, SUBMITFAIL, THROTTLED = 0, 0x64, 0x45, 0x58
VENDOR = 0x40A
RECEIPT = {"block_mode": "receipt"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.02)


# rate


async def test_who_is_too_fast_is_told_so() -> None:
    options = {"rate": 1, "burst": 50, "rate_mode": "reject"}
    async with smsc() as centre, house(centre.port, **options) as gate, gate.client() as client, gate.client() as other:
        sequences = [client.submit() for _ in range(100)]
        heard = {one.sequence: one.status for one in [await client.hear() for _ in range(100)]}
        refused = [n for n in sequences if heard[n] == THROTTLED]
        assert {heard[n] for n in sequences} == {ROK, THROTTLED}
        assert len(refused) <= 50
        assert gate.errors("rate") == len(refused)
        assert gate.errors("smsc_throttled") == 0
        # One bucket for all binds, in which a submit_multi costs as much as it has destinations.
        assert (await other.converse(SUBMIT_MULTI, multi_body(*numbers(*range(50))))).status == THROTTLED
        assert (await other.converse(ENQUIRE)).status == ROK


async def test_a_submit_multi_costs_as_much_as_it_has_destinations() -> None:
    async with (
        smsc() as centre,
        house(centre.port, rate=1, burst=200, rate_mode="reject") as gate,
        gate.client() as client,
    ):
        many = multi_body(*numbers(*range(100)), *numbers(*range(100)), source=b"OTP")
        heard = [(await client.converse(SUBMIT_MULTI, many)).status for _ in range(2)]
        assert heard == [ROK, THROTTLED]


async def test_or_waits_and_loses_nothing() -> None:
    options = {"rate": 100, "burst": 5, "rate_mode": "pace"}
    async with smsc() as centre, house(centre.port, **options) as gate, gate.client() as client:
        loop_time = gate.door.now
        began = loop_time()
        sequences = [client.submit(dest=b"9055500%05d" % n) for n in range(40)]
        client.ask(UNBIND)
        heard = [await client.hear() for _ in range(41)]
        assert [one.sequence for one in heard[:40]] == sequences
        assert {one.status for one in heard} == {ROK}
        assert heard[40].command == UNBIND | RESP
        assert loop_time() - began >= 35 / 100 * 0.9  # at least: a rate is a bound, and no loaded machine is faster
        assert gate.errors("rate") > 0
        assert gate.errors("window") == 0
        assert [one.dest for one in centre.messages] == [f"9055500{n:05}" for n in range(40)]


async def test_a_client_that_is_paced_may_be_lost() -> None:
    async with smsc() as centre, house(centre.port, rate=1, burst=1) as gate, gate.client() as client:
        for _ in range(5):
            client.submit()
        assert (await client.hear()).status == ROK
        (connection,) = gate.door.sessions
        await eventually_async(lambda: connection._pacing is not None)
        connection.abort()
        await eventually_async(lambda: not gate.door.sessions and not gate.door.links)
        assert connection._pacing is not None
        assert connection._pacing.cancelled()


# the word for a refusal


@pytest.mark.parametrize("status", [SUBMITFAIL, VENDOR])
async def test_a_refusal_has_the_accounts_status(status: int) -> None:
    async with smsc() as centre, house(centre.port, block_status=status) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        assert (await client.say()).status == status
        assert (await client.say(source=b"STRANGER")).status == status
        assert (await client.converse(SUBMIT, part_of(1))).status == status
        other = multi_body(*numbers(2), b"\1\1\1" + NUMBER + b"\0")
        assert unsuccessful(await client.converse(SUBMIT_MULTI, other)) == [(NUMBER, status)]


def test_a_permanent_reason_has_a_status_and_an_error_of_its_own() -> None:
    permanent = {reason for reason in Reason if outcome_of(reason) is Outcome.BLOCK}
    assert {OF_REASON[reason] for reason in permanent} == {ESME_RSUBMITFAIL}
    assert set(RECEIPT_ERROR) == permanent
    assert len(set(RECEIPT_ERROR.values())) == len(permanent)
    assert all(600 < error < 1000 for error in RECEIPT_ERROR.values())


def told(receipt: Pdu) -> re.Match[bytes]:
    found = re.search(
        rb"id:([1-9]\d{15}) sub:001 dlvrd:000 submit date:\d{10} done date:\d{10} stat:REJECTD err:(\d{3}) text:",
        receipt.body,
    )
    assert found is not None
    return found


@pytest.mark.parametrize("registered", [1, 2, 0x11])
async def test_a_refused_message_is_accepted_and_taken_back(registered: int) -> None:
    async with smsc() as centre, house(centre.port, **RECEIPT) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        answer = await client.say(registered=registered, tlvs=tlv(0x204, b"\0\7"))
        assert (answer.command, answer.status) == (SUBMIT | RESP, ROK)
        receipt = await client.hear()
        assert (receipt.command, receipt.status) == (DELIVER, ROK)
        # From the recipient to the sender, as an SMSC's would be.
        assert receipt.body.startswith(b"\0\1\1" + NUMBER + b"\0\5\0ORNEK\0\4\0\0\0\0\0\0\0\0")
        assert told(receipt)[1] + b"\0" == answer.body
        assert told(receipt)[2] == b"601"
        assert receipt.body.endswith(tlv(0x1E, answer.body) + tlv(0x427, b"\x08") + tlv(0x204, b"\0\7"))
        client.writer.write(pdu(DELIVER | RESP, receipt.sequence, b"\0"))
        assert (await client.say(dest=b"905550000002")).status == ROK
        assert gate.errors("unknown_response") == gate.errors("receipt_lost") == 0
        assert len(centre.messages) == 1


@pytest.mark.parametrize("registered", [0, 3, 4])
async def test_i2_without_a_receipt_to_take_it_back_nothing_is_accepted(registered: int) -> None:
    async with smsc() as centre, house(centre.port, **RECEIPT) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        assert (await client.say(registered=registered)).status == SUBMITFAIL


async def test_the_receipt_goes_to_a_bind_that_receives() -> None:
    async with smsc() as centre, house(centre.port, **RECEIPT) as gate, gate.client(bind=BIND_TX) as sender:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        assert (await sender.say(registered=1)).status == SUBMITFAIL  # there is none yet
        async with gate.client(bind=BIND_RX) as receiver:
            answer = await sender.say(registered=1)
            assert answer.status == ROK
            assert told(await receiver.hear())[1] + b"\0" == answer.body
        # It left without an answer: whoever comes next has the receipt.
        await eventually_async(lambda: len(gate.door.sessions) == 1)
        async with gate.client(bind=BIND_RX) as receiver:
            assert told(await receiver.hear())[1] + b"\0" == answer.body


async def test_a_receipt_that_is_turned_back_comes_again() -> None:
    async with smsc() as centre, house(centre.port, **RECEIPT) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        await client.say(registered=1)
        first = await client.hear()
        client.writer.write(pdu(DELIVER | RESP, first.sequence, b"\0", status=T_APPN))
        again = await client.hear()
        assert again.body == first.body
        client.writer.write(pdu(DELIVER | RESP, again.sequence, b"\0", status=0x66))
        assert (await client.say(dest=b"905550000002")).status == ROK
        (esme,) = gate.door._esmes.values()
        await eventually_async(lambda: len(esme._receipts) == 0)


async def test_a_client_of_version_3_3_gets_the_text_alone() -> None:
    async with smsc() as centre, house(centre.port, **RECEIPT) as gate, gate.client(bind=None) as client:
        await client.bind(version=0x33)
        gate.judge.verdicts[CANONICAL] = BLOCKED
        await client.say(registered=1)
        assert (await client.hear()).body.endswith(b" stat:REJECTD err:601 text:")


async def test_each_part_of_a_long_message_has_its_receipt() -> None:
    async with smsc() as centre, house(centre.port, **RECEIPT) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        sequences = [client.ask(SUBMIT, part_of(n, registered=1)) for n in (1, 2, 3)]
        heard = [await client.hear() for _ in range(6)]
        ids = {one.sequence: one.body for one in heard if one.command == SUBMIT | RESP}
        assert sorted(ids) == sequences
        receipts = {told(one)[1] + b"\0" for one in heard if one.command == DELIVER}
        assert receipts == set(ids.values())
        assert len(receipts) == 3
        assert centre.messages == []


async def test_a_drain_gives_out_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 3600.0)
    async with smsc() as centre, house(centre.port, **RECEIPT) as gate, gate.client() as client:
        gate.judge.verdicts[CANONICAL] = BLOCKED
        answer = await client.say(registered=1)
        await drained(gate)
        assert told(await client.hear())[1] + b"\0" == answer.body
        assert (await client.hear()).command == UNBIND


async def drained(gate: House) -> None:
    for connection in list(gate.door.sessions):
        connection.drain()


class Taker:
    """A bind that takes so many receipts."""

    receives = True

    def __init__(self, room: int) -> None:
        self.room = room
        self.tokens: list[int] = []

    def receipt(self, token: int, receipt: Receipt) -> bool:
        if len(self.tokens) >= self.room:
            return False
        self.tokens.append(token)
        return True


def test_i7_receipts_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_RECEIPTS_MAX", 3)
    receipts, taker = Receipts(), Taker(1)
    while receipts.is_room:
        receipts.add(Receipt(b"", b"", 0.0))
    assert len(receipts) == 3
    receipts.send([taker], 1.0)
    assert taker.tokens == [-1]
    assert not receipts.is_room
    receipts.answered(-1, ROK)
    assert receipts.is_room
    receipts.send([], limits.SMPP_RECEIPT_S + 1)
    assert (len(receipts), receipts.lost) == (0, 2)


async def test_i7_a_receipt_that_nobody_takes_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with smsc() as centre, house(centre.port, **RECEIPT) as gate:
        async with gate.client() as client:
            gate.judge.verdicts[CANONICAL] = BLOCKED
            monkeypatch.setattr(limits, "SMPP_DELIVERIES_MAX", 0)
            assert (await client.say(registered=1)).status == ROK
        monkeypatch.setattr(limits, "SMPP_RECEIPT_S", 0.0)
        await eventually_async(lambda: gate.errors("receipt_lost") == 1)
