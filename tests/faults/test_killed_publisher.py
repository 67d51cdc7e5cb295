"""A publisher is killed at any moment, also in the middle of a command: the next one finishes what it had begun.

What it had acknowledged stays true, and the index is the fold of the ledger again.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random

import pytest

from filters.layout import Family
from registry.service import Registry, Settings, open_registry
from tests.conftest import RedisServer
from tests.faults.publishing import started
from tests.faults.support import WITHIN_S
from tests.registry.support import differences, fingerprint, ret, settings

ACKNOWLEDGED_MAX = 20  # withdrawals before a kill by the clock …
PAUSE_S_MAX = 0.3  # … and this long after them
OCTETS_TENS = 2.0, 6.0  # to Redis before a kill in a command: the first connection, or some builds (as powers of ten)


class Tap:
    """Passes octets on to a Redis; after some of them it kills a process, in the middle of whatever is being sent."""

    def __init__(self, port: int, octets: int) -> None:
        self._port = port
        self._left = octets
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._victim: BaseProcess | None = None
        self._has_victim = threading.Event()
        self.has_killed = threading.Event()
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def is_to_kill(self, victim: BaseProcess) -> None:
        self._victim = victim
        self._has_victim.set()

    def close(self) -> None:
        for one in [self._listening, *self._sockets]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listening.accept()
                theirs = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += (ours, theirs)
                for source, target, counted in ((ours, theirs, True), (theirs, ours, False)):
                    threading.Thread(target=self._pump, args=(source, target, counted), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while octets := source.recv(65536):
                target.sendall(self._taken(octets) if counted else octets)
            target.shutdown(socket.SHUT_WR)

    def _taken(self, octets: bytes) -> bytes:
        """Those that still pass. It is killed before they are sent, so it never hears what became of them."""
        with self._lock:
            passed, self._left = octets[: self._left], max(0, self._left - len(octets))
            if len(passed) < len(octets) and not self.has_killed.is_set():
                self._has_victim.wait()
                assert self._victim is not None
                self._victim.kill()
                self.has_killed.set()
            return passed


class Killer:
    """Kills one publisher after the other, all at work on one ledger and one index."""

    def __init__(self, house: Settings) -> None:
        self.seed = time.time_ns()
        self.acknowledged: list[int] = []
        self._house = house
        self._random = Random(self.seed)
        self._number = 0

    def by_the_clock(self) -> None:
        process, told = self._started(self._house)
        for _ in range(self._random.randrange(1, ACKNOWLEDGED_MAX)):
            assert told.poll(WITHIN_S), f"nothing is acknowledged: {process}"
            self.acknowledged.append(int(told.recv_bytes()))
        time.sleep(self._random.random() * PAUSE_S_MAX)  # the moment is what matters; nothing is waited for
        process.kill()
        self._ended(process, told)

    def in_a_command(self, port: int) -> None:
        with closing(Tap(port, int(10 ** self._random.uniform(*OCTETS_TENS)))) as tap:
            process, told = self._started(replace(self._house, index=tap.url))
            tap.is_to_kill(process)
            assert tap.has_killed.wait(WITHIN_S), f"nothing is sent: {process}"
            self._ended(process, told)

    def _started(self, house: Settings) -> tuple[BaseProcess, Connection]:
        self._number += 1
        return started(house, self._number, self._random.getrandbits(32))

    def _ended(self, process: BaseProcess, told: Connection) -> None:
        """What it acknowledged stands at once; after a start like any other the index is whole."""
        process.join()
        with told, suppress(EOFError):
            while True:
                self.acknowledged.append(int(told.recv_bytes()))
        assert process.exitcode == -signal.SIGKILL
        with open_registry(self._house) as registry:
            self._are_out(registry)
            registry.publisher.ensure()
            registry.publisher.tick()
            assert differences(registry.writer, registry.ledger) == []
            self._are_out(registry)

    def _are_out(self, registry: Registry) -> None:
        """Whoever has been told so is no member any more as a person, and refuses as a merchant."""
        if not self.acknowledged:
            return
        out = [fingerprint(registry.ledger, ret(who)) for who in self.acknowledged]
        assert not any(registry.writer.contains(Family.BIREYSEL, out))
        assert all(registry.writer.contains(Family.TACIR, out))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[Killer], None]]:
    """Tell the seed, and in the end what was acknowledged."""
    killers: list[Killer] = []

    def tell(killer: Killer) -> None:
        killers.append(killer)
        with capsys.disabled():
            print(f"\n  killed publishers: seed {killer.seed}")

    yield tell
    with capsys.disabled():
        print(f"  killed publishers: {sum(len(one.acknowledged) for one in killers)} withdrawals were acknowledged")


def test_i5_kills_with_the_embedded_index(tmp_path: Path, said: Callable[[Killer], None]) -> None:
    killer = Killer(settings(tmp_path / "data"))
    said(killer)
    for _ in range(8):
        killer.by_the_clock()
    assert killer.acknowledged


@pytest.mark.interop
def test_i5_kills_with_a_shared_index(
    tmp_path: Path, redis_server: RedisServer, said: Callable[[Killer], None]
) -> None:
    killer = Killer(settings(tmp_path / "data", redis_server.url))
    said(killer)
    for _ in range(12):
        killer.in_a_command(redis_server.port)
        killer.by_the_clock()
    assert killer.acknowledged


@pytest.mark.interop
def test_i5_kills_with_postgresql(
    tmp_path: Path, redis_server: RedisServer, postgres_url: str, said: Callable[[Killer], None]
) -> None:
    killer = Killer(settings(tmp_path / "data", redis_server.url, postgres_url))
    said(killer)
    for _ in range(2):
        killer.in_a_command(redis_server.port)
        killer.by_the_clock()
    assert killer.acknowledged
