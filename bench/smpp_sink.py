"""An SMSC that says yes:  python -m bench.smpp_sink --port P [--delay-ms N] [--dump FILE]

Every bind is welcome, every submit_sm is answered with ESME_ROK and an id of sixteen hexadecimal digits, and thrown
away. What came in with one read is answered with one write, at once or `--delay-ms` later. Who asks for receipts gets
them behind the answers; one that is not answered with ESME_ROK before the unbind ends the program. `--dump` writes the
submit_sm as they came to FILE, up to 64 kB of them, for a proof that a program in the middle did its work.
"""

from __future__ import annotations

import argparse
import math
import select
import socket
import struct
import sys
import time
from collections import deque
from pathlib import Path

from bench import smpp_wire as wire

BACKLOG = 512
WRITE_S_MAX = 10
DUMP_OCTETS_MAX = 65_536
TIMEOUT = struct.pack("@ll", WRITE_S_MAX, 0)
HEADS_MAX = 64  # kinds of submit_sm that a session remembers
TICKS = 1000  # of the wheel, in a second: epoll waits no more exactly

# What receipts are from and to: a program in the middle looks at neither.
RECEIPT = wire.receipt("ORNEK", "905550000001")
RECEIPT_LABELS = {
    wire.SEQUENCE_AT: wire.sequence_label,
    RECEIPT.index(wire.id_label(0)): wire.id_label,
    RECEIPT.rindex(wire.id_label(0)): wire.id_label,
}
_RECEIPT_ANSWERED = wire.deliver_sm_resp()[: wire.FIXED]


class Broken(Exception):
    """A receipt was not answered as it must be: what was measured is worth nothing."""


