"""A Redis Cluster on loopback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import redis
from redis.crc import key_slot

from gateway.demo.house import free_ports
from tests.redis_farm.farm import REPLICATION, Farm, room, start_all
from tests.redis_farm.server import RedisServer, fields

# A failover takes about twice as long. Shorter, and a stalled disk passes for a dead master.
NODE_TIMEOUT_MS = 3000
# The servers give a manual failover five seconds.
FAILOVER_AGAIN_S = 6.0


@dataclass(frozen=True, slots=True)
class Node:
    """A line of `CLUSTER NODES`."""

    id: str
    port: int
    flags: frozenset[str]
    master: str  # its id; "-" for a master
    linked: bool
    slots: tuple[str, ...]  # "0-5460"

    @classmethod
    def parse(cls, line: str) -> Node:
        node, address, flags, master, _, _, _, link, *slots = line.split()
        port = int(address.split("@")[0].rsplit(":", 1)[1])
        # A slot on the move ("[7->-…]") belongs where it is.
        owned = tuple(each for each in slots if not each.startswith("["))
        return cls(node, port, frozenset(flags.split(",")), master, link == "connected", owned)


class _ClusterServer(RedisServer):
    """The bus has a port of its own instead of the usual +10,000, which is in the range of outgoing connections."""

    def choose_ports(self) -> None:
        self.port, self.bus_port = free_ports(2)

    def listening(self) -> list[str]:
        # An address it need not learn from the others, so that the first one knows its own, too.
        announced = ["--cluster-announce-ip", "127.0.0.1", "--cluster-port", str(self.bus_port)]
        return [*super().listening(), "--cluster-enabled", "yes", *announced]


class RedisCluster(Farm):
    """`masters` × (1 + `replicas`) servers, the slots shared out evenly.

    `cluster-require-full-coverage` stays yes, the default and so what production has: while one master is away, all
    slots answer CLUSTERDOWN, and a client has to live with it.
    """

    def __init__(
        self,
        program: str,
        directory: Path,
        *options: str,
        masters: int = 3,
        replicas: int = 1,
        keep: bool = False,
        acl: Sequence[str] = (),
    ) -> None:
        self._masters = masters
        timing = ("--cluster-node-timeout", str(NODE_TIMEOUT_MS), *REPLICATION)
        self.servers = [
            _ClusterServer(program, room(directory, f"node-{number}"), *timing, *options, keep=keep, acl=acl)
            for number in range(masters * (1 + replicas))
        ]

    @property
    def url(self) -> str:
        """Names the first masters only; a client has to discover the others."""
        return f"redis+cluster://{','.join(server.address for server in self.servers[: self._masters])}"

    def start(self) -> None:
        start_all(self.servers)
        self._share_slots()
        self._introduce()
        self._assign_replicas()
        self.wait_ok()

    def _share_slots(self) -> None:
        cuts = [16384 * number // self._masters for number in range(self._masters + 1)]
        for number, server in enumerate(self.servers):
            if number < self._masters:
                server.cli("CLUSTER", "ADDSLOTSRANGE", cuts[number], cuts[number + 1] - 1)
            # Distinct from the start: otherwise they first quarrel about who is newer.
            server.cli("CLUSTER", "SET-CONFIG-EPOCH", number + 1)

    def _introduce(self) -> None:
        """Each pair: quicker than to wait for gossip."""
        for number, server in enumerate(self.servers):
            for other in self.servers[number + 1 :]:
                assert isinstance(other, _ClusterServer)
                server.cli("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)

        def acquainted() -> bool:
            everyone = {server.port for server in self.servers}
            return all(
                {node.port for node in nodes} == everyone
                and len(nodes) == len(everyone)
                and all(node.linked or "myself" in node.flags for node in nodes)
                and not any(node.flags & {"handshake", "fail", "fail?", "noaddr"} for node in nodes)
                for nodes in map(self.nodes, self.servers)
            )

        self.until(acquainted, "the nodes of a cluster knowing each other")

    def _assign_replicas(self) -> None:
        for number, server in enumerate(self.servers[self._masters :]):
            server.cli("CLUSTER", "REPLICATE", self.servers[number % self._masters].cli("CLUSTER", "MYID"))

    # what it looks like

    def nodes(self, server: RedisServer) -> list[Node]:
        """The cluster in the eyes of `server`."""
        return [Node.parse(line) for line in server.cli("CLUSTER", "NODES").splitlines()]

    def masters(self) -> list[RedisServer]:
        """Who owns slots, dead or alive, in the order of the slots."""
        owning = sorted((node for node in self._newest_view() if node.slots), key=lambda node: _first_slot(node.slots))
        return [self._server(node.port) for node in owning]

    def owner(self, key: str | bytes) -> RedisServer:
        """Whose slot `key` belongs to."""
        slot = key_slot(key.encode() if isinstance(key, str) else key)
        (owning,) = (node for node in self._newest_view() if any(slot in _range(each) for each in node.slots))
        return self._server(owning.port)

    def replica_of(self, server: RedisServer) -> RedisServer:
        """A living replica of the master `server`."""
        view = self._newest_view()
        (master,) = (node.id for node in view if node.port == server.port)
        found = [self._server(node.port) for node in view if node.master == master]
        living = [replica for replica in found if replica.alive]
        assert living, f"no replica of {server} lives"
        return living[0]

    def is_ok(self) -> bool:
        views = {server.port: self.nodes(server) for server in self.alive()}
        if len({_slots_by_port(view) for view in views.values()}) != 1:
            return False
        owners = {node.port for view in views.values() for node in view if node.slots}
        return (
            len(owners) == self._masters
            and all(self._server(port).alive for port in owners)
            and not any(self._is_doubted(view) for view in views.values())
            and all(self._is_well(server, master=server.port in owners) for server in self.alive())
        )

    def _is_doubted(self, view: list[Node]) -> bool:
        """Somebody alive passes for failed."""
        return any(node.flags & {"fail", "fail?"} and self._server(node.port).alive for node in view)

    def _is_well(self, server: RedisServer, *, master: bool) -> bool:
        cluster, replication = fields(server.cli("CLUSTER", "INFO")), server.info("replication")
        linked = replication["role"] == "master" if master else replication.get("master_link_status") == "up"
        return linked and cluster["cluster_state"] == "ok" and cluster["cluster_slots_ok"] == "16384"

    def _newest_view(self) -> list[Node]:
        """One who was away believes what was true when it left; one who is loading does not answer."""
        views: list[tuple[int, list[Node]]] = []
        for server in self.alive():
            with suppress(redis.RedisError):
                epoch = int(fields(server.cli("CLUSTER", "INFO"))["cluster_current_epoch"])
                views.append((epoch, self.nodes(server)))
        assert views, "no node of the cluster answers"
        return max(views, key=itemgetter(0))[1]

    def _server(self, port: int) -> RedisServer:
        (found,) = (server for server in self.servers if server.port == port)
        return found

    # what happens to it

    def kill(self, server: RedisServer) -> None:
        """`wait_ok` then waits for its replica to take over; `server.start()` brings it back as a replica."""
        server.kill()

    def failover(self, server: RedisServer) -> RedisServer:
        """A replica of the master `server` takes over without a loss, as in an upgrade; returns the new master."""
        successor = self.replica_of(server)
        self.insist(
            lambda: successor.cli("CLUSTER", "FAILOVER"),
            lambda: successor in self.masters(),
            f"{successor} taking over from {server}",
            again_s=FAILOVER_AGAIN_S,
        )
        self.wait_ok()
        return successor


def _range(slots: str) -> range:
    """ "0-5460", or "7"."""
    first, _, last = slots.partition("-")
    return range(int(first), int(last or first) + 1)


def _first_slot(slots: Iterable[str]) -> int:
    return min(each.start for each in map(_range, slots))


def _slots_by_port(view: list[Node]) -> frozenset[tuple[int, tuple[str, ...]]]:
    return frozenset((node.port, node.slots) for node in view if node.slots)
