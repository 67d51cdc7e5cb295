"""A client with a window of one: a blocking socket that asks once and waits for that answer before it asks again.

What the SMSC sends meanwhile is taken and answered where it stands.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field

from tests.gateway.smpp.support import BIND_TRX, DELIVER, ENQUIRE, RESP, SUBMIT, UNBIND, Pdu, bind_body, pdu


@dataclass
class WindowOne:
    """Connected to a port of 127.0.0.1; every wait has a deadline that only ends a test which has failed."""

    port: int
    taken: list[Pdu] = field(default_factory=list)  # requests of the SMSC
    _sequence: int = 0

    def __enter__(self) -> WindowOne:
        self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self._file = self._socket.makefile("rb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def bind(self) -> Pdu:
        return self.ask(BIND_TRX, bind_body())

    def submit(self, *bodies: bytes) -> list[int]:
        """One after the other; the statuses."""
        return [self.ask(SUBMIT, body).status for body in bodies]

    def ask(self, command: int, body: bytes = b"") -> Pdu:
        """The answer."""
        self._sequence += 1
        self._socket.sendall(pdu(command, self._sequence, body))
        while True:
            heard = self.hear()
            if heard.command & RESP:
                assert heard.sequence == self._sequence, "an answer that nobody waits for"
                return heard
            self._take(heard)

    def hear(self) -> Pdu:
        header = self._file.read(16)
        assert len(header) == 16, "closed in the middle"
        length, command, status, sequence = struct.unpack(">IIII", header)
        return Pdu(command, status, sequence, self._file.read(length - 16))

    def wait(self, count: int) -> list[Pdu]:
        """What the SMSC has sent, once it is that much."""
        while len(self.taken) < count:
            self._take(self.hear())
        return self.taken

    def unbind(self) -> None:
        assert self.ask(UNBIND).status == 0
        assert self._file.read() == b""

    def _take(self, heard: Pdu) -> None:
        assert not heard.command & RESP
        self._socket.sendall(pdu(heard.command | RESP, heard.sequence, b"\0" if heard.command == DELIVER else b""))
        if heard.command != ENQUIRE:
            self.taken.append(heard)
