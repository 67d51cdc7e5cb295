"""The SMPP 3.4 that load generator and sink speak: PDUs ready-made, many of them handled with one slice.

Python reaches several hundred thousand messages per second only when no line of it runs per message. So PDUs lie in
rings of 256 equal ones whose counters go on rising lap by lap, and what comes in is checked and read with strided
slices, run by run: PDUs of the same command, length and status one behind the other. What was not seen before goes the
slow way, header by header.

Written apart from the gateway's codec on purpose: a fault there must not be agreed with here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence

HEADER = struct.Struct(">IIII")  # command_length, command_id, command_status, sequence_number
FIXED = 12  # octets of the header that are alike in a run: all but the sequence number
SEQUENCE_AT = 12
BODY_AT = 16

RESPONSE = 0x80000000
SUBMIT_SM = 0x04
SUBMIT_SM_RESP = RESPONSE | SUBMIT_SM
DELIVER_SM = 0x05
DELIVER_SM_RESP = RESPONSE | DELIVER_SM
UNBIND = 0x06
BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER = 0x01, 0x02, 0x09
BINDS = (BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER)
ENQUIRE_LINK = 0x15
GENERIC_NACK = RESPONSE
ESME_ROK = 0
ESME_RINVCMDID = 3

VERSION = 0x34
ALPHANUMERIC, INTERNATIONAL, ISDN = 5, 1, 1
UDHI = 0x40  # in esm_class: the text begins with a user data header
RECEIPT = 0x04  # in esm_class: of a message that was sent
ASKED_FOR = 1  # in registered_delivery: a receipt, whatever becomes of the message
CONCATENATION = b"\x06\x08\x04"  # a header with one element: sixteen bits of reference, total, place
RECEIPTED_MESSAGE_ID, MESSAGE_STATE, DELIVERED = 0x001E, 0x0427, 2

PDU_OCTETS_MAX = 65_536  # a length above it is a framing fault, not a message
BUFFER_OCTETS = 262_144  # of one connection: a window of a thousand long messages
SLOTS = 256  # PDUs of a ring: four rings of submit_sm stay in a processor's second-level cache
ID_OCTETS = 16


def pdu(command: int, sequence: int, body: bytes = b"", status: int = ESME_ROK) -> bytes:
    return HEADER.pack(HEADER.size + len(body), command, status, sequence) + body


def bind_transceiver(system_id: str, password: str, sequence: int) -> bytes:
    who = f"{system_id}\0{password}\0\0".encode()
    return pdu(BIND_TRANSCEIVER, sequence, who + bytes([VERSION, 0, 0, 0]))


def submit_sm(source: str, msisdn: str, text: bytes, *, esm_class: int = 0, registered: int = 0) -> bytes:
    """A message in the SMSC's default alphabet, one octet a character."""
    addresses = bytes([0, ALPHANUMERIC, 0]) + source.encode() + bytes([0, INTERNATIONAL, ISDN]) + msisdn.encode()
    options = bytes([0, esm_class, 0, 0, 0, 0, registered, 0, 0, 0])
    return pdu(SUBMIT_SM, 0, addresses + options + bytes([len(text)]) + text)


def parts(source: str, msisdn: str, texts: Sequence[bytes]) -> tuple[bytes, ...]:
    """A long message, cut by its sender; its reference is still 0."""
    heads = [CONCATENATION + bytes([0, 0, len(texts), place]) for place in range(1, len(texts) + 1)]
    return tuple(
        submit_sm(source, msisdn, head + text, esm_class=UDHI) for head, text in zip(heads, texts, strict=True)
    )


def registered_at(octets: bytes | bytearray) -> int:
    """Where registered_delivery stands in a submit_sm."""
    at = octets.index(0, BODY_AT) + 3  # service_type; ton and npi
    at = octets.index(0, at) + 3
    at = octets.index(0, at) + 4  # the destination; esm_class, protocol_id, priority_flag
    return octets.index(0, octets.index(0, at) + 1) + 1


def submit_sm_resp() -> bytes:
    return pdu(SUBMIT_SM_RESP, 0, b"0" * ID_OCTETS + b"\0")


def deliver_sm_resp() -> bytes:
    return pdu(DELIVER_SM_RESP, 0, b"\0")


def receipt(source: str, msisdn: str) -> bytes:
    """The deliver_sm that says of a message, whose id is still 0, that it was delivered (§5.3.2.12, Appendix B)."""
    dates = b"submit date:2611251430 done date:2611251430"
    text = b"id:%b sub:001 dlvrd:001 %b stat:DELIVRD err:000 text:" % (id_label(0), dates)
    addresses = bytes([0, INTERNATIONAL, ISDN]) + msisdn.encode() + bytes([0, ALPHANUMERIC, 0]) + source.encode()
    body = addresses + bytes([0, RECEIPT]) + bytes(8) + bytes([len(text)]) + text
    tlvs = struct.pack(">HH", RECEIPTED_MESSAGE_ID, ID_OCTETS + 1) + id_label(0) + b"\0"
    return pdu(DELIVER_SM, 0, body + tlvs + struct.pack(">HHB", MESSAGE_STATE, 1, DELIVERED))


def sequence_label(number: int) -> bytes:
    return number.to_bytes(4, "big")


def id_label(number: int) -> bytes:
    return f"{number:0{ID_OCTETS}x}".encode()


