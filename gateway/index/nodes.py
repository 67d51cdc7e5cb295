"""Which server holds what: one for all, the one that Sentinel names, or the masters of a cluster.

`state` is the server of the index's state; `of_lane` gives the server of each lane, or is None when `state` has all.
"""

from __future__ import annotations

import asyncio
from binascii import crc_hqx
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from filters.index_url import Host, IndexUrl
from filters.layout import INDEX_KEY, LANES
from gateway import limits
from gateway.index.interface import Fault
from gateway.index.server import UNREACHABLE, Access, Server, Watcher, fault_of, pack
from gateway.index.wire import Wire
from gateway.log import logger

SLOTS: Final = 16384
_CLUSTER_SLOTS: Final = pack(("CLUSTER", "SLOTS"))


def slot_of(hashed: str) -> int:
    """The slot of a key, or of what stands in its braces (Redis Cluster specification: CRC16/XMODEM modulo 16384)."""
    return crc_hqx(hashed.encode("ascii"), 0) % SLOTS


_STATE_SLOT: Final = slot_of(INDEX_KEY)
_LANE_SLOTS: Final = [slot_of(str(lane)) for lane in range(LANES)]


class Nodes(Protocol):
    """The servers of an index."""

    state: Server | None
    of_lane: list[Server | None] | None
    fault: Fault | None  # why there are none
    tried: asyncio.Event  # the first look for them is over

    @property
    def servers(self) -> Iterable[Server]: ...

    def of_key(self, key: str) -> Server | None:
        """The server of a key without braces."""

    def start(self) -> None: ...

    def poll(self) -> None:
        """Look whether all is as it was."""

    def doubt(self, server: Server) -> None:
        """It says that it is not what it was."""

    async def close(self) -> None: ...


def nodes_of(url: IndexUrl, watcher: Watcher) -> Nodes:
    """The servers that `url` leads to; nothing is connected yet. Inside a running loop."""
    if url.kind == "cluster":
        return Cluster(url, watcher)
    return Sentinel(url, watcher) if url.kind == "sentinel" else Single(url, watcher)


class Single:
    """One server."""

    of_lane: list[Server | None] | None = None
    fault: Fault | None = None

    def __init__(self, url: IndexUrl, watcher: Watcher) -> None:
        self._host = url.hosts[0] if url.hosts else None
        self._server = Server(Access.to_data(url), self._locate, watcher)
        self.state: Server | None = self._server
        self.tried = self._server.tried

    @property
    def servers(self) -> Iterable[Server]:
        return (self._server,)

    def of_key(self, key: str) -> Server | None:
        return self._server

    def start(self) -> None:
        self._server.connect()

    def poll(self) -> None:
        self._server.connect()
        self._server.renew()

    def doubt(self, server: Server) -> None:
        server.renew()

    async def close(self) -> None:
        await self._server.close()

    async def _locate(self) -> Host | None:
        return self._host


class Sentinel(Single):
    """The master that Sentinel names. It is asked again once a second: a master that was cut off does not know that
    another one has taken its place."""

    def __init__(self, url: IndexUrl, watcher: Watcher) -> None:
        super().__init__(url, watcher)
        self._sentinels = list(url.hosts)
        self._access = Access.to_sentinels(url)
        self._question: bytes = pack(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.service))
        self._service = url.service
        self._wire: Wire | None = None  # to the first of the list
        self._asking = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._tried: Host | None = None  # whom a sentinel named, and who is not connected yet

    def poll(self) -> None:
        super().poll()
        if self._looking is None and self._server.wire is not None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
            self._looking.add_done_callback(self._looked)

    async def close(self) -> None:
        await self._server.close()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self._hang_up("closed")

    async def _look(self) -> None:
        self._tried = None
        host = await self._locate()
        if host != self._server.host:
            self._server.hang_up("Sentinel names another master")
            self._server.connect()

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled() and (fault := task.exception()) is not None:
            logger.warning("no sentinel answers", why=f"{type(fault).__name__}: {fault}")

    async def _locate(self) -> Host | None:
        """The address of the master; whoever knew it is asked first the next time, unless nobody was there."""
        async with self._asking:
            last: Exception = ConnectionError(f"no sentinel knows {self._service!r}")
            for _ in range(len(self._sentinels)):
                try:
                    found = await self._ask()
                except UNREACHABLE as error:
                    last, found = error, None
                if found is None or found == self._tried:
                    self._next()
                if found is not None:
                    self._tried = found
                    return found
            raise last

    async def _ask(self) -> Host | None:
        if self._wire is None:
            self._wire = await self._access.reach(self._sentinels[0], self._lost)
        (reply,) = await self._wire.call(self._question)
        return None if reply is None else (reply[0].decode("ascii"), int(reply[1]))

    def _next(self) -> None:
        """Another sentinel is asked from now on."""
        self._hang_up("another sentinel is asked")
        self._sentinels.append(self._sentinels.pop(0))

    def _lost(self, wire: Wire, why: str) -> None:
        if self._wire is wire:
            self._wire = None

    def _hang_up(self, why: str) -> None:
        if self._wire is not None:
            self._wire.close(why)


