"""Receipts of messages that stayed one pass without a look at the memory, and those of parts never do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway import limits
from gateway.smpp.ids_sqlite import SqliteIds
from gateway.smpp.whole import Whole
from tests.gateway.smpp.folding import Memory, nothing_more, submitted, take, tell
from tests.gateway.smpp.support import SUBMIT, smsc, submit_body

ROK = 0


class TestWhole:
    def test_the_newest_are_kept_and_there_is_a_bound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "SMPP_WHOLE_KNOWN", 10)
        whole = Whole()
        for number in range(1000):
            whole.add(b"%d" % number)
        known = [number for number in range(1000) if b"%d" % number in whole]
        assert known == list(range(known[0], 1000))
        assert 10 <= len(known) <= 20

    def test_an_id_that_is_used_again_for_a_part_is_none_any_more(self) -> None:
        whole = Whole()
        whole.add(b"1")
        whole.discard(b"1")
        whole.discard(b"2")
        assert b"1" not in whole


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many keys each question to the memory was about."""
    seen: list[int] = []
    find = SqliteIds.find

    async def counted(self: SqliteIds, keys: Sequence[bytes]) -> list[bytes | None]:
        seen.append(len(keys))
        return await find(self, keys)

    monkeypatch.setattr(SqliteIds, "find", counted)
    return seen


async def test_a_message_that_stayed_one_is_not_looked_up(on_disk: Memory, looked_up: list[int]) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        told = (await client.converse(SUBMIT, submit_body(b"Merhaba", registered=1))).body.rstrip(b"\0").decode()
        telling = asyncio.ensure_future(tell(centre, centre.messages[-1]))
        assert (await take(client))["id"] == told
        assert await telling == ROK
        assert looked_up == []


async def test_another_worker_looks_it_up(on_disk: Memory, looked_up: list[int]) -> None:
    async with smsc() as centre, on_disk.worker(centre) as one, one.client() as client:
        centre.behaviour.receipts = False
        await client.converse(SUBMIT, submit_body(b"Merhaba", registered=1))
        async with on_disk.worker(centre) as other, other.client() as receiver:
            telling = asyncio.ensure_future(tell(centre, centre.messages[-1], bind=1))
            await take(receiver)
            assert await telling == ROK
        assert looked_up == [2]


async def test_an_id_that_the_smsc_uses_again_for_a_part_is_held_back(on_disk: Memory) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        for _ in range(2):
            await client.converse(SUBMIT, submit_body(b"Merhaba", registered=1))
        used = {one.message_id for one in centre.messages}
        centre._ids -= 2  # it was started again, say
        told, (first, last) = await submitted(centre, client, registered=1)
        assert {first.message_id, last.message_id} == used
        assert await tell(centre, last) == ROK
        await nothing_more(client)
        telling = asyncio.ensure_future(tell(centre, first))
        assert (await take(client))["id"] == told
        assert await telling == ROK
