"""Receipts of long messages that their client has cut, and that got a part more: which receipt tells of the notice."""

from __future__ import annotations

import asyncio

import pytest

from gateway import limits
from gateway.demo.smsc import Received, Smsc
from tests.gateway.smpp.folding import Memory, nothing_more, take, tell
from tests.gateway.smpp.long_messages import part_of, statuses
from tests.gateway.smpp.support import SUBMIT, Client, smsc

ROK = 0


async def test_the_last_part_with_its_notice_in_two_has_one_receipt(
    on_disk: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMPP_PARTS_S", 3600.0)
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        bodies = [part_of(1, total=2, registered=1), part_of(2, total=2, word="y" * 140, registered=1)]
        sequences = [client.ask(SUBMIT, body) for body in bodies]
        heard = {one.sequence: one for one in [await client.hear() for _ in bodies]}
        assert [heard[sequence].status for sequence in sequences] == [ROK] * 2
        ids = [heard[sequence].body.rstrip(b"\0").decode() for sequence in sequences]
        by_place = {one.place()[2]: one for one in centre.messages}  # type: ignore[index]
        assert sorted(by_place) == [1, 2, 3]
        assert {one.registered_delivery for one in centre.messages} == {1}
        await tell_first(client, centre, by_place[1], ids[0])
        await fold_two(client, centre, by_place[3], by_place[2], ids[1])


async def test_the_notice_that_went_first_speaks_in_the_receipt_of_the_last_part_that_asks(
    on_disk: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All parts are here, and the notice saves nothing in the last of them."""
    monkeypatch.setattr(limits, "SMPP_PARTS_S", 0.01)
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        for number in (1, 2):
            assert (await client.converse(SUBMIT, part_of(number, total=2, registered=1))).status == ROK
        by_place = {one.place()[2]: one for one in centre.messages}  # type: ignore[index]
        assert sorted(by_place) == [1, 2, 3]
        assert {one.registered_delivery for one in centre.messages} == {1}
        await tell_first(client, centre, by_place[2], by_place[2].message_id)
        await fold_two(client, centre, by_place[3], by_place[1], by_place[1].message_id)


async def test_a_notice_whose_partner_is_throttled_waits_for_its_next_attempt(
    on_disk: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMPP_PARTS_S", 0.01)
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        centre.behaviour.statuses.extend([ROK, 0x58])
        assert (await client.converse(SUBMIT, part_of(1, total=2, registered=1))).status == 0x58
        (notice,) = centre.messages
        assert await tell(centre, notice, "EXPIRED") == ROK, "it is kept: nobody can be told yet"
        await nothing_more(client)
        for number in (1, 2):
            assert (await client.converse(SUBMIT, part_of(number, total=2, registered=1))).status == ROK
        part = next(one for one in centre.messages if one.place() == (7, 3, 1))
        answering = asyncio.ensure_future(tell(centre, part))
        heard = await take(client)
        assert await answering == ROK
        assert (heard["id"], heard["stat"]) == (part.message_id, "EXPIRED")


async def test_a_notice_asks_for_nothing_if_its_message_does_not(
    on_disk: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMPP_PARTS_S", 0.01)
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        assert await statuses(client, [client.ask(SUBMIT, part_of(number, total=2)) for number in (1, 2)]) == [ROK] * 2
        assert {one.registered_delivery for one in centre.messages} == {0}


async def tell_first(client: Client, centre: Smsc, message: Received, ident: str) -> None:
    """A part of the client's own has its own receipt."""
    answering = asyncio.ensure_future(tell(centre, message))
    assert (await take(client))["id"] == ident
    assert await answering == ROK


async def fold_two(client: Client, centre: Smsc, unknown: Received, known: Received, ident: str) -> None:
    """The part that the client does not know, then the one that it does."""
    assert await tell(centre, unknown, "UNDELIV") == ROK
    await nothing_more(client)
    answering = asyncio.ensure_future(tell(centre, known))
    heard = await take(client)
    assert await answering == ROK
    assert (heard["id"], heard["stat"]) == (ident, "UNDELIV")
    await nothing_more(client)
