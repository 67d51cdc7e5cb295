"""Postfix's policy delegation protocol, without sockets (SMTPD_POLICY_README, “Protocol description”).

    reader.receive(data)                        octets in
    while found := reader.next_request():       a Request, or a Fault, after which nothing more is read
    action(reply)                               a line of `gateway.smtp.replies` as the answer to a request

A request is lines `name=value`, each ended by LF, and an empty line. Names that nobody here asks for are ignored; of a
name that comes twice the last counts. Cutting the stream elsewhere changes nothing, and nothing a peer sends raises.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway import limits

REQUEST: Final = b"smtpd_access_policy"  # the only kind of request that Postfix makes


class Request(NamedTuple):
    """What is asked about; what Postfix does not know, or did not send, is empty."""

    state: bytes  # the SMTP command it is about: RCPT, DATA, END-OF-MESSAGE, VRFY, …
    sender: bytes  # without brackets; empty: the null sender
    recipient: bytes  # empty: none, or more than one
    account: bytes  # who logged in (SASL)
    client: bytes  # an IP address as text


class Fault(NamedTuple):
    """The peer broke the protocol; `kind` is a metric label."""

    kind: str


class Reader:
    """The requests of one connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # octets of the buffer that were looked through for the empty line
        self._broken = False

    @property
    def held(self) -> int:
        """Octets received and not yet part of a request."""
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        """Take what the peer sent; `next_request` reads it."""
        if not self._broken:
            self._buffer += data

    def next_request(self) -> Request | Fault | None:
        """The next complete request; None: none is complete."""
        buffer = self._buffer
        end = buffer.find(b"\n\n", self._searched)
        if buffer[:1] == b"\n":
            return self._break("malformed")
        if end + 2 > limits.POLICY_REQUEST_OCTETS_MAX or (end < 0 and len(buffer) >= limits.POLICY_REQUEST_OCTETS_MAX):
            return self._break("long_request")
        if end < 0:
            self._searched = max(0, len(buffer) - 1)
            return None
        block = bytes(memoryview(buffer)[:end])
        del buffer[: end + 2]
        self._searched = 0
        return _parsed(block) or self._break("malformed")

    def _break(self, kind: str) -> Fault:
        self._broken = True
        self._buffer = bytearray(b"")
        self._searched = 0
        return Fault(kind)


def _parsed(block: bytes) -> Request | None:
    """The request that lines without their empty one make; None: they make none."""
    values: dict[bytes, bytes] = {}
    for line in block.split(b"\n"):
        name, equals, value = line.partition(b"=")
        if not name or not equals or b"\0" in line:
            return None
        values[name] = value
    if values.get(b"request") != REQUEST:
        return None
    get = values.get
    return Request(
        get(b"protocol_state", b""),
        get(b"sender", b""),
        get(b"recipient", b""),
        get(b"sasl_username", b""),
        get(b"client_address", b""),
    )


# No objection. The restrictions that follow still decide: this lets nobody relay.
DUNNO: Final = b"action=DUNNO\n\n"
# RFC 3463 X.3.5, “system incorrectly configured”. Told to mail that would pass without its recipient being asked about.
MISPLACED: Final = (
    b"action=DEFER_IF_PERMIT 4.3.5 no recipient to ask about: list the service in smtpd_recipient_restrictions\n\n"
)


def action(reply: bytes) -> bytes:
    """What Postfix is to do: nothing about a 2yz reply, and to say any other itself."""
    return DUNNO if reply[:1] == b"2" else b"action=%b\n\n" % reply[:-2]
