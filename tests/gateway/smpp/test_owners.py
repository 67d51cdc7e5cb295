"""Whose a message is, in both forms of the memory, and what a client may ask about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from filters.index_url import parse
from gateway import limits
from gateway.smpp.ids import MessageIds, Unavailable
from gateway.smpp.ids_redis import RedisIds
from gateway.smpp.ids_sqlite import FILE, SqliteIds
from tests.conftest import RedisServer, eventually_async
from tests.gateway.smpp.pooled import (
    OTHER_LOGIN,
    Centre,
    pooled,
    receipt_body,
    sent,
    silent,
    taken,
)
from tests.gateway.smpp.support import (
    CANCEL,
    QUERY,
    REPLACE,
    RESP,
    smsc,
)

ROK, SYSERR, INVMSGID, T_APPN, R_APPN = 0, 8, 0x0C, 0x64, 0x66


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, patient: None) -> None:
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MIN", 0.02)
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MAX", 0.1)
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.02)


# what asks about a message


def cancel_body(message_id: bytes, service_type: bytes = b"") -> bytes:
    return service_type + b"\0" + message_id + b"\0\5\0ORNEK\0\1\1905550000001\0"


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (QUERY, lambda ident: ident + b"\0\5\0ORNEK\0"),
        (CANCEL, cancel_body),
        (CANCEL, lambda ident: cancel_body(ident, b"CMT")),
        (REPLACE, lambda ident: ident + b"\0\5\0OTP\0\0\0\0\0\3new"),
    ],
)
async def test_i3_only_the_own_messages_are_asked_about(
    tmp_path: Path, command: int, body: Callable[[bytes], bytes]
) -> None:
    async with (
        smsc() as centre,
        pooled(tmp_path, centre.port) as gate,
        gate.bound() as marka,
        gate.bound(OTHER_LOGIN) as banka,
    ):
        ident = (await marka.say(source=b"OTP")).body[:-1]
        for wrong in (ident, b"9999", b"", b"9" * 65):
            refused = await banka.converse(command, body(wrong))
            assert (refused.command, refused.status, refused.body) == (command | RESP, INVMSGID, b"")
        assert centre.asked == []
        assert (await marka.converse(command, body(ident))).status == ROK
        assert centre.asked == [(command, body(ident))]


async def test_a_message_in_hexadecimal_is_asked_about_as_it_was_told(tmp_path: Path) -> None:
    async with smsc() as centre, pooled(tmp_path, centre.port, message_id="hex_in_response") as gate:
        centre.behaviour.hexadecimal = True
        async with gate.bound() as marka:
            ident = (await marka.say(source=b"OTP")).body
            assert ident == b"000F4241\0"
            assert (await marka.converse(QUERY, ident + b"\5\0OTP\0")).status == ROK
            assert centre.asked == [(QUERY, ident + b"\5\0OTP\0")]


# the memory


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.interop)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], MessageIds]:
    """Another worker's each time it is called."""
    if request.param == "sqlite":
        return lambda: SqliteIds(tmp_path / FILE)
    server: RedisServer = request.getfixturevalue("redis_server")
    return lambda: RedisIds(parse(server.url))


async def test_i5_a_receipt_finds_its_account_in_another_worker_and_after_a_restart(
    tmp_path: Path, store: Callable[[], MessageIds]
) -> None:
    async with Centre() as centre:
        async with pooled(tmp_path, centre.port, store=store()) as gate, gate.bound() as marka:
            await sent(marka, centre, b"7001")
        async with (
            Centre() as again,
            pooled(tmp_path, again.port, store=store()) as gate,
            gate.bound() as marka,
            gate.bound(OTHER_LOGIN) as banka,
        ):
            sequence = again.deliver(receipt_body(b"7001"))
            assert (await taken(marka)).body == receipt_body(b"7001")
            assert (await again.answer(sequence)).status == ROK
            await silent(banka)


