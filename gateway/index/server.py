"""One Redis server of the shared index: the connection to it, made again whenever it is lost, and what it says it is.

A server is believed only as the run that it is: `run` is its replication id while it is a master (`INFO replication`:
master_replid), which changes whenever it starts or is promoted, and also by itself an hour after its last replica left.
So it is asked for when the connection is made and again once a second.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import hiredis

from filters.index_url import Host, IndexUrl
from gateway import limits
from gateway.index.interface import Fault
from gateway.index.wire import Exchange, Refused, Wire
from gateway.log import logger

pack: Any = hiredis.pack_command  # its stub takes tuples of one
INFO: Final = pack(("INFO", "replication"))
_MASTER: Final = re.compile(rb"^role:master\r$", re.MULTILINE)
_RUN: Final = re.compile(rb"^master_replid:([0-9a-f]{40})\r$", re.MULTILINE)
_FAULTS: Final = {
    "LOADING": Fault.LOADING,
    "BUSY": Fault.DOWN,
    "MASTERDOWN": Fault.NOT_MASTER,
    "READONLY": Fault.NOT_MASTER,
    "NOPERM": Fault.NO_PERMISSION,
    "NOAUTH": Fault.NO_PERMISSION,
    "WRONGPASS": Fault.NO_PERMISSION,
    "MOVED": Fault.CLUSTER_DOWN,
    "ASK": Fault.CLUSTER_DOWN,
    "TRYAGAIN": Fault.CLUSTER_DOWN,
    "CLUSTERDOWN": Fault.CLUSTER_DOWN,
}

UNREACHABLE: Final = (OSError, TimeoutError, hiredis.HiredisError)
"""What `Access.reach` and `Wire.call` raise."""


def fault_of(error: object) -> Fault:
    """Of an error reply, or of the exception it became."""
    if not isinstance(error, hiredis.ReplyError | Refused):
        return Fault.DOWN
    return _FAULTS.get(str(error).partition(" ")[0], Fault.MALFORMED)


def run_of(info: bytes) -> bytes:
    """Which run of a server it is that answers INFO so; empty: no master."""
    run = _RUN.search(info)
    return run[1] if run is not None and _MASTER.search(info) is not None else b""


class Access:
    """How servers of one index are connected to: addresses, TLS, login."""

    def __init__(self, url: IndexUrl, username: str, password: str, db: int) -> None:
        self._url = url
        self._tls: ssl.SSLContext | None = None
        self._login: list[bytes] = []
        if password:
            self._login.append(pack(("AUTH", *([username] if username else []), password)))
        if db:
            self._login.append(pack(("SELECT", str(db))))

    @classmethod
    def to_data(cls, url: IndexUrl) -> Access:
        return cls(url, url.username, url.password, url.db)

    @classmethod
    def to_sentinels(cls, url: IndexUrl) -> Access:
        return cls(url, url.sentinel_username, url.sentinel_password, 0)

    async def reach(self, host: Host | None, lost: Callable[[Wire, str], None]) -> Wire:
        """A connection that is logged in, within INDEX_CONNECT_S; None: to the Unix socket. Raises UNREACHABLE."""
        wire = Wire(lost)
        try:
            async with asyncio.timeout(limits.INDEX_CONNECT_S):
                await self._connect(host, wire)
                for command in self._login:
                    await wire.call(command)
        except UNREACHABLE:
            wire.close("not reached")
            raise
        except asyncio.CancelledError:
            wire.close("cancelled")
            raise
        return wire

    async def _connect(self, host: Host | None, wire: Wire) -> None:
        loop = asyncio.get_running_loop()
        if host is None:
            await loop.create_unix_connection(lambda: wire, self._url.path)
        elif self._url.tls:
            await loop.create_connection(lambda: wire, *host, ssl=self._context(), server_hostname=host[0])
        else:
            await loop.create_connection(lambda: wire, *host)

    def _context(self) -> ssl.SSLContext:
        """Made once: reading the machine's authorities takes longer than a handshake. Raises OSError."""
        if self._tls is None:
            context = ssl.create_default_context(cafile=self._url.ca_file or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self._url.certificate_file:
                context.load_cert_chain(self._url.certificate_file, self._url.key_file or None)
            self._tls = context
        return self._tls


class Watcher(Protocol):
    """Who wants to know of a server's coming and going."""

    def came(self, server: Server) -> None: ...
    def went(self, server: Server) -> None: ...


class Server:
    """One server. `wire` is None while it is not connected; `fault` then says why."""

    def __init__(self, access: Access, locate: Callable[[], Awaitable[Host | None]], watcher: Watcher) -> None:
        self.wire: Wire | None = None
        self.run = b""  # empty: not a master, or it would not say
        self.fault: Fault | None = Fault.DOWN
        self.host: Host | None = None
        self._access = access
        self._locate = locate
        self._watcher = watcher
        self._loop = asyncio.get_running_loop()
        self._reaching: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False
        self._renew_at = 0.0  # not before
        self.tried = asyncio.Event()  # the first attempt to reach it is over
        self._told = ""  # what was last logged

    def connect(self) -> None:
        """Reach for it, unless that is done or under way."""
        if self._closed or self.wire is not None or self._reaching is not None:
            return
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._reaching = self._loop.create_task(self._reach())
        self._reaching.add_done_callback(self._reached)

    def renew(self) -> None:
        """Ask again what it is, not more often than it can change."""
        now = self._loop.time()
        if self.wire is not None and now >= self._renew_at:
            self._renew_at = now + limits.INDEX_DOUBT_S
            self.wire.send(Exchange(INFO, 1, now + limits.INDEX_DEADLINE_S, self._said))

    def hang_up(self, why: str) -> None:
        """Close the connection and make a new one."""
        if self.wire is not None:
            self.wire.close(why)

    async def close(self) -> None:
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        if self._reaching is not None:
            self._reaching.cancel()
            await asyncio.gather(self._reaching, return_exceptions=True)
        self.hang_up("closed")

    async def _reach(self) -> None:
        wire: Wire | None = None
        try:
            self.host = await self._locate()
            wire = await self._access.reach(self.host, self._lost)
            (info,) = await wire.call(INFO)
        except UNREACHABLE as error:
            if wire is not None:
                wire.close("not reached")
            self.fault = fault_of(error)
            self._tell(f"{type(error).__name__}: {error}")
            return
        self.wire = wire
        self._said([info])
        if self.wire is not None:
            self._tell("")
            self._watcher.came(self)

    def _reached(self, task: asyncio.Task[None]) -> None:
        self._reaching = None
        self.tried.set()
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "connecting to the index", "exception": fault})
        if self.wire is None:
            self._later()

    def _later(self) -> None:
        if not self._closed and self._reaching is None and self._retry is None:
            self._retry = self._loop.call_later(limits.INDEX_RETRY_S, self.connect)

    def _said(self, replies: list[Any] | None) -> None:
        """It told what it is."""
        if replies is None:
            return
        (info,) = replies
        if not isinstance(info, bytes):
            self.run, self.fault = b"", fault_of(info)
            return
        self.run = run_of(info)
        self.fault = None if self.run else Fault.NOT_MASTER

    def _lost(self, wire: Wire, why: str) -> None:
        if self.wire is not wire:
            return
        self.wire, self.run, self.fault = None, b"", Fault.DOWN
        if not self._closed:
            self._tell(why)
        self._later()
        self._watcher.went(self)

    def _tell(self, why: str) -> None:
        """One line for each change, not for each attempt."""
        if why == self._told:
            return
        self._told = why
        where = f"{self.host[0]}:{self.host[1]}" if self.host else "socket"
        if why:
            logger.warning("index server not reached", server=where, why=why)
        else:
            logger.info("index server reached", server=where)
