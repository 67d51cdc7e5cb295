"""What idle binds take in memory: how much the process grows that carries them, each with its mirror at the SMSC."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench import smpp_wire as wire
from bench.process import resident_octets

ANSWER_S_MAX = 30.0
SETTLE_S = 1.0  # the gateway's once-a-second work is done


def growth(port: int, session: int, login: tuple[str, str], binds: int) -> int:
    """Octets that one of a session's processes grows by, the one that grows most, with idle transceivers on `port`."""
    with idle(port, login, 1):  # what is loaded with the first one is not a bind's
        time.sleep(SETTLE_S)
        before = resident_octets(session)
        with idle(port, login, binds):
            time.sleep(SETTLE_S)
            after = resident_octets(session)
    return max(octets - before.get(process, 0) for process, octets in after.items())


@contextmanager
def idle(port: int, login: tuple[str, str], binds: int) -> Iterator[None]:
    """So many transceivers, bound and silent."""
    with ExitStack() as stack:
        for _ in range(binds):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S_MAX))
            peer.sendall(wire.bind_transceiver(*login, 1))
            head = peer.recv(wire.HEADER.size, socket.MSG_WAITALL)
            if len(head) < wire.HEADER.size:
                raise RuntimeError("a bind was not answered")
            length, _, status, _ = wire.HEADER.unpack(head)
            peer.recv(length - wire.HEADER.size, socket.MSG_WAITALL)
            if status != wire.ESME_ROK:
                raise RuntimeError(f"a bind was refused with 0x{status:08x}")
        yield