async def test_an_answer_at_one_worker_frees_a_receipt_that_waits_at_another(
    tmp_path: Path, store: Callable[[], MessageIds], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMPP_ORPHAN_S", 30.0)
    async with (
        Centre() as one,
        Centre() as two,
        pooled(tmp_path, one.port, store=store()) as first,
        pooled(tmp_path, two.port, store=store()) as second,
        first.bound() as sender,
        second.bound() as receiver,
    ):
        sequence = two.deliver(receipt_body(b"7001"))
        await eventually_async(lambda: second.metrics.smpp_orphans["smsc"] == 1)
        await sent(sender, one, b"7001")
        assert (await taken(receiver)).body == receipt_body(b"7001")
        assert (await two.answer(sequence)).status == ROK


class Failing(SqliteIds):
    """A store that can be told to fail."""

    failing = False

    async def note(self, entries: Sequence[tuple[bytes, bytes]], keep_s: int | None = None) -> None:
        if self.failing:
            raise Unavailable("invented fault")
        await super().note(entries, keep_s)

    async def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        if self.failing:
            raise Unavailable("invented fault")
        return await super().find(keys)


async def test_i4_a_memory_that_fails_costs_no_message_and_no_receipt(tmp_path: Path) -> None:
    ids = Failing(tmp_path / FILE)
    async with (
        Centre() as centre,
        pooled(tmp_path, centre.port, store=ids) as gate,
        gate.bound() as marka,
        gate.bound(OTHER_LOGIN) as banka,
    ):
        await sent(marka, centre, b"7001")
        ids.failing = True
        await sent(marka, centre, b"7002")
        assert gate.errors("id_unwritten") == 1
        sequence = centre.deliver(receipt_body(b"7001"))
        assert (await centre.answer(sequence)).status == T_APPN
        assert (await marka.converse(QUERY, b"7001\0\5\0OTP\0")).status == SYSERR
        sequence = centre.deliver(receipt_body(b"7002"))
        assert (await taken(marka)).body == receipt_body(b"7002"), "this worker knows what it could not write"
        assert (await centre.answer(sequence)).status == ROK
        ids.failing = False
        key = gate.pool.owners.key(gate.pool.hosts[0], b"7002")

        async def is_written() -> bool:
            return await ids.find([key]) == [b"marka\x007002"]

        await eventually_async(is_written, within=90)
        await silent(banka)


async def test_i7_what_could_not_be_written_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_NOTES_MAX", 1)
    ids = Failing(tmp_path / FILE)
    async with Centre() as centre, pooled(tmp_path, centre.port, store=ids) as gate, gate.bound() as marka:
        ids.failing = True
        await sent(marka, centre, b"7001")
        await sent(marka, centre, b"7002")
        assert gate.errors("id_unwritten") == 2
        centre.deliver(receipt_body(b"7001"))
        assert (await taken(marka)).body == receipt_body(b"7001")
        sequence = centre.deliver(receipt_body(b"7002"))
        assert (await centre.answer(sequence)).status == T_APPN


async def test_i7_questions_to_the_memory_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_FINDS_MAX", 0)
    async with Centre() as centre, pooled(tmp_path, centre.port) as gate, gate.bound():
        sequence = centre.deliver(receipt_body(b"7001"))
        assert (await centre.answer(sequence)).status == T_APPN


async def test_i4_a_fault_of_our_own_is_one_deliverys_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Centre() as centre, pooled(tmp_path, centre.port) as gate, gate.bound() as marka:
        await sent(marka, centre, b"7001")
        with monkeypatch.context() as broken:
            broken.setattr("gateway.smpp.spelling.read", lambda *_: 1 // 0)
            sequence = centre.deliver(receipt_body(b"7001"))
            assert (await centre.answer(sequence)).status == T_APPN
        assert gate.errors("internal") == 1
        centre.deliver(receipt_body(b"7001"))
        assert (await taken(marka)).body == receipt_body(b"7001")