class Dump:
    """The file of `--dump`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._octets = 0
        path.write_bytes(b"")

    def keep(self, octets: bytes | bytearray) -> None:
        if self._octets + len(octets) <= DUMP_OCTETS_MAX:
            self._octets += len(octets)
            with self._path.open("ab") as file:
                file.write(octets)


class Wheel:
    """Writes that are due later. All wait equally long, so the ticks that have any stand one behind the other."""

    def __init__(self, delay_s: float) -> None:
        self._delay = delay_s * TICKS
        self._ticks: deque[tuple[int, dict[Session, bytearray]]] = deque()

    def put(self, session: Session, octets: bytearray) -> None:
        """What one session has in a tick leaves in one write."""
        tick = math.ceil(time.monotonic() * TICKS + self._delay)
        if not self._ticks or self._ticks[-1][0] != tick:
            self._ticks.append((tick, {}))
        self._ticks[-1][1].setdefault(session, bytearray()).extend(octets)

    def turn(self) -> float | None:
        """Write what is due; the seconds until there is more, None: nothing waits."""
        while self._ticks:
            left = self._ticks[0][0] / TICKS - time.monotonic()
            if left > 0:
                return left
            for session, octets in self._ticks.popleft()[1].items():
                session.write(octets)
        return None


class Session:
    """One connection of an ESME."""

    def __init__(self, peer: socket.socket, dump: Dump | None, wheel: Wheel | None) -> None:
        self.socket = peer
        self._dump = dump
        self._wheel = wheel
        self._inbox = wire.Inbox()
        self._ring = wire.Ring(wire.submit_sm_resp(), {wire.BODY_AT: wire.id_label}, first=1)
        self._receipts: wire.Ring | None = None  # from the first that is asked for
        self._first = 0  # the number of that one
        self._receipted = 0
        self._sum = 0  # of the two low octets of all receipts answered
        self._heads: dict[bytes, int] = {}  # of a submit_sm, and where its registered_delivery stands
        self._at_once = bytearray()
        self._answers = bytearray()
        self._behind = bytearray()  # receipts, behind the answers

    def go_on(self) -> bool:
        """Take what is there and answer it; False when the connection is over."""
        inbox = self._inbox
        read = self.socket.recv_into(inbox.room())
        if not read:
            return False
        inbox.stop += read
        inbox.drop(self._take())
        due = self._answers + self._behind
        if due and self._wheel is not None:
            self._wheel.put(self, due)
            due = bytearray()
        due = self._at_once + due
        self._at_once.clear()
        self._answers.clear()
        self._behind.clear()
        if due:
            self.socket.sendall(due)
        return True

    def write(self, octets: bytearray) -> None:
        """What was put off; nobody may be there any more."""
        try:
            self.socket.sendall(octets)
        except OSError as fault:
            print(f"smpp_sink: {fault}", file=sys.stderr, flush=True)

    def _take(self) -> int:
        """Run by run, and where there is none known, one PDU. Where the rest begins."""
        octets, stop, at = self._inbox.octets, self._inbox.stop, 0
        while at + wire.HEADER.size <= stop:
            head = bytes(octets[at : at + wire.FIXED])
            registered = self._heads.get(head)
            if registered is None and head != _RECEIPT_ANSWERED:
                length = self._take_one(at)
            else:
                count, size = wire.run(octets, at, stop, head), int.from_bytes(head[:4], "big")
                length = count * size
                if registered is not None and count:
                    self._submitted(at, count, size, registered)
                elif count:
                    self._receipts_answered(at, count, size)
            if not length:
                break
            at += length
        return at

    def _take_one(self, start: int) -> int:
        """Its length; 0: it is not all here."""
        octets = self._inbox.octets
        for at, length, command, status, sequence in wire.walk(octets, self._inbox.stop, start):
            if command == wire.SUBMIT_SM:
                registered = wire.registered_at(octets[at : at + length])
                self._submitted(at, 1, length, registered)
                if self._dump:
                    self._dump.keep(octets[at : at + length])
                elif len(self._heads) < HEADS_MAX:
                    self._heads[bytes(octets[at : at + wire.FIXED])] = registered
            elif command == wire.DELIVER_SM_RESP and status == wire.ESME_ROK:
                self._receipts_answered(at, 1, length)
            elif command == wire.DELIVER_SM_RESP:
                raise Broken(f"a receipt was turned back with 0x{status:08x}")
            else:
                if command == wire.UNBIND:
                    self._check()
                self._at_once += _rare(command, sequence)
            return length
        return 0

    def _submitted(self, at: int, count: int, size: int, registered: int) -> None:
        octets = self._inbox.octets
        number = self._ring.next
        answers = bytearray(self._ring.take(count))
        for place, column in enumerate(wire.sequences(octets, at, count, size), wire.SEQUENCE_AT):
            answers[place :: self._ring.size] = column
        self._answers += answers
        asked = octets[at + registered : at + count * size : size]
        if self._receipts is None:
            if asked.count(0) == count:
                return
            self._receipts = wire.Ring(RECEIPT, RECEIPT_LABELS, first=number)
            self._first = number
        if asked.count(wire.ASKED_FOR) != count:
            raise Broken("a session asks for receipts of some of its messages only")
        self._behind += self._receipts.take(count)

    def _receipts_answered(self, at: int, count: int, size: int) -> None:
        *_, high, low = wire.sequences(self._inbox.octets, at, count, size)
        self._receipted += count
        self._sum += (sum(high) << 8) + sum(low)

    def _check(self) -> None:
        """Each receipt was answered once: as far as the sum of their numbers tells."""
        sent = self._receipts.next - self._first if self._receipts else 0
        if self._receipted != sent or self._sum != wire.low_sum(self._first, self._first + sent):
            raise Broken(f"{sent} receipts were sent, {self._receipted} were answered, or not the same ones")


def _rare(command: int, sequence: int) -> bytes:
    """The answer to what is neither a submit_sm nor an answer; nothing to an answer."""
    if command in wire.BINDS:
        return wire.pdu(wire.RESPONSE | command, sequence, b"sink\0\x02\x10\x00\x01" + bytes([wire.VERSION]))
    if command in (wire.ENQUIRE_LINK, wire.UNBIND):
        return wire.pdu(wire.RESPONSE | command, sequence)
    if command & wire.RESPONSE:
        return b""
    return wire.pdu(wire.GENERIC_NACK, sequence, status=wire.ESME_RINVCMDID)


def serve(port: int, dump: Dump | None, wheel: Wheel | None) -> None:
    """Until it is killed. Raises Broken."""
    ready = select.epoll()
    door = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    ready.register(door.fileno(), select.EPOLLIN)
    sessions: dict[int, Session] = {}
    while True:
        for fd, _ in ready.poll(wheel.turn() if wheel is not None else None):
            if fd == door.fileno():
                peer, _ = door.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TIMEOUT)
                sessions[peer.fileno()] = Session(peer, dump, wheel)
                ready.register(peer.fileno(), select.EPOLLIN)
                continue
            try:
                goes_on = sessions[fd].go_on()
            except (OSError, ValueError) as fault:
                print(f"smpp_sink: {fault}", file=sys.stderr, flush=True)
                goes_on = False
            if not goes_on:
                ready.unregister(fd)
                sessions.pop(fd).socket.close()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.smpp_sink", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay-ms", type=int, default=0, help="before each answer to a submit_sm")
    parser.add_argument("--dump", type=Path)
    options = parser.parse_args(arguments)
    wheel = Wheel(options.delay_ms / 1000) if options.delay_ms else None
    try:
        serve(options.port, Dump(options.dump) if options.dump else None, wheel)
    except Broken as fault:
        sys.exit(f"smpp_sink: {fault}")


if __name__ == "__main__":
    main()
