"""An SMSC that says yes:  python -m bench.smpp_sink --port P [--dump FILE]

Every bind is welcome, every submit_sm is answered at once with ESME_ROK and an id of sixteen hexadecimal digits, and
thrown away. What came in with one read is answered with one write. `--dump` writes the submit_sm as they came to FILE,
up to 64 kB of them, for a proof that a program in the middle did its work.
"""

from __future__ import annotations

import argparse
import select
import socket
import struct
import sys
from pathlib import Path

from bench import smpp_wire as wire

BACKLOG = 512
WRITE_S_MAX = 10
DUMP_OCTETS_MAX = 65_536
TIMEOUT = struct.pack("@ll", WRITE_S_MAX, 0)


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


class Session:
    """One connection of an ESME."""

    def __init__(self, peer: socket.socket, dump: Dump | None) -> None:
        self.socket = peer
        self._dump = dump
        self._inbox = wire.Inbox()
        self._ring = wire.Ring(wire.submit_sm_resp(), wire.BODY_AT, wire.id_label, first=1)
        self._head = b""  # of the last submit_sm: the next ones are probably as long

    def go_on(self) -> bool:
        """Take what is there and answer it; False when the connection is over."""
        inbox = self._inbox
        read = self.socket.recv_into(inbox.room())
        if not read:
            return False
        inbox.stop += read
        if self._head and (count := wire.uniform(inbox.octets, inbox.stop, self._head)):
            size = int.from_bytes(self._head[:4], "big")
            answers = self._answers(count, wire.sequences(inbox.octets, count, size))
            inbox.drop(count * size)
        else:
            answers = self._walk()
        if answers:
            self.socket.sendall(answers)
        return True

    def _answers(self, count: int, sequences: list[bytearray]) -> bytearray:
        answers = bytearray(self._ring.take(count))
        for place, column in enumerate(sequences):
            answers[wire.SEQUENCE_AT + place :: self._ring.size] = column
        return answers

    def _walk(self) -> bytearray:
        """PDUs one by one: messages of different lengths, and all that is not a message."""
        answers = bytearray()
        messages = bytearray()  # their sequence numbers, one after the other
        octets = self._inbox.octets
        done = 0
        for at, length, command, _, sequence in wire.walk(octets, self._inbox.stop):
            done = at + length
            if command == wire.SUBMIT_SM:
                messages += octets[at + wire.SEQUENCE_AT : at + wire.BODY_AT]
                self._head = bytes(octets[at : at + wire.FIXED])
                if self._dump:
                    self._dump.keep(octets[at:done])
            else:
                answers += _rare(command, sequence)
        self._inbox.drop(done)
        if messages:
            columns = [messages[place::4] for place in range(4)]
            answers += self._answers(len(messages) // 4, columns)
        if self._dump:
            self._head = b""  # so that each of them comes this way
        return answers


def _rare(command: int, sequence: int) -> bytes:
    """The answer to what is not a submit_sm; nothing to an answer."""
    if command in wire.BINDS:
        return wire.pdu(wire.RESPONSE | command, sequence, b"sink\0\x02\x10\x00\x01" + bytes([wire.VERSION]))
    if command in (wire.ENQUIRE_LINK, wire.UNBIND):
        return wire.pdu(wire.RESPONSE | command, sequence)
    if command & wire.RESPONSE:
        return b""
    return wire.pdu(wire.GENERIC_NACK, sequence, status=wire.ESME_RINVCMDID)


def serve(port: int, dump: Dump | None) -> None:
    """Until it is killed."""
    ready = select.epoll()
    door = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    ready.register(door.fileno(), select.EPOLLIN)
    sessions: dict[int, Session] = {}
    while True:
        for fd, _ in ready.poll():
            if fd == door.fileno():
                peer, _ = door.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TIMEOUT)
                sessions[peer.fileno()] = Session(peer, dump)
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
    parser.add_argument("--dump", type=Path)
    options = parser.parse_args(arguments)
    serve(options.port, Dump(options.dump) if options.dump else None)


if __name__ == "__main__":
    main()
