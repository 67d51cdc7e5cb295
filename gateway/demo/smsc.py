"""A small SMSC that keeps what it is given: for the demonstration, and a foreign peer for the tests.

It reads SMPP by itself, field after field, and shares nothing with `gateway.smpp`. It takes submit_sm and data_sm,
keeps what else it is asked (submit_multi, replace_sm, query_sm, cancel_sm) without acting on it, sends receipts to
those who ask for them and messages of citizens (MO), and can be made to refuse, to throttle, to keep silent, to answer
in another order, or to vanish.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import cast

from gateway.demo.gsm import Elements, decode, read_header

BIND_RECEIVER, BIND_TRANSMITTER, QUERY_SM, SUBMIT_SM, DELIVER_SM, UNBIND = 1, 2, 3, 4, 5, 6
REPLACE_SM, CANCEL_SM, BIND_TRANSCEIVER, ENQUIRE_LINK, SUBMIT_MULTI, DATA_SM = 7, 8, 9, 0x15, 0x21, 0x103
GENERIC_NACK = RESPONSE = 0x80000000
ROK, RINVCMDID, RINVBNDSTS, RINVPASWD, RINVDSTADR = 0, 3, 4, 0xE, 0xB
MESSAGE_PAYLOAD, RECEIPTED_MESSAGE_ID, MESSAGE_STATE, SC_INTERFACE_VERSION = 0x0424, 0x1E, 0x427, 0x210
SAR_REFERENCE, SAR_TOTAL, SAR_INDEX = 0x20C, 0x20E, 0x20F
DELIVERED_STATE = 2
_RECEIVING = (BIND_RECEIVER, BIND_TRANSCEIVER)


@dataclass(frozen=True, slots=True)
class Received:
    """A submit_sm that was taken. `body` is the whole PDU behind its header."""

    message_id: str
    system_id: str
    source: str
    dest: str
    esm_class: int
    schedule: str
    registered_delivery: int
    replace_if_present: int
    data_coding: int
    user_data: bytes
    elements: Elements
    text: str
    tlvs: tuple[tuple[int, bytes], ...]
    body: bytes

    def place(self) -> tuple[int, int, int] | None:
        """Reference, total and index of a part; None: a whole message."""
        for element, value in self.elements:
            if element in (0, 8):
                return int.from_bytes(value[:-2], "big"), value[-2], value[-1]
        tlvs = dict(self.tlvs)
        if SAR_REFERENCE in tlvs:
            numbers = [int.from_bytes(tlvs[tag], "big") for tag in (SAR_REFERENCE, SAR_TOTAL, SAR_INDEX)]
            return numbers[0], numbers[1], numbers[2]
        return None


@dataclass
class Behaviour:
    """What the SMSC does otherwise than it should; may be changed while it runs."""

    statuses: deque[int] = field(default_factory=deque)  # of the next submits, in turn; then ESME_ROK
    nacks: deque[int] = field(default_factory=deque)  # the next submits get a generic_nack
    bind_status: int = ROK
    silent: bool = False  # to submits
    holding: bool = False  # answers to submits wait for `release`
    receipts: bool = True
    early: bool = False  # they come before the answer to their message
    hexadecimal: bool = False  # ids in answers; in receipts they are decimal


class Smsc:
    """Listens on a port of 127.0.0.1 once started. `passwords` by system_id; `tls`: from the first octet."""

    def __init__(self, passwords: dict[str, str], port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._tls = tls
        self.messages: list[Received] = []
        self.behaviour = Behaviour()
        self.sessions: list[_Session] = []  # bound
        self.asked: list[tuple[int, bytes]] = []  # what is no message of its own: command and body
        self.answered: list[tuple[int, int, int]] = []  # to us: command, status, sequence_number
        self.unbound = 0  # sessions that ended politely
        self._passwords = passwords
        self._server: asyncio.Server | None = None
        self._open: set[_Session] = set()
        self.held: list[tuple[_Session, bytes]] = []  # answers that wait for `release`
        self._ids = 1_000_000
        self._looked_at = 0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and cut every connection; `start` opens the same port again."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        await asyncio.sleep(0)

    async def __aenter__(self) -> Smsc:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def cut(self) -> None:
        """Reset every connection."""
        for session in list(self._open):
            session.abort()

    def unbind(self) -> None:
        """Ask everybody to leave."""
        for session in self.sessions:
            session.ask(UNBIND, b"")

    def release(self, *, backwards: bool = False) -> None:
        """Give the answers that were held."""
        held, self.held = self.held, []
        for session, answer in reversed(held) if backwards else held:
            session.write(answer)

    def send(self, system_id: str, source: str, dest: str, text: bytes, *, data_coding: int = 0) -> int:
        """A citizen's message to whoever is bound with `system_id`; the sequence number."""
        return self._deliver(system_id, source, dest, 0, data_coding, text, b"")

    def take_texts(self) -> list[str]:
        """The texts of the messages that came since the last call, parts joined; incomplete ones wait."""
        texts: list[str] = []
        parts: dict[tuple[str, str, int, int], dict[int, str]] = {}
        new = self.messages[self._looked_at :]
        for one in new:
            place = one.place()
            if place is None:
                texts.append(one.text)
                continue
            reference, total, index = place
            found = parts.setdefault((one.source, one.dest, reference, total), {})
            found[index] = one.text
            if len(found) == total:
                texts.append("".join(found[index] for index in sorted(found)))
        if all(len(found) == key[3] for key, found in parts.items()):
            self._looked_at = len(self.messages)
            return texts
        return []

    # for sessions

    def opened(self, session: _Session) -> None:
        self._open.add(session)

    def closed(self, session: _Session) -> None:
        self._open.discard(session)
        if session in self.sessions:
            self.sessions.remove(session)

    def admit(self, session: _Session, body: bytes) -> tuple[int, bytes]:
        """The answer to a bind."""
        system_id, at = _text(body, 0)
        password, at = _text(body, at)
        if self.behaviour.bind_status:
            return self.behaviour.bind_status, b""
        if self._passwords.get(system_id) != password:
            return RINVPASWD, b""
        session.system_id = system_id
        session.bind_body = body
        self.sessions.append(session)
        return ROK, b"smsc\0" + struct.pack(">HHB", SC_INTERFACE_VERSION, 1, 0x34)

    def submitted(self, session: _Session, sequence: int, body: bytes, command: int = SUBMIT_SM) -> None:
        """Keep it, answer it, and send the receipt it asks for. `body` is that of a submit_sm, `command` what came."""
        behaviour = self.behaviour
        if behaviour.nacks:
            session.write(_pdu(GENERIC_NACK, behaviour.nacks.popleft(), sequence, b""))
            return
        status = behaviour.statuses.popleft() if behaviour.statuses else ROK
        answer = _pdu(command | RESPONSE, status, sequence, b"")
        message = None
        if status == ROK:
            self._ids += 1
            message = _received(str(self._ids), session.system_id, body)
            self.messages.append(message)
            told = f"{self._ids:08X}" if behaviour.hexadecimal else message.message_id
            answer = _pdu(command | RESPONSE, ROK, sequence, told.encode() + b"\0")
        wants = message is not None and message.registered_delivery & 0x03 == 1 and behaviour.receipts
        if wants and behaviour.early and message is not None:
            self.send_receipt(message)
        if behaviour.silent:
            return
        if behaviour.holding:
            self.held.append((session, answer))
        else:
            session.write(answer)
        if wants and not behaviour.early and message is not None:
            self.send_receipt(message)

    def send_receipt(self, message: Received) -> int:
        """That it was delivered, to whoever is bound with its system_id; the sequence number."""
        now = time.strftime("%y%m%d%H%M").encode()
        ident = message.message_id.encode()
        text = b"id:%b sub:001 dlvrd:001 submit date:%b done date:%b stat:DELIVRD err:000 text:" % (ident, now, now)
        tlvs = struct.pack(">HH", RECEIPTED_MESSAGE_ID, len(ident) + 1) + ident + b"\0"
        tlvs += struct.pack(">HHB", MESSAGE_STATE, 1, DELIVERED_STATE)
        return self._deliver(message.system_id, message.dest, message.source, 0x04, 0, text, tlvs)

    def _deliver(
        self, system_id: str, source: str, dest: str, esm_class: int, data_coding: int, text: bytes, tlvs: bytes
    ) -> int:
        body = b"\0\1\1%b\0\0\0%b\0" % (source.encode(), dest.encode())
        body += bytes((esm_class, 0, 0)) + b"\0\0" + bytes((0, 0, data_coding, 0, len(text))) + text + tlvs
        for session in self.sessions:
            if session.system_id == system_id and session.bound_as in _RECEIVING:
                return session.ask(DELIVER_SM, body)
        return 0


