"""The SMPP 3.4 that load generator and sink speak: PDUs ready-made, many of them handled with one slice.

Python reaches several hundred thousand messages per second only when no line of it runs per message. So PDUs lie in
rings of 256 equal ones whose counters go on rising lap by lap, and what comes in is checked and read with strided
slices as long as it is uniform: the same command, length and status throughout. What is not goes the slow way, header
by header.

Written apart from the gateway's codec on purpose: a fault there must not be agreed with here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

HEADER = struct.Struct(">IIII")  # command_length, command_id, command_status, sequence_number
FIXED = 12  # octets of the header that are alike in uniform PDUs: all but the sequence number
SEQUENCE_AT = 12
BODY_AT = 16

RESPONSE = 0x80000000
SUBMIT_SM = 0x04
SUBMIT_SM_RESP = RESPONSE | SUBMIT_SM
DELIVER_SM = 0x05
UNBIND = 0x06
BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER = 0x01, 0x02, 0x09
BINDS = (BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER)
ENQUIRE_LINK = 0x15
GENERIC_NACK = RESPONSE
ESME_ROK = 0
ESME_RINVCMDID = 3

VERSION = 0x34
ALPHANUMERIC, INTERNATIONAL, ISDN = 5, 1, 1

PDU_OCTETS_MAX = 65_536  # a length above it is a framing fault, not a message
BUFFER_OCTETS = 262_144  # of one connection: a window of a thousand long messages
SLOTS = 256  # PDUs of a ring: four rings of submit_sm stay in a processor's second-level cache
ID_OCTETS = 16


def pdu(command: int, sequence: int, body: bytes = b"", status: int = ESME_ROK) -> bytes:
    return HEADER.pack(HEADER.size + len(body), command, status, sequence) + body


def bind_transceiver(system_id: str, password: str, sequence: int) -> bytes:
    who = f"{system_id}\0{password}\0\0".encode()
    return pdu(BIND_TRANSCEIVER, sequence, who + bytes([VERSION, 0, 0, 0]))


def submit_sm(source: str, msisdn: str, text: bytes) -> bytes:
    """A message in the SMSC's default alphabet, one octet a character, no receipt asked for."""
    addresses = bytes([0, ALPHANUMERIC, 0]) + source.encode() + bytes([0, INTERNATIONAL, ISDN]) + msisdn.encode()
    return pdu(SUBMIT_SM, 0, addresses + bytes(10) + bytes([len(text)]) + text)


def submit_sm_resp() -> bytes:
    return pdu(SUBMIT_SM_RESP, 0, b"0" * ID_OCTETS + b"\0")


def sequence_label(number: int) -> bytes:
    return number.to_bytes(4, "big")


def id_label(number: int) -> bytes:
    return f"{number:0{ID_OCTETS}x}".encode()


class Ring:
    """PDUs that differ in a counter only: `label(n)` stands at the offset `at`, n rising from `first` for ever.

    `label` must write numbers with equal residues modulo SLOTS the same way in its last octets, as bytes and
    hexadecimal digits do: then a lap changes but the few octets that carry over.
    """

    def __init__(self, pdu: bytes, at: int, label: Callable[[int], bytes], *, first: int) -> None:
        self.size = len(pdu)
        self._at = at
        self._label = label
        self._octets = bytearray(pdu * SLOTS)
        self._view = memoryview(self._octets)
        self._lap = label(0)
        self._next = first  # in the first lap
        for place, values in enumerate(zip(*map(label, range(SLOTS)), strict=True)):
            self._octets[at + place :: self.size] = bytes(values)

    def take(self, count: int) -> bytes | memoryview:
        """The next `count` PDUs in one piece, valid until the next call."""
        slot = self._next % SLOTS
        if 0 < slot <= SLOTS - count:  # does not touch the seam
            self._next += count
            return self._view[slot * self.size : (slot + count) * self.size]
        pieces = []
        while count:
            slot = self._next % SLOTS
            if slot == 0:
                self._begin_lap()
            length = min(count, SLOTS - slot)
            pieces.append(bytes(self._view[slot * self.size : (slot + length) * self.size]))
            self._next += length
            count -= length
        return b"".join(pieces)

    def _begin_lap(self) -> None:
        lap = self._label(self._next)
        for place, (before, now) in enumerate(zip(self._lap, lap, strict=True)):
            if before != now:
                self._octets[self._at + place :: self.size] = bytes([now]) * SLOTS
        self._lap = lap


def uniform(octets: bytearray, stop: int, head: bytes) -> int:
    """How many whole PDUs stand before `stop`, if each of them begins with the twelve octets `head`; otherwise 0."""
    size = int.from_bytes(head[:4], "big")
    count = stop // size
    if count < 2:
        return int(count == 1 and octets[:FIXED] == head)
    end = count * size
    for place in range(FIXED):
        if octets[place:end:size].count(head[place]) != count:
            return 0
    return count


def sequences(octets: bytearray, count: int, size: int) -> list[bytearray]:
    """The sequence numbers of `count` uniform PDUs, as four columns of octets."""
    return [octets[SEQUENCE_AT + place : count * size : size] for place in range(4)]


def walk(octets: bytearray, stop: int) -> Iterator[tuple[int, int, int, int, int]]:
    """(offset, length, command, status, sequence) of each whole PDU before `stop`; ValueError when it is not SMPP."""
    at = 0
    while at + HEADER.size <= stop:
        length, command, status, sequence = HEADER.unpack_from(octets, at)
        if not HEADER.size <= length <= PDU_OCTETS_MAX:
            raise ValueError(f"a command_length of {length}")
        if at + length > stop:
            return
        yield at, length, command, status, sequence
        at += length


class Inbox:
    """What has come in on a connection and is not handled yet."""

    def __init__(self) -> None:
        self.octets = bytearray(BUFFER_OCTETS)
        self.stop = 0
        self._view = memoryview(self.octets)

    def room(self) -> memoryview:
        """Where to read into."""
        return self._view[self.stop :]

    def drop(self, octets: int) -> None:
        """The first `octets` are done; what is left moves to the front."""
        rest = self.stop - octets
        if rest:
            self.octets[:rest] = self.octets[octets : self.stop]
        self.stop = rest
