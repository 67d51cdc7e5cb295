"""A Redis master with replicas, watched by Sentinels, on loopback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.redis_farm.farm import REPLICATION, Farm, room, start_all
from tests.redis_farm.server import FARM_SECRET, FARM_USER, RedisServer

SERVICE = "izinli"
DOWN_AFTER_MS = 1000
# Also the least time between two failovers, twice; shorter, and a slow machine gives up half way through one.
FAILOVER_TIMEOUT_MS = 4000


class _Sentinel(RedisServer):
    """`redis-sentinel` is `redis-server --sentinel`; what it watches stands in a file that it rewrites."""

    ready = b"+monitor master"

    def __init__(self, program: str, directory: Path, watched: RedisServer, quorum: int, *, login: bool) -> None:
        super().__init__(program, directory)
        self._watched = watched
        self._quorum = quorum
        self._login = login

    def config(self) -> str:
        lines = [
            f"monitor {SERVICE} 127.0.0.1 {self._watched.port} {self._quorum}",
            f"down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MS}",
        ]
        if self._login:
            lines += [f"auth-user {SERVICE} {FARM_USER}", f"auth-pass {SERVICE} {FARM_SECRET}"]
        return "".join(f"sentinel {line}\n" for line in lines)

    def arguments(self) -> list[str]:
        return ["--sentinel", *self.listening(), "--dir", str(self.directory)]

    def named_master(self) -> int:
        """The port that a client is told."""
        host, port = self.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        assert host == "127.0.0.1"
        return int(port)

    def sees(self, replicas: int, sentinels: int) -> bool:
        """It knows of so many others, and takes the master for alive."""
        words = self.cli("SENTINEL", "MASTER", SERVICE)
        state = dict(zip(words[::2], words[1::2], strict=True))
        seen = (state["flags"], int(state["num-slaves"]), int(state["num-other-sentinels"]))
        return seen == ("master", replicas, sentinels - 1)


class RedisSentinel(Farm):
    """One master, its `replicas`, and `sentinels` that watch it; most of them have to agree."""

    def __init__(
        self,
        program: str,
        directory: Path,
        *options: str,
        replicas: int = 1,
        sentinels: int = 3,
        keep: bool = False,
        acl: Sequence[str] = (),
    ) -> None:
        self.servers = [
            RedisServer(program, room(directory, f"data-{number}"), *REPLICATION, *options, keep=keep, acl=acl)
            for number in range(1 + replicas)
        ]
        self.sentinels = [
            _Sentinel(
                program,
                room(directory, f"sentinel-{number}"),
                self.servers[0],
                sentinels // 2 + 1,
                login=bool(acl),
            )
            for number in range(sentinels)
        ]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(sentinel.address for sentinel in self.sentinels)}/{SERVICE}"

    @property
    def everyone(self) -> list[RedisServer]:
        return [*self.servers, *self.sentinels]

    def start(self) -> None:
        """The Sentinels come last: who does not see a replica at once looks again after ten seconds."""
        start_all(self.servers)
        first, *replicas = self.servers
        for replica in replicas:
            replica.cli("REPLICAOF", "127.0.0.1", first.port)
            # Written down, so that a restart does not make it a master.
            replica.cli("CONFIG", "REWRITE")
        self.until(lambda: all(_follows(replica, first) for replica in replicas), "replicas having caught up")
        start_all(self.sentinels)
        self.wait_ok()

    def master(self) -> RedisServer:
        """Whom the Sentinels name, dead or alive; waits until they agree."""
        found: list[RedisServer] = []

        def agreed() -> bool:
            found[:] = self._named()
            return len(found) == 1

        self.until(agreed, "Sentinels naming one master")
        return found[0]

    def _named(self) -> list[RedisServer]:
        """Whom the living Sentinels name, each once."""
        ports = {sentinel.named_master() for sentinel in self.sentinels if sentinel.alive}
        return [server for server in self.servers if server.port in ports]

    def _leader(self) -> RedisServer | None:
        """The living server that all name, if it knows."""
        named = self._named()
        if len(named) == 1 and named[0].alive and named[0].info("replication")["role"] == "master":
            return named[0]
        return None

    def is_ok(self) -> bool:
        leader = self._leader()
        return (
            leader is not None
            and all(_follows(server, leader) for server in self.alive() if server is not leader)
            and all(
                sentinel.sees(len(self.servers) - 1, len(self.sentinels))
                for sentinel in self.sentinels
                if sentinel.alive
            )
        )

    def kill_master(self) -> RedisServer:
        """Returns whom it killed.

        `start()` brings it back: as the master that it was, an empty one unless `keep`. The Sentinels look at it for
        some ten seconds and then make it a replica.
        """
        master = self.master()
        master.kill()
        return master

    def wait_failover(self) -> RedisServer:
        """After a master was killed or paused: until all Sentinels name one that lives; returns it."""
        self.until(lambda: self._leader() is not None, "Sentinels naming a living master")
        return self.master()

    def failover(self) -> RedisServer:
        """Another one becomes master although nothing is wrong; returns it."""
        old = self.master()
        asked = next(sentinel for sentinel in self.sentinels if sentinel.alive)
        # Refused while another failover is under way, or while no replica passes for good.
        self.insist(
            lambda: asked.cli("SENTINEL", "FAILOVER", SERVICE),
            lambda: self._leader() not in {None, old},
            f"another master than {old}",
            again_s=3 * FAILOVER_TIMEOUT_MS / 1000,
        )
        return self.master()


def _follows(server: RedisServer, master: RedisServer) -> bool:
    state = server.info("replication")
    return (state.get("master_port"), state.get("master_link_status")) == (str(master.port), "up")
