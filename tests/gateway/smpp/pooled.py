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
from tests.gateway.smpp.support import BIND_TRX, LOGIN, UPSTREAM_LOGIN, Client, House, Judge, Streams

OTHER_LOGIN = ("banka", "gizli456")
KEYS = IdKeys(b"k" * 32)


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
        await eventually_async(lambda: self.metrics.smpp_binds["smsc"] == binds, within=30)

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
