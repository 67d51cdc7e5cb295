"""Kannel as the ESME: a message in by HTTP goes out at the SMSC with its notice, and what became of it comes back.

Kannel repeats by itself what is temporary, and reports the rest: that izinli's answers mean to it what they should is
seen here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway import limits
from gateway.demo.smsc import Smsc
from tests.conftest import eventually_async
from tests.gateway.smpp.support import BLOCKED, DEFERRED, UPSTREAM_LOGIN, House, house, notice_of, smsc
from tests.interop.kannel import ACCEPTED, DELIVERED, FAILED, REFUSED, Kannel, kannel

pytestmark = pytest.mark.interop

RSYSERR, RMSGQFUL, RSUBMITFAIL, RTHROTTLED = 0x08, 0x14, 0x45, 0x58
TURKISH = "Çok güzel bir akşam, ığdır'da çay içiyoruz. "
ONE, TWO, THREE = "905550000001", "905550000002", "905550000003"


@asynccontextmanager
async def chained(directory: Path, options: str = "", **account: object) -> AsyncIterator[tuple[Kannel, House, Smsc]]:
    async with smsc() as centre, house(centre.port, **account) as gate, kannel(directory, gate.port, options) as boxes:
        yield boxes, gate, centre


async def send(boxes: Kannel, text: str, to: str, **fields: str) -> None:
    assert "Accepted for delivery" in await asyncio.to_thread(lambda: boxes.send(text, f"+{to}", **fields))


async def reported(boxes: Kannel, to: str, *types: int) -> None:
    """Exactly these reports have come; Kannel asks for several at once, so their order says nothing."""
    await eventually_async(lambda: len(boxes.reports(to)) >= len(types), within=60, what=f"reports about {to}")
    assert sorted(boxes.reports(to)) == sorted(types)


async def test_a_message_and_its_reports(tmp_path: Path) -> None:
    async with chained(tmp_path) as (boxes, gate, centre):
        await send(boxes, "Merhaba @ Örnek 5€", ONE)
        await reported(boxes, ONE, ACCEPTED, DELIVERED)
        assert centre.take_texts() == ["Merhaba @ Örnek 5€" + notice_of()]
        await eventually_async(lambda: len(centre.answered) == 1)
        assert centre.answered[0][1] == 0, "Kannel took the receipt"
        # Its own cutting, in UCS-2: one message, one notice, asked about once.
        await send(boxes, TURKISH * 4, TWO, coding="2")
        await reported(boxes, TWO, ACCEPTED, DELIVERED)
        assert centre.take_texts() == [TURKISH * 4 + notice_of(f"+{TWO}".encode())]
        assert gate.judge.asked == [f"+{ONE}".encode(), f"+{TWO}".encode()]


async def test_what_is_refused_is_not_repeated_and_what_is_temporary_is(tmp_path: Path) -> None:
    async with chained(tmp_path) as (boxes, gate, centre):
        refused, deferred = f"+{ONE}".encode(), f"+{TWO}".encode()
        gate.judge.verdicts |= {refused: BLOCKED, deferred: DEFERRED}
        await send(boxes, "Merhaba", ONE)
        await reported(boxes, ONE, REFUSED)
        await send(boxes, "Merhaba", TWO)
        await eventually_async(lambda: gate.judge.asked.count(deferred) >= 3, within=90, what="Kannel comes again")
        assert centre.messages == []
        gate.judge.verdicts.pop(deferred)
        await reported(boxes, TWO, ACCEPTED, DELIVERED)
        assert centre.take_texts() == ["Merhaba" + notice_of(deferred)]
        assert gate.judge.asked.count(refused) == 1
        assert boxes.reports(ONE) == [REFUSED]


async def test_the_smscs_own_answers_mean_what_they_mean(tmp_path: Path) -> None:
    async with chained(tmp_path) as (boxes, _, centre):
        centre.behaviour.statuses.extend([RMSGQFUL, RSYSERR, RTHROTTLED])
        await send(boxes, "Merhaba", ONE)
        await reported(boxes, ONE, ACCEPTED, DELIVERED)
        assert not centre.behaviour.statuses
        centre.behaviour.statuses.append(0x0B)
        await send(boxes, "Merhaba", TWO)
        await reported(boxes, TWO, REFUSED)
        assert [one.dest for one in centre.messages] == [ONE]


async def test_a_vendors_status_is_a_refusal_too(tmp_path: Path) -> None:
    async with chained(tmp_path, block_status=0x40A) as (boxes, gate, centre):
        gate.judge.verdicts[f"+{ONE}".encode()] = BLOCKED
        await send(boxes, "Merhaba", ONE)
        await reported(boxes, ONE, REFUSED)
        assert len(gate.judge.asked) == 1
        assert centre.messages == []


async def test_a_refusal_by_receipt_is_a_failed_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.05)
    async with chained(tmp_path, block_mode="receipt") as (boxes, gate, centre):
        gate.judge.verdicts[f"+{ONE}".encode()] = BLOCKED
        await send(boxes, "Merhaba", ONE)
        await reported(boxes, ONE, ACCEPTED, FAILED)
        assert len(gate.judge.asked) == 1
        assert centre.messages == []


async def test_a_window_of_one_and_a_citizen(tmp_path: Path) -> None:
    """With `max-pending-submits = 1` Kannel sends a part of a long message when the one before is answered."""
    async with chained(tmp_path, "max-pending-submits = 1") as (boxes, _, centre):
        for number in (ONE, TWO, THREE):
            await send(boxes, TURKISH * 4, number, coding="2")
        for number in (ONE, TWO, THREE):
            await reported(boxes, number, ACCEPTED, DELIVERED)
        texts = [TURKISH * 4 + notice_of(f"+{number}".encode()) for number in (ONE, TWO, THREE)]
        assert sorted(centre.take_texts()) == sorted(texts)
        centre.send(UPSTREAM_LOGIN[0], ONE, "3338", "Çay".encode("utf-16-be"), data_coding=8)
        await eventually_async(lambda: len(boxes.messages()) == 1, within=60)
        assert boxes.messages() == [{"from": f"+{ONE}", "to": "3338", "text": "Çay"}]


async def test_i4_an_smsc_that_is_away_costs_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MAX", 0.5)
    async with chained(tmp_path) as (boxes, gate, centre):
        await centre.stop()
        await eventually_async(lambda: gate.errors("smsc_lost") == 1, within=60)
        await send(boxes, "Merhaba", ONE)
        await eventually_async(lambda: "error code 0x00000008" in boxes.log(), within=60, what="ESME_RSYSERR")
        assert boxes.reports(ONE) == []
        await centre.start()
        await reported(boxes, ONE, ACCEPTED, DELIVERED)
        assert centre.take_texts() == ["Merhaba" + notice_of(f"+{ONE}".encode())]
    await eventually_async(lambda: not centre.sessions)
