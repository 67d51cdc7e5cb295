"""A door before a pooled SMSC, with two accounts and everything real but the verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import cast

from gateway.config import Account, Address, Config, Listener, Pool, Upstream
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.smpp.ids import IdKeys, MessageIds
from gateway.smpp.ids_sqlite import FILE, SqliteIds
from gateway.smpp.listener import SmppDoor
from gateway.smpp.mo import Refusals
from gateway.smpp.pool import SmscPool
from gateway.streams import StreamTable
from tests.conftest import eventually_async
from tests.gateway.smpp.support import (
    BIND_TRX,
    DELIVER,
    ENQUIRE,
    LOGIN,
    RESP,
    SUBMIT,
    UPSTREAM_LOGIN,
    Client,
    House,
    Judge,
    Pdu,
    Streams,
    pdu,
    submit_body,
    tlv,
)
from tests.gateway.smpp.test_upstream import Bare

OTHER_LOGIN = ("banka", "gizli456")
KEYS = IdKeys(b"k" * 32)
ROK, RECEIPT = 0, 0x04
TEXT = b"id:%b sub:001 dlvrd:001 submit date:2611251430 done date:2611251430 stat:DELIVRD err:000 text:"


@dataclass
class PooledHouse(House):
    """Its pool as well."""

    pool: SmscPool

    @asynccontextmanager
    async def bound(self, login: tuple[str, str] = LOGIN, command: int = BIND_TRX) -> AsyncIterator[Client]:
        async with self.client(bind=None) as client:
            answer = await client.bind(command, system_id=login[0], password=login[1])
            assert answer.status == 0
            yield client

    async def stands(self, binds: int = 1) -> None:
        await eventually_async(lambda: self.metrics.smpp_binds["smsc"] == binds, within=90)

    def went(self, kind: str, result: str) -> int:
        return self.metrics.smpp_deliveries[kind, result]


def accounts(**addresses: tuple[bytes, ...]) -> dict[bytes, Account]:
    """Both, each with its addresses."""
    found = {}
    for system_id, password in (LOGIN, OTHER_LOGIN):
        one = Account(system_id.encode(), password.encode(), upstream="smsc", addresses=addresses.get(system_id, ()))
        found[one.system_id] = one
    return found


@asynccontextmanager
async def pooled(
    directory: Path,
    *ports: int,
    store: MessageIds | None = None,
    addresses: Mapping[str, tuple[bytes, ...]] = MappingProxyType({}),
    known: Mapping[bytes, Account] | None = None,
    refusals: Refusals | None = None,
    judge: Judge | None = None,
    **pool: object,
) -> AsyncIterator[PooledHouse]:
    """Before the SMSC on `ports`; `pool` are its keys. The memory of ids is a file in `directory`, or `store`."""
    judge, metrics = judge or Judge(), Metrics(["smsc"])
    of_pool = Pool(UPSTREAM_LOGIN[0].encode(), UPSTREAM_LOGIN[1].encode(), binds=1)
    upstream = Upstream(
        "smsc",
        "smpp",
        tuple(Address("127.0.0.1", port) for port in ports),
        pool=replace(of_pool, **pool),  # type: ignore[arg-type]
    )
    known = accounts(**addresses) if known is None else known
    config = SimpleNamespace(accounts=known, upstreams={"smsc": upstream})
    ids = store if store is not None else SqliteIds(directory / FILE)
    await ids.start()
    smscs = SmscPool(upstream, known.values(), ids, KEYS, metrics, refusals)
    entry = Listener("smpp", Address("127.0.0.1", 0), (ip_network("127.0.0.0/8"),), "gate.example.test")
    door = SmppDoor(
        entry,
        cast(Config, config),
        cast(Pipeline, judge),
        cast(StreamTable, Streams()),
        metrics,
        refusals,
        pools={"smsc": smscs},
    )
    await door.start()
    await smscs.start()
    server = await asyncio.get_running_loop().create_server(door.protocol, "127.0.0.1", 0)
    try:
        yield PooledHouse(door, judge, metrics, server.sockets[0].getsockname()[1], smscs)
    finally:
        server.close()
        await door.drain(5)
        await smscs.close()
        await ids.close()


def receipt_body(in_text: bytes = b"", in_tlv: bytes = b"") -> bytes:
    tlvs = tlv(0x1E, in_tlv + b"\0") if in_tlv else b""
    text = TEXT % in_text if in_text else b""
    return submit_body(text, source=b"905550000001", dest=b"ORNEK", ton=5, esm=RECEIPT, tlvs=tlvs)


def mo_body(dest: bytes, text: bytes = b"Merhaba") -> bytes:
    return submit_body(text, source=b"905550000001", dest=dest)


class Centre(Bare):
    """An SMSC of one bind whose every word a test chooses; its own requests are numbered from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = self.taken = 0

    async def take(self, message_id: bytes) -> None:
        """Accept the next submit."""
        submits = await self.submits(self.taken + 1)
        self.say(pdu(SUBMIT | RESP, submits[self.taken].sequence, message_id + b"\0"))
        self.taken += 1

    def deliver(self, body: bytes, command: int = DELIVER) -> int:
        self.asked += 1
        self.say(pdu(command, self.asked, body))
        return self.asked

    async def answer(self, sequence: int, command: int = DELIVER) -> Pdu:
        """Ours to a request of its own."""

        def found() -> list[Pdu]:
            return [one for one in self.heard if one.command == command | RESP and one.sequence == sequence]

        await eventually_async(lambda: bool(found()), within=90)
        (one,) = found()
        return one


async def sent(client: Client, centre: Centre, message_id: bytes) -> None:
    """A message that the SMSC took."""
    sequence = client.submit(source=b"OTP")
    await centre.take(message_id)
    answer = await client.hear()
    assert (answer.command, answer.status, answer.sequence) == (SUBMIT | RESP, ROK, sequence)
    assert answer.body == message_id + b"\0"


async def taken(client: Client, status: int = ROK) -> Pdu:
    """The next delivery, answered."""
    heard = await client.hear()
    assert heard.command == DELIVER
    client.writer.write(pdu(DELIVER | RESP, heard.sequence, b"\0", status=status))
    return heard


async def silent(*clients: Client) -> None:
    """Nothing came."""
    for client in clients:
        assert (await client.converse(ENQUIRE)).command == ENQUIRE | RESP
