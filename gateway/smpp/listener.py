"""The SMPP door: sockets to sessions, sessions to submits.

    client ──octets──▶ Connection ──▶ session.Session ──events──▶ submit.take ──▶ upstream.Smsc
                            ◀──────────── answers ───────────────────┘

Each bind of a client opens its own at the SMSC and is answered when that one is; or it shares those that the worker has
there (`pool`). If the SMSC goes away later, the client stays bound: what it submits is told ESME_RSYSERR until the SMSC
is back. Bounds per account hold for each worker.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from types import MappingProxyType

from filters.model import Stream
from gateway import limits
from gateway.config import Account, Config, Listener, Upstream
from gateway.door import Door
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.smpp.connection import Connection
from gateway.smpp.esme import Esme
from gateway.smpp.fold import Folds
from gateway.smpp.link import PROTOCOL, Link
from gateway.smpp.mo import Refusals
from gateway.smpp.pdu import bind_body
from gateway.smpp.pool import SmscPool
from gateway.smpp.routes import Route
from gateway.smpp.submit import Way
from gateway.streams import StreamTable
from gateway.trust import Trust


class SmppDoor(Door[Connection]):
    """One `[[listener]]` with `protocol = "smpp"`."""

    def __init__(
        self,
        listener: Listener,
        config: Config,
        pipeline: Pipeline,
        streams: StreamTable,
        metrics: Metrics,
        refusals: Refusals | None = None,
        folds: Folds | None = None,
        pools: Mapping[str, SmscPool] = MappingProxyType({}),
    ) -> None:
        super().__init__(
            PROTOCOL, listener, metrics, sessions_max=limits.SMPP_SESSIONS_MAX, sweep_s=limits.SMPP_SWEEP_S
        )
        self.pipeline = pipeline
        self.streams = streams
        self.config = config
        self.refusals = refusals
        self._folds = folds
        self._pools = pools
        self.links: set[Link] = set()
        self._esmes: dict[bytes, Esme] = {}
        self._ways: dict[Stream, Way] = {}
        self._trusts: dict[str, Trust] = {}
        self._reference = random.getrandbits(16)

    def connection(self) -> asyncio.Protocol:
        """One session."""
        return Connection(self)

    # for connections

    def esme(self, account: Account) -> Esme:
        """What the binds of an account share."""
        known = self._esmes.get(account.system_id)
        if known is None:
            known = self._esmes[account.system_id] = self._new_esme(account)
        return known

    def _new_esme(self, account: Account) -> Esme:
        folds, upstream = self._folds, self.config.upstreams[account.upstream]
        return Esme(account, self.now(), self._receipts_lost, folds.of(account, upstream) if folds else None)

    def way(self, stream: Stream) -> Way:
        """What holds for all messages of a stream."""
        known = self._ways.get(stream)
        if known is None:
            known = self._ways[stream] = Way(stream, self.config.upstreams[stream.upstream].reserve)
        return known

    def onward(self, client: Connection, account: Account, command: int, rest: bytes) -> Link | Route:
        """What stands behind a bind of `account`; `command` and `rest` are the bind's (`pdu.walk_bind`)."""
        upstream = self.config.upstreams[account.upstream]
        if upstream.pool is not None:
            return self._pools[upstream.name].route(client, account.system_id, command)
        body = bind_body(account.upstream_system_id, account.upstream_password, rest)
        link = Link(upstream, self.metrics, client, command, body, self.ended, self.trust(upstream))
        self.links.add(link)
        return link

    def trust(self, upstream: Upstream) -> Trust | None:
        """Whom binds at `upstream` trust; None: they use no TLS."""
        if upstream.tls == "none":
            return None
        return self._trusts.setdefault(upstream.name, Trust(upstream))

    def reference(self) -> int:
        """The next of 65,536: two messages to one handset never share one within its patience."""
        self._reference = self._reference + 1 & 0xFFFF
        return self._reference

    def ended(self, link: Link) -> None:
        """Nothing is left of `link`."""
        self.links.discard(link)
        self.note_empty()

    # what a door has beside sessions

    def is_empty(self) -> bool:
        return super().is_empty() and not self.links

    def abort(self) -> None:
        super().abort()
        for link in list(self.links):
            link.abort()

    def sweep(self, now: float) -> None:
        super().sweep(now)
        for link in list(self.links):
            link.sweep(now)
        for esme in self._esmes.values():
            esme.sweep(now)

    def _receipts_lost(self, receipts: int) -> None:
        """Nobody took them in time."""
        for _ in range(receipts):
            self.count("receipt_lost")
