"""SMPP load:  python -m bench.smpp_load --port P --binds 4 --window W --count N --system-id S --password P

Binds transceivers and keeps `window` submit_sm outstanding on each until all are answered: what answers come in with
one read, as many messages go out with one write. Prints one line of JSON and exits with 1 when any answer was not
ESME_ROK, when an answer carried a wrong sequence number, or when none came for ten seconds.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import struct
import sys
import time
from collections import Counter

from bench import smpp_wire as wire

SILENCE_S_MAX = 10.0
TIMEOUT = struct.pack("@ll", int(SILENCE_S_MAX), 0)  # SO_RCVTIMEO: cheaper than Python's own, which polls each time

FIRST = 2  # sequence number of the first message; the bind had 1

SOURCE = "ORNEK"
# With its notice the message must fit one segment (155 characters here): otherwise a gateway would send two for one.
TEXT = b"Bu hafta cay, seker ve zeytinde %20 indirim sizi bekliyor."


class Failure(Exception):
    """The other side did what no load can go on with; the text says what."""


class Bind:
    """One transceiver: `count` messages to go through it, at most `window` at a time."""

    def __init__(self, port: int, count: int, window: int, submit_sm: bytes) -> None:
        self.answered = 0
        self.statuses: Counter[int] = Counter()
        self._left = count
        self._count = count
        self._window = window
        self._ring = wire.Ring(submit_sm, wire.SEQUENCE_AT, wire.sequence_label, first=FIRST)
        self._inbox = wire.Inbox()
        self._head = b""  # of a good answer, when the first has shown its length
        self._sum = 0  # of the two low octets of all sequence numbers answered
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_S_MAX)
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.socket.setsockopt(socket.SOL_SOCKET, option, TIMEOUT)

    @property
    def done(self) -> bool:
        return self.answered == self._count

    def log_in(self, system_id: str, password: str) -> None:
        self.socket.sendall(wire.bind_transceiver(system_id, password, 1))
        status = self._await(wire.RESPONSE | wire.BIND_TRANSCEIVER)
        if status != wire.ESME_ROK:
            raise Failure(f"the bind was refused with 0x{status:08x}")

    def log_out(self) -> None:
        self.socket.sendall(wire.pdu(wire.UNBIND, FIRST + self._count))
        self._await(wire.RESPONSE | wire.UNBIND)
        self.socket.close()

    def begin(self) -> None:
        self._send(min(self._window, self._left))

    def go_on(self) -> None:
        """Take the answers that are there and send as many messages as they make room for."""
        self._read()
        inbox = self._inbox
        answered = 0
        if self._head and (answered := wire.uniform(inbox.octets, inbox.stop, self._head)):
            size = int.from_bytes(self._head[:4], "big")
            _, _, high, low = wire.sequences(inbox.octets, answered, size)
            self._sum += (sum(high) << 8) + sum(low)
            self.statuses[wire.ESME_ROK] += answered
            inbox.drop(answered * size)
        else:
            answered = self._walk()
        self.answered += answered
        if more := min(answered, self._left):
            self._send(more)

    def check(self) -> None:
        """Each message answered once: as far as the sum of their numbers tells."""
        if self._sum != low_sum(FIRST + self._count) - low_sum(FIRST):
            raise Failure("answers came for other sequence numbers than were sent")

    def _send(self, count: int) -> None:
        self._left -= count
        self.socket.sendall(self._ring.take(count))

    def _read(self) -> None:
        try:
            read = self.socket.recv_into(self._inbox.room())
        except BlockingIOError:
            raise Failure(f"no answer for {SILENCE_S_MAX:g} s") from None
        if not read:
            raise Failure(f"the connection was closed, {self._count - self.answered} messages unanswered")
        self._inbox.stop += read

    def _walk(self) -> int:
        """Answers one by one, and what else a peer may send."""
        answered = done = 0
        octets = self._inbox.octets
        for at, length, command, status, sequence in wire.walk(octets, self._inbox.stop):
            done = at + length
            if command in (wire.SUBMIT_SM_RESP, wire.GENERIC_NACK):
                answered += 1
                self.statuses[status] += 1
                self._sum += sequence & 0xFFFF
                if command == wire.SUBMIT_SM_RESP and status == wire.ESME_ROK:
                    self._head = bytes(octets[at : at + wire.FIXED])
            elif command in (wire.ENQUIRE_LINK, wire.DELIVER_SM):
                body = b"\0" if command == wire.DELIVER_SM else b""
                self.socket.sendall(wire.pdu(wire.RESPONSE | command, sequence, body))
            elif not command & wire.RESPONSE:
                raise Failure(f"a request of the kind 0x{command:08x}")
        self._inbox.drop(done)
        return answered

    def _await(self, expected: int) -> int:
        """Read until the answer of this kind is here; its status."""
        while True:
            for at, length, command, status, _ in wire.walk(self._inbox.octets, self._inbox.stop):
                if command == expected:
                    self._inbox.drop(at + length)
                    return status
            self._read()


def low_sum(stop: int) -> int:
    """The sum of the two low octets of all numbers below `stop`."""
    laps, rest = divmod(stop, 0x10000)
    return laps * (0x10000 * 0xFFFF // 2) + rest * (rest - 1) // 2


def load(binds: list[Bind]) -> float:
    """Everything through every bind; the seconds it took."""
    ready = select.epoll()
    by_fd = {bind.socket.fileno(): bind for bind in binds}
    for fd in by_fd:
        ready.register(fd, select.EPOLLIN)
    started = time.monotonic()
    for bind in binds:
        bind.begin()
    busy = len(binds)
    while busy:
        events = ready.poll(SILENCE_S_MAX)
        if not events:
            raise Failure(f"no answer for {SILENCE_S_MAX:g} s")
        for fd, _ in events:
            bind = by_fd[fd]
            bind.go_on()
            if bind.done:
                ready.unregister(fd)
                busy -= 1
    seconds = time.monotonic() - started
    ready.close()
    return seconds


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    submit_sm = wire.submit_sm(options.source, options.msisdn.lstrip("+"), TEXT)
    share, odd = divmod(options.count, options.binds)
    statuses: Counter[int] = Counter()
    try:
        binds = [
            Bind(options.port, share + (number < odd), options.window, submit_sm) for number in range(options.binds)
        ]
        for bind in binds:
            bind.log_in(options.system_id, options.password)
        cpu = time.process_time()
        seconds = load([bind for bind in binds if not bind.done])
        cpu = time.process_time() - cpu
        for bind in binds:
            bind.check()
            bind.log_out()
            statuses += bind.statuses
    except (Failure, OSError, ValueError) as fault:
        print(f"smpp_load: {fault}", file=sys.stderr)
        return 1
    ok = statuses[wire.ESME_ROK]
    others = {f"0x{status:08x}": count for status, count in statuses.items() if status != wire.ESME_ROK}
    print(
        json.dumps(
            {"messages": options.count, "ok": ok, "seconds": round(seconds, 6), "cpu_s": round(cpu, 6)}
            | ({"others": others} if others else {})
        )
    )
    return 0 if ok == options.count else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.smpp_load", description=__doc__)
    for option, default in (("--port", None), ("--binds", 4), ("--window", 10), ("--count", None)):
        parser.add_argument(option, type=int, default=default, required=default is None)
    parser.add_argument("--system-id", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--source", default=SOURCE, help="sender name, at most eleven characters")
    parser.add_argument("--msisdn", default="+905550000001")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
