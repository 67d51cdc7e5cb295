"""The header fields a relay looks at: the one it adds, those added before it, and what a message says of itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from gateway import limits

_HEADER_END = b"\r\n\r\n"
_TRACE = re.compile(
    rb"\r\n(?:(?:Received|Return-Path|Received-SPF|Authentication-Results):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)*",
    re.IGNORECASE,
)
_NAME_OCTETS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]")
_NAME = bytes(octet if octet in _NAME_OCTETS else ord("?") for octet in range(256))


class Trace:
    """The Received fields of one session: their beginning is written once, as long as its client stays the same."""

    __slots__ = ("_opening", "_said")

    def __init__(self) -> None:
        self._said: tuple[bytes, ...] = ()
        self._opening = b""

    def received(
        self, helo: bytes, client: bytes, hostname: bytes, protocol: bytes, decision_id: bytes, date: bytes
    ) -> bytes:
        """A Received field (RFC 5321 §4.4) with the id under which the journal keeps the decision.

        `client` is an IP address as text, empty for a Unix socket; `helo` what it called itself, `protocol` one of
        RFC 3848's names. No recipient is named: the copy may be forwarded.
        """
        said = (helo, client, hostname, protocol)
        if said != self._said:
            literal = b" ([IPv6:%b])" if b":" in client else b" ([%b])"
            host = literal % client if client else b""
            self._opening = b"Received: from %b%b\r\n\tby %b (izinli) with %b id " % (
                helo.translate(_NAME),
                host,
                hostname,
                protocol,
            )
            self._said = said
        return b"%b%b;\r\n\t%b\r\n" % (self._opening, decision_id, date)


@lru_cache(limits.PEERS_KNOWN)
def client(peer: IPv4Address | IPv6Address | None) -> bytes:
    """A client's address as `Trace.received` takes it."""
    return b"" if peer is None else str(peer).encode("ascii")


def date_time(unix_s: int) -> bytes:
    """RFC 5322 §3.3, in UTC."""
    return format_datetime(datetime.fromtimestamp(unix_s, UTC)).encode("ascii")


def hops(content: bytes) -> int:
    """How many Received fields the header section holds (RFC 5321 §6.3)."""
    return _header(content).lower().count(b"\r\nreceived:")


def identity(content: bytes) -> tuple[int, int]:
    """Where the octets stand by which a retry is recognised: of a message with a Message-ID the header section, of
    any other all of it.

    The trace in front of a Message-ID is not among them: a mail server puts it on top anew at each try.
    """
    header = _header(content)
    if b"\r\nmessage-id:" not in header.lower():
        return 0, len(content)
    found = _TRACE.match(header)
    return found.end() - 2 if found is not None else 0, len(header) - 2


def declared_kind(content: bytes) -> bytes | None:
    """What the message says of itself in its first X-Izinli-Kind field; None: nothing."""
    header = _header(content)
    at = header.lower().find(b"\r\nx-izinli-kind:")
    return None if at < 0 else header[at + 2 :].partition(b":")[2].partition(b"\r\n")[0]


def _header(content: bytes) -> bytes:
    """The header section behind a CRLF, so that each field begins after one."""
    end = content.find(_HEADER_END)
    return b"\r\n" + (content if end < 0 else content[:end])
