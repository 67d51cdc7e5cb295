"""Receipts of split messages when something fails: some that never come, a memory that is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway import limits
from gateway.smpp.fold import Folds
from gateway.smpp.ids_sqlite import SqliteIds
from tests.conftest import eventually_async
from tests.gateway.smpp.folding import (
    KEY,
    LONG,
    Memory,
    nothing_more,
    read,
    receipt_body,
    sqlite_in,
    submitted,
    take,
    tell,
)
from tests.gateway.smpp.pooled import OTHER_LOGIN, pooled
from tests.gateway.smpp.support import CANONICAL, DELIVER, LOGIN, NUMBER, SUBMIT, smsc, submit_body, tlv

ROK, T_APPN = 0, 0x64


async def test_a_receipt_that_never_comes_is_not_waited_for_for_ever(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMPP_FOLD_LOOK_S", 0.0)
    monkeypatch.setattr(limits, "SMPP_FOLD_S", 1000)
    async with smsc() as centre, memory.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        told, segments = await submitted(centre, client, registered=1, tlvs=tlv(0x204, b"\0\7"))
        assert await tell(centre, segments[1], "EXPIRED", error="041") == ROK
        memory.clock.now += 999
        await nothing_more(client)
        memory.clock.now += 1
        heard = await take(client)
        assert (heard["id"], heard.tlvs[0x1E]) == (told, told.encode() + b"\0")
        assert (heard["stat"], heard["err"], heard.tlvs[0x427]) == ("EXPIRED", "041", b"\3")
        assert (heard["submit date"], heard["done date"]) == ("2611251400", "2611251430")
        assert (heard.source, heard.dest, heard.tlvs[0x204]) == (NUMBER, b"ORNEK", b"\0\7")
        assert await tell(centre, segments[0], "UNDELIV") == ROK
        await nothing_more(client)


async def test_of_a_message_that_nothing_is_heard_of_nothing_is_said(
    on_disk: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMPP_FOLD_LOOK_S", 0.0)
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        await submitted(centre, client, registered=1)
        on_disk.clock.now += limits.SMPP_IDS_S + 1
        for folding in gate.door._folds._known.values():  # type: ignore[union-attr]
            folding.look(next(iter(gate.door._esmes.values())), 0.0)
            await asyncio.gather(*folding._tasks)
        await nothing_more(client)


async def test_a_last_receipt_that_was_lost_on_its_way_is_made_up_for(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is killed before it answers, and an SMSC that does not try again."""
    monkeypatch.setattr(limits, "SMPP_FOLD_LOOK_S", 0.0)
    async with smsc() as centre, memory.worker(centre) as gate:
        centre.behaviour.receipts = False
        async with gate.client() as client:
            told, segments = await submitted(centre, client, registered=1)
            assert await tell(centre, segments[0]) == ROK
            centre.sessions[0].ask(DELIVER, receipt_body(segments[1]))
            assert read(await client.hear())["id"] == told
        await eventually_async(lambda: not centre.sessions, within=90)
        memory.clock.now += limits.SMPP_FOLD_AGAIN_S
        async with gate.client() as client:
            heard = await take(client)
            assert (heard["id"], heard["stat"]) == (told, "DELIVRD")
            assert await tell(centre, segments[1]) == ROK
            memory.clock.now += 10 * limits.SMPP_FOLD_AGAIN_S
            await nothing_more(client)


async def test_without_the_memory_one_receipt_comes_by_itself(tmp_path: Path) -> None:
    memory = sqlite_in(tmp_path / "away")
    async with smsc() as centre, memory.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        told, segments = await submitted(centre, client, registered=1)
        assert [one.registered_delivery for one in segments] == [1, 0]
        assert await tell(centre, segments[0]) == T_APPN, "the SMSC brings it again"
        (tmp_path / "away").mkdir()
        answering = asyncio.ensure_future(tell(centre, segments[0]))
        assert (await take(client))["id"] == told
        assert await answering == ROK


async def test_what_cannot_be_written_down_in_the_end_is_accepted_and_written_later(tmp_path: Path) -> None:
    home = tmp_path / "disk"
    home.mkdir()
    memory = sqlite_in(home)
    async with smsc() as centre, memory.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        centre.behaviour.holding = True
        sequence = client.ask(SUBMIT, submit_body(LONG, registered=1))
        await eventually_async(lambda: len(centre.messages) == 2, within=90)
        (folding,) = gate.door._folds._known.values()  # type: ignore[union-attr]
        ids = folding._memory.ids
        assert isinstance(ids, SqliteIds)
        assert ids._database is not None
        ids._database.execute("PRAGMA query_only = 1")
        centre.release()
        answer = await client.hear()
        assert (answer.sequence, answer.status) == (sequence, 0)
        told = answer.body.rstrip(b"\0").decode()
        ids._database.execute("PRAGMA query_only = 0")
        folding.poll()
        segments = sorted(centre.messages, key=lambda one: one.message_id != told)
        assert await tell(centre, segments[0]) == ROK
        answering = asyncio.ensure_future(tell(centre, segments[1]))
        assert (await take(client))["id"] == told
        assert await answering == ROK


async def test_i9_the_file_names_nobody(on_disk: Memory, tmp_path: Path) -> None:
    async with smsc() as centre, on_disk.worker(centre) as gate, gate.client() as client:
        centre.behaviour.receipts = False
        _, segments = await submitted(centre, client, registered=1)
        assert await tell(centre, segments[0]) == ROK
        octets = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert segments[0].message_id.encode() in octets, "it is there"
        for secret in (NUMBER, CANONICAL, b"5550000001", b"ORNEK", b"Merhaba", b"xxxx"):
            assert secret not in octets


async def test_at_a_pooled_smsc_the_client_that_sent_it_hears_once(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port) as gate:
        centre.behaviour.receipts = False
        folds = Folds(gate.pool.owners._store, KEY, {LOGIN[0].encode(), OTHER_LOGIN[0].encode()})
        gate.door._folds = folds
        await gate.stands()
        async with gate.bound(OTHER_LOGIN) as other, gate.bound() as client:
            told, segments = await submitted(centre, client, registered=1)
            assert [one.registered_delivery for one in segments] == [1, 1]
            assert await tell(centre, segments[1], "REJECTD", error="008") == ROK
            await nothing_more(client)
            answering = asyncio.ensure_future(tell(centre, segments[0]))
            heard = await take(client)
            assert await answering == ROK
            assert (heard["id"], heard["stat"], heard["err"]) == (told, "REJECTD", "008")
            await nothing_more(other)
        await folds.close()


async def test_where_an_id_is_each_hosts_own_the_first_segment_alone_asks(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port, id_space="host") as gate:
        centre.behaviour.receipts = False
        gate.door._folds = Folds(gate.pool.owners._store, KEY, {LOGIN[0].encode()})
        await gate.stands()
        async with gate.bound() as client:
            _, segments = await submitted(centre, client, registered=1)
            assert [one.registered_delivery for one in segments] == [1, 0]
