"""A bind at the SMSC that comes back: opened for a client, opened again when it is lost, ended with the client.

An SMSC may have several hosts: each is tried once, in the order of the configuration, and the first that takes the bind
has it. Where the upstream asks for TLS, that is from the first octet: SMPP has no STARTTLS.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from gateway import limits
from gateway.config import Address, Upstream
from gateway.log import logger
from gateway.metrics import Metrics
from gateway.smpp.congestion import Window
from gateway.smpp.statuses import ESME_ROK, ESME_RSYSERR
from gateway.smpp.upstream import Owner, Smsc
from gateway.trust import Trust

PROTOCOL = "smpp"


class Link:
    """A bind that comes back. `command` and `body` are the bind's, with our own name and password in it."""

    def __init__(
        self,
        upstream: Upstream,
        metrics: Metrics,
        owner: Owner,
        command: int,
        body: bytes,
        ended: Callable[[Link], None],
        trust: Trust | None = None,
    ) -> None:
        self.owner = owner
        self.command = command
        self.body = body
        self.closed = False
        self.refusal = ESME_RSYSERR  # why nobody took the bind when that was tried last
        self.window: Window | None = None  # an SMSC that was too slow is still, when it comes back
        self._upstream = upstream
        self._trust = trust  # None: no TLS
        self._why = ""  # it was not reached; said once in the log
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._sockets: set[Smsc] = set()  # the one that stands, and those that are being left
        self.standing: Smsc | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = ended
        self._first = True  # the client waits for it

    def open(self) -> None:
        """Try once, and tell the owner how it went."""
        self._run(self._open())

    def keep(self) -> None:
        """Try, and try again until it stands; the owner is told of the first attempt."""
        self._run(self._keep())

    @property
    def idle(self) -> bool:
        """It does not stand, and nobody tries: a fault of ours ended that."""
        return not self.closed and self.standing is None and (self._task is None or self._task.done())

    def close(self) -> None:
        """The client is gone: unbind."""
        if self.closed:
            return
        self.closed = True
        if self._task is not None:
            self._task.cancel()
        smsc, self.standing = self.standing, None
        if smsc is not None:
            smsc.leave(self._loop.time())
        self._note_end()

    def abort(self) -> None:
        """Drop every socket."""
        self.close()
        for smsc in list(self._sockets):
            smsc.abort()

    def sweep(self, now: float) -> None:
        for smsc in list(self._sockets):
            smsc.sweep(now)

    # what a socket tells

    def count(self, kind: str) -> None:
        self._metrics.protocol_errors[(PROTOCOL, kind)] += 1

    def seconds(self, seconds: float, times: int) -> None:
        """`times` messages took so long."""
        if times:
            self._metrics.upstream_seconds(self._upstream.name, seconds, times)

    def gone(self, smsc: Smsc) -> None:
        """The socket of `smsc` is closed."""
        self._sockets.discard(smsc)
        self.lost(smsc)
        self._note_end()

    def stand(self, smsc: Smsc, body: bytes) -> None:
        """`smsc` is bound."""
        if self.closed:
            return
        self.standing = smsc
        self._note_up(1)
        self.owner.standing(smsc)
        if self._first:
            self._first = False
            self.owner.opened(ESME_ROK, body)

    def lost(self, smsc: Smsc) -> None:
        """`smsc` takes no more requests."""
        if smsc is not self.standing:
            return
        self.standing = None
        self.count("smsc_lost")
        self._note_up(0)
        self.owner.standing(None)
        if not self.closed:
            self._run(self._reopen())

    def _note_up(self, up: int) -> None:
        """Whether the SMSC is there, as far as this bind knows."""
        self._metrics.upstream_up[self._upstream.name] = up

    # opening

    def _run(self, opening: Coroutine[None, None, None]) -> None:
        self._task = self._loop.create_task(opening)
        self._task.add_done_callback(self._ran)

    def _note_end(self) -> None:
        if self.closed and not self._sockets and (self._task is None or self._task.done()):
            self._ended(self)

    def _ran(self, task: asyncio.Task[None]) -> None:
        """Our own fault in it is logged by the loop's handler, and is temporary for the client (promise I4)."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "binding at an SMSC", "exception": fault})
            self.owner.opened(ESME_RSYSERR, b"")
        self._note_end()

    async def _open(self) -> None:
        status = await self._attempt()
        if status != ESME_ROK:
            self.owner.opened(status, b"")

    async def _keep(self) -> None:
        status = await self._attempt()
        if status != ESME_ROK:
            self.owner.opened(status, b"")
            await self._reopen()

    async def _reopen(self) -> None:
        """Exponential backoff with jitter, until it stands or nobody wants it."""
        delay_s = limits.SMPP_RECONNECT_S_MIN
        while True:
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            if await self._attempt() == ESME_ROK:
                return
            delay_s = min(2 * delay_s, limits.SMPP_RECONNECT_S_MAX)

    async def _attempt(self) -> int:
        """Each host once; the last refusal stands if none takes us, ESME_RSYSERR if none answers."""
        answer = ESME_RSYSERR
        for host in self._upstream.tcp_hosts:
            smsc = Smsc(self, self._loop, host)
            self._sockets.add(smsc)
            try:
                async with asyncio.timeout(limits.SMPP_CONNECT_S):
                    await self._connect(smsc, host)
                    answer = await smsc.bound or answer
                if not smsc.stood:
                    self.count("smsc_refused")
                self._why = ""
            except ssl.SSLCertVerificationError as error:
                self._failed("smsc_certificate", host, error.verify_message)
            except ssl.SSLError as error:
                self._failed("smsc_tls", host, error.reason or str(error))
            except (OSError, TimeoutError):
                self.count("smsc_unreachable")
            finally:
                if not smsc.stood:
                    smsc.abort()
                    self._sockets.discard(smsc)
            if smsc.stood:
                return ESME_ROK
        self._note_up(0)
        self.refusal = answer
        return answer

    async def _connect(self, smsc: Smsc, host: Address) -> None:
        """A socket, in TLS from its first octet where the upstream asks for it. Raises OSError."""
        secured: dict[str, Any] = {}
        if self._trust is not None:
            secured = {
                "ssl": self._trust.context(),
                "server_hostname": self._trust.name(host.host),
                "ssl_shutdown_timeout": limits.SMPP_UNBIND_S,
            }
        await self._loop.create_connection(lambda: smsc, host.host, host.port, **secured)

    def _failed(self, kind: str, host: Address, why: str) -> None:
        """TLS with `host` came to nothing. It is tried again for ever, and told once."""
        self.count(kind)
        if why != self._why:
            self._why = why
            logger.error("SMSC cannot be reached safely", upstream=self._upstream.name, host=str(host), why=why)