class Cluster:
    """The masters of a Redis Cluster. Its slots are asked for once a second and whenever a server says MOVED."""

    def __init__(self, url: IndexUrl, watcher: Watcher) -> None:
        self.state: Server | None = None
        self.of_lane: list[Server | None] | None = [None] * LANES
        self.fault: Fault | None = Fault.DOWN
        self.tried = asyncio.Event()
        self._access = Access.to_data(url)
        self._watcher = watcher
        self._loop = asyncio.get_running_loop()
        self._seeds = list(url.hosts)
        self._servers: dict[Host, Server] = {}
        self._of_slot: list[Server | None] = [None] * SLOTS
        self._known: Any = None  # the last answer
        self._looking: asyncio.Task[None] | None = None
        self._look_at = 0.0  # not before
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False
        self._told = ""

    @property
    def servers(self) -> Iterable[Server]:
        return self._servers.values()

    def of_key(self, key: str) -> Server | None:
        return self._of_slot[slot_of(key)]

    def start(self) -> None:
        self.poll()

    def poll(self) -> None:
        for server in self._servers.values():
            server.renew()
        self._look_again()

    def doubt(self, server: Server) -> None:
        server.renew()
        self._look_again()

    def came(self, server: Server) -> None:
        self._watcher.came(server)

    def went(self, server: Server) -> None:
        self._watcher.went(server)
        self._look_again()

    async def close(self) -> None:
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*self._leaving, *(server.close() for server in self._servers.values()))

    def _look_again(self) -> None:
        now = self._loop.time()
        if self._looking is None and not self._closed and now >= self._look_at:
            self._look_at = now + limits.INDEX_DOUBT_S
            self._looking = self._loop.create_task(self._look())
            self._looking.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        self.tried.set()
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "asking for a cluster's slots", "exception": fault})
        if self.state is None and not self._closed:
            self._loop.call_later(limits.INDEX_RETRY_S, self._look_again)

    async def _look(self) -> None:
        """Ask one server after the other for the slots, those that are connected first, each in its turn."""
        connected = [host for host, server in self._servers.items() if server.wire is not None]
        others = [host for host in dict.fromkeys([*self._seeds, *self._servers]) if host not in connected]
        last: Exception | None = None
        for host in [*connected, *others]:
            try:
                answer = await self._slots(host)
                self._learn(host, answer)
            except UNREACHABLE as error:
                last = error
                continue
            except (TypeError, ValueError, LookupError) as error:
                last = ConnectionError(
                    f"{host[0]}:{host[1]} describes the cluster in a way that is not understood: {error}"
                )
                continue
            # The next look asks another one: one who was cut off believes what was true before.
            if (server := self._servers.get(host)) is not None:
                del self._servers[host]
                self._servers[host] = server
            self._tell("")
            return
        self.fault = Fault.DOWN if last is None else fault_of(last)
        self._tell(f"{type(last).__name__}: {last}")

    async def _slots(self, host: Host) -> Any:
        server = self._servers.get(host)
        if server is not None and server.wire is not None:
            return (await server.wire.call(_CLUSTER_SLOTS))[0]
        wire = await self._access.reach(host, lambda _wire, _why: None)
        try:
            return (await wire.call(_CLUSTER_SLOTS))[0]
        finally:
            wire.close("asked")

    def _learn(self, asked: Host, answer: Any) -> None:
        """`answer`: [first slot, last slot, [host, port, …] of the master, replicas …] for each range."""
        if answer == self._known:
            return
        ranges: list[tuple[int, int, Host]] = []
        for first, last, master, *_ in answer:
            host = (master[0] or b"").decode("ascii")
            ranges.append((int(first), int(last), (host if host not in ("", "?") else asked[0], int(master[1]))))
        if not ranges:
            raise ValueError("no slots are served")
        owners: list[Host | None] = [None] * SLOTS
        for first, last, host in ranges:
            owners[first : last + 1] = [host] * (last + 1 - first)
        self._known = answer
        self.fault = None
        self._serve(owners)

    def _serve(self, owners: Sequence[Host | None]) -> None:
        wanted = {owner for owner in owners if owner is not None}
        for gone in [host for host in self._servers if host not in wanted]:
            leaving = self._loop.create_task(self._servers.pop(gone).close())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
        for host in wanted:
            if host not in self._servers:
                self._servers[host] = self._server(host)
        found = self._of_slot = [None if owner is None else self._servers[owner] for owner in owners]
        self.of_lane = [found[slot] for slot in _LANE_SLOTS]
        self.state = found[_STATE_SLOT]
        for server in self._servers.values():
            server.connect()

    def _server(self, host: Host) -> Server:
        async def locate() -> Host | None:
            return host

        return Server(self._access, locate, self)

    def _tell(self, why: str) -> None:
        if why != self._told:
            self._told = why
            if why:
                logger.warning("cluster of the index not reached", why=why)
