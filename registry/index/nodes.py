"""The Redis servers of an index: one, the master that Sentinel names, or the masters of a cluster.

    servers = Servers(url)
    with servers.round() as turn:
        turn.ask(servers.state, "HGETALL", INDEX_KEY)
        turn.run(scripts.LEVEL, servers.of(lane), [lane_key(epoch, lane)], [cursor, run])
        fields, counts = turn.answers()

Nothing is tried again in here, and whatever goes wrong becomes IndexDown: the servers are forgotten and asked for anew
by the next step. Commands go to each server by its own connection, so that one that was demoted or has given lanes away
says so instead of being asked a second time by a library.
"""

from __future__ import annotations

import threading
from binascii import crc_hqx
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import redis.connection
from redis.exceptions import OutOfMemoryError, RedisError

from filters.index_url import Host, IndexUrl
from filters.layout import INDEX_KEY, LANES
from registry.index.interface import IndexDown
from registry.index.rounds import Round, Server, call, info
from registry.limits import INDEX_WAIT_SECONDS
from registry.log import logger

CLIENT_NAME: Final = "izinli-registry"
SLOTS: Final = 16384
UNKNOWN: Final = (None, b"", b"?")  # in CLUSTER SLOTS: the address that was asked

_library: Any = redis.connection  # its connections are not typed


def slot_of(tag: str) -> int:
    """The slot of a hash tag (Redis Cluster specification, "key distribution model": CRC16 XMODEM modulo 16384)."""
    return crc_hqx(tag.encode(), 0) % SLOTS


@dataclass(frozen=True, slots=True)
class Topology:
    """Who has what, as it was when somebody asked."""

    state: Server  # has `izinli:index`
    masters: tuple[Server, ...]
    owners: tuple[Server, ...]  # by lane