class Ring:
    """PDUs that differ in a counter only: `labels[at](n)` stands at the offset `at` of each, n rising from `first`.

    A label must write numbers with equal residues modulo SLOTS the same way in its last octets, as bytes and
    hexadecimal digits do: then a lap changes but the few octets that carry over.
    """

    def __init__(self, pdu: bytes, labels: Mapping[int, Callable[[int], bytes]], *, first: int) -> None:
        self.size = len(pdu)
        self.next = first
        self._octets = bytearray(pdu * SLOTS)
        self._view = memoryview(self._octets)
        self._labels = labels
        self._laps = {at: label(0) for at, label in labels.items()}
        for at, label in labels.items():
            for place, values in enumerate(zip(*map(label, range(SLOTS)), strict=True)):
                self._octets[at + place :: self.size] = bytes(values)
        self._begin_lap()

    def take(self, count: int) -> bytes | memoryview:
        """The next `count` PDUs in one piece, valid until the next call."""
        slot = self.next % SLOTS
        if 0 < slot <= SLOTS - count:  # does not touch the seam
            self.next += count
            return self._view[slot * self.size : (slot + count) * self.size]
        pieces = []
        while count:
            slot = self.next % SLOTS
            if slot == 0:
                self._begin_lap()
            length = min(count, SLOTS - slot)
            pieces.append(bytes(self._view[slot * self.size : (slot + length) * self.size]))
            self.next += length
            count -= length
        return b"".join(pieces)

    def _begin_lap(self) -> None:
        for at, label in self._labels.items():
            lap = label(self.next - self.next % SLOTS)
            for place, (before, now) in enumerate(zip(self._laps[at], lap, strict=True)):
                if before != now:
                    self._octets[at + place :: self.size] = bytes([now]) * SLOTS
            self._laps[at] = lap


class Medley:
    """Messages of several sizes in turn, for ever: the PDUs of one have sequence numbers that go on, and one reference.

    References are `reference`, `reference + step` and so on: what several senders to one handset use at a time must
    not be the same.
    """

    def __init__(self, messages: Sequence[Sequence[bytes]], *, first: int, reference: int = 0, step: int = 1) -> None:
        pdus = [pdu for message in messages for pdu in message]
        self.next = first
        self._slots = len(pdus)
        self._slot = 0
        self._starts = [sum(map(len, pdus[:slot])) for slot in range(self._slots + 1)]
        self._ends = [place == len(message) for message in messages for place in range(1, len(message) + 1)]
        self._octets = bytearray(b"".join(pdus))
        self._reference, self._step = reference, step
        at = iter(self._starts)
        self._references = [
            [
                next(at) + pdu.index(CONCATENATION) + len(CONCATENATION) if len(message) > 1 else next(at)
                for pdu in message
            ]
            for message in messages
        ]

    def whole(self, count: int) -> int:
        """So many PDUs or a few more, so that no message is cut off."""
        while count and not self._ends[(count - 1) % self._slots]:
            count += 1
        return count

    def take(self, count: int) -> bytes:
        """The next `count` PDUs in one piece."""
        pieces = []
        while count:
            if self._slot == 0:
                self._begin_lap()
            stop = min(self._slot + count, self._slots)
            pieces.append(bytes(self._octets[self._starts[self._slot] : self._starts[stop]]))
            self.next += stop - self._slot
            count -= stop - self._slot
            self._slot = stop % self._slots
        return b"".join(pieces)

    def _begin_lap(self) -> None:
        for slot, start in enumerate(self._starts[:-1]):
            self._octets[start + SEQUENCE_AT : start + BODY_AT] = sequence_label(self.next + slot)
        for places in self._references:
            if len(places) > 1:
                for at in places:
                    self._octets[at : at + 2] = (self._reference & 0xFFFF).to_bytes(2, "big")
                self._reference += self._step


def run(octets: bytes | bytearray, at: int, stop: int, head: bytes) -> int:
    """How many whole PDUs that begin with the twelve octets `head` stand in a row from `at`, before `stop`."""
    size = int.from_bytes(head[:4], "big")
    count = (stop - at) // size
    if not count or octets[at : at + FIXED] != head:
        return 0
    if count == 1 or octets[at + size : at + size + FIXED] != head:
        return 1
    for place in range(FIXED):
        column = octets[at + place : at + count * size : size]
        if column.count(head[place]) != count:
            count -= len(column.lstrip(head[place : place + 1]))
    return count


def sequences(octets: bytes | bytearray, at: int, count: int, size: int) -> list[bytes | bytearray]:
    """The sequence numbers of a run, as four columns of octets."""
    return [octets[at + place : at + count * size : size] for place in range(SEQUENCE_AT, BODY_AT)]


def numbered(pdu: bytes, columns: Sequence[bytes | bytearray]) -> bytearray:
    """A PDU for each of these sequence numbers (`sequences`)."""
    octets = bytearray(pdu * len(columns[0]))
    for place, column in enumerate(columns, SEQUENCE_AT):
        octets[place :: len(pdu)] = column
    return octets


def low_sum(start: int, stop: int) -> int:
    """The sum of the two low octets of all numbers from `start`, before `stop`."""
    return _low_sum(stop) - _low_sum(start)


def _low_sum(stop: int) -> int:
    laps, rest = divmod(stop, 0x10000)
    return laps * (0x10000 * 0xFFFF // 2) + rest * (rest - 1) // 2


def walk(octets: bytearray, stop: int, at: int = 0) -> Iterator[tuple[int, int, int, int, int]]:
    """(offset, length, command, status, sequence) of each whole PDU from `at`, before `stop`; ValueError: not SMPP."""
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
