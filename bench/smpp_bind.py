"""One transceiver of the load generator: messages out, answers in, receipts answered, some messages timed.

What comes in is taken run by run (`smpp_wire.run`): as many messages go out with one write as answers came in with one
read, behind the answers to the receipts that came beside them. One message at a time is timed on each bind: the next is
one of those that go out after its answer, drawn by lot.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable

from bench import smpp_wire as wire

SILENCE_S_MAX = 10.0
TIMEOUT = struct.pack("@ll", int(SILENCE_S_MAX), 0)  # SO_RCVTIMEO: cheaper than Python's own, which polls each time

FIRST = 2  # sequence number of the first message; the bind had 1
HEADS_MAX = 64  # kinds of runs that are remembered: lengths of answers and receipts

_RESP = wire.deliver_sm_resp()


class Failure(Exception):
    """The other side did what no load can go on with; the text says what."""


class Bind:
    """`count` messages to go through it, at most `window` at a time; `receipts`: each is followed by one."""

    def __init__(self, port: int, count: int, window: int, out: wire.Ring | wire.Medley, *, receipts: bool) -> None:
        self.answered = 0
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []  # seconds, of the messages that were timed
        self.count = count
        self._left = count
        self._window = window
        self._out = out
        self._awaited = count if receipts else 0
        self._receipted = 0
        self._inbox = wire.Inbox()
        self._takers: dict[bytes, tuple[Callable[[int, int, int, int], None], int]] = {}
        self._answers = b""  # to receipts, before they are sent
        self._sum = 0  # of the two low octets of all sequence numbers answered
        self._ids = 0  # the last two characters of all ids answered, less those in receipts
        self._timed = -1  # the sequence number of the message that is timed
        self._timed_at = 0.0
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_S_MAX)
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.socket.setsockopt(socket.SOL_SOCKET, option, TIMEOUT)

    @property
    def done(self) -> bool:
        return self.answered == self.count and self._receipted >= self._awaited

    def log_in(self, system_id: str, password: str) -> None:
        self.socket.sendall(wire.bind_transceiver(system_id, password, 1))
        status = self._await(wire.RESPONSE | wire.BIND_TRANSCEIVER)
        if status != wire.ESME_ROK:
            raise Failure(f"the bind was refused with 0x{status:08x}")

    def log_out(self) -> None:
        self.socket.sendall(wire.pdu(wire.UNBIND, FIRST + self.count))
        self._await(wire.RESPONSE | wire.UNBIND)
        self.socket.close()

    def begin(self) -> None:
        self._send(min(self._window, self._left))

    def go_on(self) -> None:
        """Take what is there and send as many messages as it makes room for."""
        self._read()
        octets, stop, takers = self._inbox.octets, self._inbox.stop, self._takers
        before, at = self.answered, 0
        while (known := takers.get(head := bytes(octets[at : at + wire.FIXED]))) is not None:
            take, id_stop = known
            count = wire.run(octets, at, stop, head)
            if not count:
                break
            size = int.from_bytes(head[:4], "big")
            take(at, count, size, id_stop)
            at += count * size
        self._inbox.drop(self._walk(at) if at < stop else at)
        if (more := min(self.answered - before, self._left)) or self._answers:
            self._send(more)

    def check(self) -> None:
        """Each message answered once, and each receipt one of theirs: as far as the sums of their numbers tell."""
        if self._sum != wire.low_sum(FIRST, FIRST + self.count):
            raise Failure("answers came for other sequence numbers than were sent")
        if self._receipted != self._awaited:
            raise Failure(f"{self._receipted} receipts came for {self._awaited} messages that asked for one")
        if self._awaited and self._ids:
            raise Failure("receipts came for other messages than were sent")

    # runs

    def _take_answers(self, at: int, count: int, size: int, id_stop: int) -> None:
        """Good ones."""
        octets = self._inbox.octets
        columns = wire.sequences(octets, at, count, size)
        self._sum += (sum(columns[2]) << 8) + sum(columns[3])
        self.statuses[wire.ESME_ROK] += count
        self.answered += count
        if self._awaited:
            self._ids += self._id_sum(at, count, size, id_stop)
        if self._timed >= 0:
            self._look_for_timed(columns)

    def _take_receipts(self, at: int, count: int, size: int, id_stop: int) -> None:
        octets = self._inbox.octets
        self._receipted += count
        self._ids -= self._id_sum(at, count, size, id_stop)
        self._answers += wire.numbered(_RESP, wire.sequences(octets, at, count, size))

    def _id_sum(self, at: int, count: int, size: int, id_stop: int) -> int:
        octets, stop = self._inbox.octets, at + count * size
        return sum(octets[at + id_stop - 2 : stop : size]) * 256 + sum(octets[at + id_stop - 1 : stop : size])

    def _look_for_timed(self, columns: list[bytes | bytearray]) -> None:
        wanted = wire.sequence_label(self._timed)
        low, place = columns[3], -1
        while (place := low.find(wanted[3], place + 1)) >= 0:
            if all(column[place] == octet for column, octet in zip(columns, wanted, strict=True)):
                self.latencies.append(time.monotonic() - self._timed_at)
                self._timed = -1
                return

    # octets

    def _send(self, count: int) -> None:
        self._left -= count
        first = self._out.next
        messages = self._out.take(count) if count else b""
        if count and self._timed < 0:
            self._timed = first + int(random.random() * count)
            self._timed_at = time.monotonic()
        if self._answers:
            messages, self._answers = self._answers + messages, b""
        self.socket.sendall(messages)

    def _read(self) -> None:
        try:
            read = self.socket.recv_into(self._inbox.room())
        except BlockingIOError:
            raise Failure(f"no answer for {SILENCE_S_MAX:g} s") from None
        if not read:
            raise Failure(f"the connection was closed, {self.count - self.answered} messages unanswered")
        self._inbox.stop += read

    def _walk(self, start: int) -> int:
        """PDUs one by one: those of a kind not seen yet, and what else a peer may send. Where the rest begins."""
        octets, done = self._inbox.octets, start
        for at, length, command, status, sequence in wire.walk(octets, self._inbox.stop, start):
            done = at + length
            if command == wire.SUBMIT_SM_RESP and status == wire.ESME_ROK:
                id_stop = octets.find(0, at + wire.BODY_AT, done) - at
                self._remember(at, self._take_answers, id_stop)
                self._take_answers(at, 1, length, id_stop)
            elif command in (wire.SUBMIT_SM_RESP, wire.GENERIC_NACK):
                self.answered += 1
                self.statuses[status] += 1
                self._sum += sequence & 0xFFFF
                self._timed = -1  # a refusal's time is not a message's
            elif command == wire.DELIVER_SM and (place := octets.find(b"id:", at, done)) >= 0:
                id_stop = octets.find(b" ", place, done) - at
                self._remember(at, self._take_receipts, id_stop)
                self._take_receipts(at, 1, length, id_stop)
            elif command in (wire.ENQUIRE_LINK, wire.DELIVER_SM):
                body = b"\0" if command == wire.DELIVER_SM else b""
                self.socket.sendall(wire.pdu(wire.RESPONSE | command, sequence, body))
            elif not command & wire.RESPONSE:
                raise Failure(f"a request of the kind 0x{command:08x}")
        return done

    def _remember(self, at: int, take: Callable[[int, int, int, int], None], id_stop: int) -> None:
        if len(self._takers) < HEADS_MAX:
            self._takers[bytes(self._inbox.octets[at : at + wire.FIXED])] = take, id_stop

    def _await(self, expected: int) -> int:
        """Read until the answer of this kind is here; its status."""
        while True:
            for at, length, command, status, _ in wire.walk(self._inbox.octets, self._inbox.stop):
                if command == expected:
                    self._inbox.drop(at + length)
                    return status
            self._read()
