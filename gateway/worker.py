"""One worker: a loop with its doors, its pipeline and its connections onward; and the way it leaves.

Everything a worker has it has alone. It shares with its siblings only the listening sockets, the index and the files.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from math import isnan
from typing import Any, Final

import uvloop

from filters.key import Fingerprinter
from filters.link import LinkMinter
from gateway import limits, log
from gateway.config import CARRIES, LINK_PATH, MAIL_PROTOCOLS, Bind, Config, Listener
from gateway.door import Door
from gateway.index.changes import Follower
from gateway.index.embedded import SqliteIndex
from gateway.index.filter import FilteredIndex
from gateway.index.interface import Believed, ConsentIndex, Fault, Status
from gateway.index.shared import RedisIndex
from gateway.index.snapshot import FILE
from gateway.journal import Journal
from gateway.keys import Keys
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.policy.listener import PolicyDoor
from gateway.registry_client import RegistryClient
from gateway.smpp import handsets_redis, handsets_sqlite, ids_sqlite
from gateway.smpp.fold import Folds
from gateway.smpp.handsets import Handsets
from gateway.smpp.ids import IdKeys, MessageIds
from gateway.smpp.ids_redis import RedisIds
from gateway.smpp.listener import SmppDoor
from gateway.smpp.mo import Refusals, speakers
from gateway.smpp.pool import SmscPool
from gateway.smtp.delivered import READ, WRITE, Delivered
from gateway.smtp.delivered_redis import RedisStore
from gateway.smtp.delivered_sqlite import SqliteStore
from gateway.smtp.listener import SmtpDoor
from gateway.smtp.signing import Keyring
from gateway.smtp.upstream import SmtpUpstream
from gateway.streams import StreamTable

STATUS_NONCE_OCTETS: Final = 8
_CANNOT: Final = {READ: "unreadable", WRITE: "unwritable"}


def open_index(config: Config, keys: Keys) -> ConsentIndex:
    """The index that a configuration names; inside a running loop."""
    believed = Believed(Fingerprinter(keys.fingerprint).check_value(), config.index.age_max_s)
    if config.index.server is None:
        return SqliteIndex(config.data_dir, believed)
    return RedisIndex(config.index.server, believed)


def _filtered(config: Config, keys: Keys, metrics: Metrics) -> ConsentIndex:
    """The index, with the filter before it that a configuration may ask for."""
    index = open_index(config, keys)
    if config.index.server is None or not config.index.filter:
        return index
    key_check = Fingerprinter(keys.fingerprint).check_value()
    return FilteredIndex(index, Follower(config.index.server, config.data_dir / FILE, key_check), metrics)


def _open_delivered(config: Config, keys: Keys, metrics: Metrics) -> Delivered:
    """The memory of mixed endings that a configuration names; inside a running loop."""
    if config.delivered is not None:
        return Delivered(RedisStore(config.delivered), metrics, key=keys.fingerprint)
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Delivered(SqliteStore(config.data_dir / "delivered.sqlite", time.time), metrics, key=keys.fingerprint)


def _open_handsets(config: Config, keys: Keys) -> Handsets:
    """The memory of handsets, where that of mixed endings is; inside a running loop."""
    if config.delivered is not None:
        return Handsets(handsets_redis.RedisStore(config.delivered), key=keys.fingerprint)
    return Handsets(handsets_sqlite.SqliteStore(config.data_dir / handsets_sqlite.FILE), key=keys.fingerprint)


def _open_ids(config: Config) -> MessageIds:
    """The memory of message ids, beside the others; inside a running loop."""
    if config.delivered is not None:
        return RedisIds(config.delivered)
    return ids_sqlite.SqliteIds(config.data_dir / ids_sqlite.FILE)


def has_other_key(config: Config, keys: Keys) -> bool:
    """Whether the index was written with another fingerprint key: all of it would read as "not listed".

    One look, before anybody is served; an index that cannot be reached is no reason not to begin.
    """

    async def look() -> bool:
        index = open_index(config, keys)
        await index.start()
        try:
            return Fault.OTHER_KEY in index.status.faults
        finally:
            await index.close()

    return asyncio.run(look())


def run(config: Config, keys: Keys, number: int, sockets: Mapping[Bind, socket.socket], status: socket.socket) -> None:
    """Work until SIGTERM or SIGINT. `sockets` listen already; `status` is one end of a datagram pair."""
    log.configure(f"worker-{number}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(config, keys, number, sockets, status))


async def _main(
    config: Config, keys: Keys, number: int, sockets: Mapping[Bind, socket.socket], status: socket.socket
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    worker = Worker(config, keys, number)
    await worker.start(sockets)
    # Modules and configuration stay for ever: the collector need not walk through them. What a message leaves behind
    # does not hold itself (tests see to that), so it is freed without it, and looking often would find nothing.
    gc.collect()
    gc.freeze()
    gc.set_threshold(limits.GC_OBJECTS, 20, 20)
    status.setblocking(False)
    loop.add_reader(status.fileno(), worker.answer_status, status)
    log.logger.info("worker ready", index=str(worker.index.status.reason or "believed"))
    await stop.wait()
    log.logger.info("worker draining")
    await worker.stop()
    loop.remove_reader(status.fileno())


class Worker:
    """The parts of one worker."""

    def __init__(self, config: Config, keys: Keys, number: int) -> None:
        self.metrics = Metrics(config.upstreams)
        self.index = _filtered(config, keys, self.metrics)
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._journal = Journal(config.data_dir / "journal", number)
        self._pipeline = Pipeline(
            self.index,
            self._journal,
            self.metrics,
            Fingerprinter(keys.fingerprint),
            LinkMinter(keys.link, keys.link_current),
            config.registry.public_url + LINK_PATH,
        )
        self._keyring = Keyring(config.dkim)
        carries_mail = any(one.protocol in MAIL_PROTOCOLS for one in config.listeners)
        self._delivered = _open_delivered(config, keys, self.metrics) if carries_mail else None
        self._mail = {
            name: SmtpUpstream(upstream, self.metrics, hostname=_hostname(config))
            for name, upstream in config.upstreams.items()
            if upstream.protocol == "smtp"
        }
        self._refusals: Refusals | None = None
        self._ids: MessageIds | None = None
        self._folds: Folds | None = None
        self._pools: dict[str, SmscPool] = {}
        if any(CARRIES[one.protocol] == "smpp" for one in config.listeners):
            registry = RegistryClient(config.registry.internal_url, keys.internal)
            handsets = _open_handsets(config, keys)
            self._refusals = Refusals(config, handsets, registry, self._pipeline, self.metrics)
            ids = self._ids = _open_ids(config)
            id_keys = IdKeys(keys.fingerprint)
            self._folds = Folds(ids, keys.fingerprint, speakers(config))
            self._pools = {
                name: SmscPool(upstream, config.accounts.values(), ids, id_keys, self.metrics, self._refusals)
                for name, upstream in config.upstreams.items()
                if upstream.pool is not None
            }
        self._doors = [(listener, self._door(listener)) for listener in config.listeners]
        self._servers: list[asyncio.Server] = []
        self._draining = False
        self._faults: frozenset[Fault] = frozenset()  # as they were logged last
        self._ticker = self._loop.call_soon(self._tick)

    async def start(self, sockets: Mapping[Bind, socket.socket]) -> None:
        """Reach for the index and the next hops, then open the doors; what is away is no reason to stay closed."""
        self._config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        starting = [self.index.start(), *(door.start() for _, door in self._doors)]
        if self._delivered is not None:
            starting.append(self._delivered.start())
        if self._refusals is not None:
            starting.append(self._refusals.start())
        if self._ids is not None:
            starting.append(self._ids.start())
        starting += [pool.start() for pool in self._pools.values()]
        await asyncio.gather(*starting)
        for listener, door in self._doors:
            sock = sockets[listener.bind].dup()
            serve = self._loop.create_unix_server if sock.family == socket.AF_UNIX else self._loop.create_server
            self._servers.append(await serve(door.protocol, sock=sock, backlog=1024))

    async def stop(self) -> None:
        """Take nothing new, end what is under way, let go."""
        self._draining = True
        for server in self._servers:
            server.close()
        await asyncio.gather(*(door.drain(limits.DRAIN_S) for _, door in self._doors))
        await asyncio.gather(*(upstream.close() for upstream in self._mail.values()))
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
        self._ticker.cancel()
        if self._refusals is not None:
            await self._refusals.close()
        if self._folds is not None:
            await self._folds.close()
        if self._ids is not None:
            await self._ids.close()
        if self._delivered is not None:
            await self._delivered.close()
        await self.index.close()
        self._journal.close()

    def answer_status(self, status: socket.socket) -> None:
        """Tell whoever asks how this worker is; that it can is proof that its loop turns."""
        with suppress(BlockingIOError):
            nonce = status.recv(STATUS_NONCE_OCTETS)
            status.send(nonce + json.dumps(self.status()).encode())

    def status(self) -> dict[str, Any]:
        """`why`: what keeps this worker from deciding and sending; empty: ready."""
        why = []
        if self._draining:
            why.append("draining")
        if self.index.status.reason is not None:
            why.append(self.index.status.reason.value)
        if self._delivered is not None:
            why += [f"delivered_{_CANNOT[what]}" for what in self._delivered.faults]
        if self._mail and not any(upstream.up for upstream in self._mail.values()):
            why.append("no_next_hop")
        return {"why": why, "metrics": self.metrics.snapshot()}

    def _door(self, listener: Listener) -> Door[Any]:
        config = self._config
        carries = CARRIES[listener.protocol]
        ends = {name for name, upstream in config.upstreams.items() if upstream.protocol == carries}
        ends |= {""} if listener.protocol == "policy" else set()  # the mail goes on by itself
        streams = StreamTable(rule for rule in config.rules if rule.stream.upstream in ends)
        if listener.protocol == "policy":
            return PolicyDoor(listener, self._pipeline, streams, self.metrics)
        if carries == "smtp":
            assert self._delivered is not None
            return SmtpDoor(
                listener, config, self._pipeline, streams, self.metrics, self._mail, self._delivered, self._keyring
            )
        return SmppDoor(
            listener, config, self._pipeline, streams, self.metrics, self._refusals, self._folds, pools=self._pools
        )

    def _tick(self) -> None:
        """Once a second: what is known of the world without traffic."""
        self._ticker = self._loop.call_later(limits.TICK_S, self._tick)
        self.index.poll()
        self._journal.seal()
        if self._delivered is not None:
            self._delivered.poll()
        if self._refusals is not None:
            self._refusals.poll()
        if self._ids is not None and self._folds is not None:
            self._ids.poll()
            self._folds.poll()
        self._keyring.look(self._loop.time())
        status, metrics = self.index.status, self.metrics
        metrics.index_up = int(status.reason is None)
        metrics.index_age_s = status.age_s
        metrics.index_faults = {fault: int(fault in status.faults) for fault in Fault}
        if status.faults != self._faults:
            self._faults = status.faults
            _log_faults(status)
        for name, upstream in self._mail.items():
            metrics.upstream_up[name] = int(upstream.up)


def _log_faults(status: Status) -> None:
    """One line for each change."""
    if status.faults:
        faults, age_s = sorted(status.faults), None if isnan(status.age_s) else round(status.age_s)
        answer = str(status.reason or "a part cannot be asked")
        log.logger.warning("consent index", faults=faults, answer=answer, epoch=status.epoch, unheard_of_s=age_s)
    else:
        log.logger.info("consent index believed", epoch=status.epoch)


def _hostname(config: Config) -> str:
    """What the next hops are told at EHLO: the name of the first mail listener."""
    return next((one.hostname for one in config.listeners if one.protocol in MAIL_PROTOCOLS), "localhost")
