"""A stream of octets to PDUs (SMPP 3.4 §3.1). Cutting the stream elsewhere changes nothing.

    frames.receive(data)
    while frame := frames.next():      command_id, command_status, sequence_number, the whole PDU

A command_length that no PDU can have ends the reading: where the next header stands is no longer known. Then `broken`
is true and `sequence` what the header said.
"""

from __future__ import annotations

from gateway import limits
from gateway.smpp.pdu import HEADER, HEADER_OCTETS

Frame = tuple[int, int, int, bytes]

_unpack_from = HEADER.unpack_from


class Frames:
    """One direction of one connection."""

    __slots__ = ("_at", "_buffer", "_late", "_needed", "broken", "sequence")

    def __init__(self) -> None:
        self.broken = False
        self.sequence = 0
        self._buffer = b""
        self._at = 0  # what stands before it was handed out
        self._late = bytearray()  # received since, while one PDU was incomplete
        self._needed = 0  # octets that the incomplete PDU has, as far as it is known

    def receive(self, data: bytes) -> None:
        """Take what the peer sent."""
        held = len(self._buffer) - self._at
        if not held:
            self._buffer = data
        else:
            self._late += data
            if held + len(self._late) < self._needed:
                return
            self._buffer = self._buffer[self._at :] + self._late
            self._late.clear()
        self._at = self._needed = 0

    def next(self) -> Frame | None:
        """The next complete PDU, or None."""
        buffer, at = self._buffer, self._at
        held = len(buffer) - at
        if held < HEADER_OCTETS:
            if held:
                self._needed = HEADER_OCTETS
            else:
                self._buffer, self._at = b"", 0
            return None
        length, command, status, sequence = _unpack_from(buffer, at)
        if held < length <= limits.SMPP_PDU_OCTETS_MAX:
            self._needed = length
            return None
        if not HEADER_OCTETS <= length <= limits.SMPP_PDU_OCTETS_MAX:
            self.broken = True
            self.sequence = sequence
            return None
        self._at = at + length
        return command, status, sequence, buffer[at : at + length]

    @property
    def held(self) -> int:
        """Octets received and not handed out."""
        return len(self._buffer) - self._at + len(self._late)