class Servers:
    """The servers of one index. Thread-safe. Every method raises IndexDown."""

    def __init__(self, url: IndexUrl) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._known: dict[Host, Server] = {}
        self._topology: Topology | None = None

    def topology(self) -> Topology:
        with self._lock:
            if self._topology is None:
                try:
                    self._topology = self._discovered()
                except (RedisError, OSError) as error:
                    raise IndexDown(_text("Redis", error)) from error
            return self._topology

    @property
    def state(self) -> Server:
        return self.topology().state

    def of(self, lane: int) -> Server:
        return self.topology().owners[lane]

    def forget(self) -> None:
        """Ask anew who is master before the next step."""
        with self._lock:
            self._topology = None
            for server in self._known.values():
                server.close()

    @contextmanager
    def round(self) -> Iterator[Round]:
        """Commands that are answered together. Faults inside become IndexDown, and the servers are forgotten."""
        turn = Round()
        try:
            yield turn
        except (RedisError, OSError) as error:
            turn.close()
            self.forget()
            raise IndexDown(_text("Redis", error)) from error
        except IndexDown:
            turn.close()
            self.forget()
            raise
        except BaseException:
            turn.close()
            raise
        turn.end()

    def runs(self) -> dict[Server, str]:
        """The replication id of each master: which of its lives this is."""
        masters = self.topology().masters
        with self.round() as turn:
            for server in masters:
                turn.ask(server, "INFO", "replication")
            found = {}
            for server, answer in zip(masters, turn.answers(), strict=True):
                about = info(answer)
                if about.get("role") != "master":
                    raise IndexDown(f"{server.name} is no longer a master")
                found[server] = about["master_replid"]
        return found

    def confirm(self) -> None:
        """Ask Sentinel whether it still names the master that is written to. One that was replaced does not know it
        for some seconds, and takes writes that nobody else will see."""
        if self._url.kind != "sentinel":
            return
        try:
            host = self._watched()
        except IndexDown as error:  # no sentinel is no reason to believe that the master is another one
            logger.warning("sentinels_unreachable", error=str(error))
            return
        with self._lock:
            replaced = self._topology is not None and self._known.get(host) is not self._topology.state
        if replaced:
            self.forget()
            raise IndexDown("Sentinel names another master by now")

    def close(self) -> None:
        self.forget()

    def _discovered(self) -> Topology:
        url = self._url
        if url.kind == "cluster":
            return self._cluster()
        host = self._watched() if url.kind == "sentinel" else (url.hosts[0] if url.hosts else ("", 0))
        server = self._server(host)
        self._keep_only([server])
        return Topology(server, (server,), (server,) * LANES)

    def _watched(self) -> Host:
        """The master that one of the sentinels names; whether it is one is seen when it is connected to."""
        url, faults = self._url, []
        for host in url.hosts:
            try:
                name = url.sentinel_username, url.sentinel_password
                found = self._once(host, name, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.service)
            except (RedisError, OSError) as error:
                faults.append(_text(_name(host), error))
                continue
            if found is not None:
                return found[0].decode(), int(found[1])
            faults.append(f"{_name(host)} watches no {url.service}")
        raise IndexDown("no sentinel names the master: " + "; ".join(faults))

    def _cluster(self) -> Topology:
        faults = []
        for host in dict.fromkeys([*self._known, *self._url.hosts]):
            try:
                slots = self._once(host, (self._url.username, self._url.password), "CLUSTER", "SLOTS")
            except (RedisError, OSError) as error:
                faults.append(_text(_name(host), error))
                continue
            owners: list[Server | None] = [None] * SLOTS
            for first, last, (address, port, *_), *_ in slots:
                server = self._server((host[0] if address in UNKNOWN else address.decode(), int(port)))
                owners[first : last + 1] = [server] * (last + 1 - first)
            lanes = [owners[slot_of(str(lane))] for lane in range(LANES)]
            state = owners[slot_of(INDEX_KEY)]
            served = [server for server in [state, *lanes] if server is not None]
            if state is not None and len(served) == LANES + 1:
                masters = tuple(dict.fromkeys(server for server in owners if server is not None))
                self._keep_only(masters)
                return Topology(state, masters, tuple(served[1:]))
            faults.append(f"{_name(host)}: some slots are served by nobody")
        raise IndexDown("the cluster cannot be used: " + "; ".join(faults))

    def _server(self, host: Host) -> Server:
        if host not in self._known:
            login = self._url.username, self._url.password
            clustered = self._url.kind == "cluster"
            name = _name(host) if host[0] else self._url.path
            self._known[host] = Server(
                name, lambda: self._connection(host, login, self._url.db, CLIENT_NAME), clustered=clustered
            )
        return self._known[host]

    def _keep_only(self, servers: Sequence[Server]) -> None:
        for host in [host for host, server in self._known.items() if server not in servers]:
            self._known.pop(host).close()

    def _once(self, host: Host, login: tuple[str, str], *command: str) -> Any:
        """Ask a sentinel or any node of a cluster."""
        connection = self._connection(host, login, 0)
        try:
            connection.connect()
            return call(connection, *command)
        finally:
            connection.disconnect()

    def _connection(self, host: Host, login: tuple[str, str], db: int, name: str | None = None) -> Any:
        url = self._url
        options: dict[str, Any] = {
            "username": login[0] or None,
            "password": login[1] or None,
            "db": db,
            "client_name": name,
            "protocol": 2,
            "socket_timeout": INDEX_WAIT_SECONDS,
            "socket_connect_timeout": INDEX_WAIT_SECONDS,
        }
        if not host[0]:
            return _library.UnixDomainSocketConnection(url.path, **options)
        options |= {"host": host[0], "port": host[1], "socket_keepalive": True}
        if not url.tls:
            return _library.Connection(**options)
        options |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": url.ca_file or None}
        if url.certificate_file:
            options |= {"ssl_certfile": url.certificate_file, "ssl_keyfile": url.key_file or url.certificate_file}
        return _library.SSLConnection(**options)


def _name(host: Host) -> str:
    return f"[{host[0]}]:{host[1]}" if ":" in host[0] else f"{host[0]}:{host[1]}"


def _text(who: str, error: Exception) -> str:
    if isinstance(error, OutOfMemoryError):
        return f"{who} is full: raise its maxmemory; members can still be taken away"
    return f"{who}: {type(error).__name__}: {error}"