class _Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, smsc: Smsc) -> None:
        self.system_id = ""
        self.bind_body = b""
        self.bound_as = 0
        self._smsc = smsc
        self._buffer = b""
        self._sequence = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._smsc.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._smsc.closed(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 16:
            length, command, status, sequence = struct.unpack(">IIII", self._buffer[:16])
            if len(self._buffer) < length or length < 16:
                return
            body, self._buffer = self._buffer[16:length], self._buffer[length:]
            if command & RESPONSE:
                self._smsc.answered.append((command, status, sequence))
            else:
                self._asked(command, sequence, body)

    def ask(self, command: int, body: bytes) -> int:
        """Send a request; its sequence number."""
        self._sequence += 1
        self.write(_pdu(command, 0, self._sequence, body))
        return self._sequence

    def write(self, octets: bytes) -> None:
        if self._transport is not None:
            self._transport.write(octets)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _asked(self, command: int, sequence: int, body: bytes) -> None:
        smsc, status, answer = self._smsc, ROK, b""
        if command in (BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER):
            status, answer = smsc.admit(self, body)
            self.bound_as = 0 if status else command
        elif command == SUBMIT_SM and self.bound_as not in (0, BIND_RECEIVER):
            smsc.submitted(self, sequence, body)
            return
        elif command == DATA_SM and self.bound_as:
            smsc.asked.append((command, body))
            smsc.submitted(self, sequence, _of_data(body), DATA_SM)
            return
        elif command == SUBMIT_SM:
            status = RINVBNDSTS
        elif command in (QUERY_SM, CANCEL_SM, REPLACE_SM, SUBMIT_MULTI):
            smsc.asked.append((command, body))
            answer = {QUERY_SM: body[: body.index(0) + 1] + b"\0\2\0", SUBMIT_MULTI: b"1\0\0"}.get(command, b"")
        elif command not in (UNBIND, ENQUIRE_LINK):
            self.write(_pdu(GENERIC_NACK, RINVCMDID, sequence, b""))
            return
        self.write(_pdu(command | RESPONSE, status, sequence, answer))
        if command == UNBIND and self._transport is not None:
            smsc.unbound += 1
            self._transport.close()


def _pdu(command: int, status: int, sequence: int, body: bytes) -> bytes:
    return struct.pack(">IIII", 16 + len(body), command, status, sequence) + body


def _text(body: bytes, at: int) -> tuple[str, int]:
    """A C-octet string, and where the next field begins."""
    end = body.index(0, at)
    return body[at:end].decode("latin-1"), end + 1


def _of_data(body: bytes) -> bytes:
    """A data_sm (§4.7.1) with the fields of a submit_sm."""
    at = 0
    for skipped in (0, 2, 2):  # service_type, and two addresses
        _, at = _text(body, at + skipped)
    esm_class, registered_delivery, data_coding = body[at : at + 3]
    return body[:at] + bytes((esm_class, 0, 0, 0, 0, registered_delivery, 0, data_coding, 0, 0)) + body[at + 3 :]


def _received(message_id: str, system_id: str, body: bytes) -> Received:
    """Read a submit_sm body in the order of SMPP 3.4 §4.4.1."""
    _, at = _text(body, 0)
    source, at = _text(body, at + 2)
    dest, at = _text(body, at + 2)
    esm_class = body[at]
    schedule, at = _text(body, at + 3)
    _, at = _text(body, at)
    registered_delivery, replace_if_present, data_coding, _, length = body[at : at + 5]
    user_data, at = body[at + 5 : at + 5 + length], at + 5 + length
    tlvs = []
    while at < len(body):
        tag, size = struct.unpack(">HH", body[at : at + 4])
        tlvs.append((tag, body[at + 4 : at + 4 + size]))
        at += 4 + size
    user_data = dict(tlvs).get(MESSAGE_PAYLOAD, user_data)
    elements: Elements = ()
    text = user_data
    if esm_class & 0x40:
        elements, text = read_header(user_data)
    return Received(
        message_id,
        system_id,
        source,
        dest,
        esm_class,
        schedule,
        registered_delivery,
        replace_if_present,
        data_coding,
        user_data,
        elements,
        decode(text, data_coding, elements),
        tuple(tlvs),
        body,
    )
