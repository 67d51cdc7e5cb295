"""The PROXY protocol's header, versions 1 and 2, without sockets (HAProxy, doc/proxy-protocol.txt).

A load balancer writes it before the client's first octet, to say whose connection it passes on. It is believed only
from the networks that `proxy_from` names; from them nothing else is taken first, so that a client can never write one
of its own (§2: a receiver must not guess whether there is a header).
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

from gateway import limits

V1_PREFIX: Final = b"PROXY "
V1_OCTETS_MAX: Final = 107  # §2.1, CRLF included
V2_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"  # §2.2
V2_FIXED_OCTETS: Final = 16

_LOCAL, _PROXY = 0x20, 0x21  # version 2 in the high nibble, the command in the low one
_UNSPEC, _TCP4, _TCP6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31
_V1_ADDRESS: Final[dict[bytes, type[IPv4Address] | type[IPv6Address]]] = {
    b"TCP4": IPv4Address,
    b"TCP6": IPv6Address,
}


class Header(NamedTuple):
    """A whole header."""

    octets: int  # how many it takes of what came
    peer: IPv4Address | IPv6Address | None  # the client; None: the connection speaks for itself (LOCAL, UNKNOWN)
    port: int


class Malformed(NamedTuple):
    """What came can never become a header."""

    why: str


def read(received: bytes | bytearray) -> Header | Malformed | None:
    """The header that `received` begins with; None: it is not whole yet. Never raises."""
    head = bytes(received[: len(V2_SIGNATURE)])
    if head == V2_SIGNATURE:
        return _version_2(received)
    if V2_SIGNATURE.startswith(head):
        return None
    if head.startswith(V1_PREFIX):
        return _version_1(bytes(received[:V1_OCTETS_MAX]))
    return None if V1_PREFIX.startswith(head) else Malformed("no PROXY header")


def _version_1(received: bytes) -> Header | Malformed | None:
    """§2.1: `PROXY TCP4 source destination port port CRLF`, one blank between words."""
    line, end, _ = received.partition(b"\r\n")
    if not end:
        return None if len(received) < V1_OCTETS_MAX else Malformed("version 1 without an end of line")
    octets = len(line) + len(end)
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return Header(octets, None, 0)
    if len(words) != 6 or words[1] not in _V1_ADDRESS:
        return Malformed("version 1 with other words than six")
    family, port, target_port = _V1_ADDRESS[words[1]], _port(words[4]), _port(words[5])
    try:
        peer, _ = family(words[2].decode("ascii")), family(words[3].decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        return Malformed("version 1 with a bad address")
    if port is None or target_port is None:
        return Malformed("version 1 with a bad port")
    return Header(octets, _unmapped(peer), port)


def _version_2(received: bytes | bytearray) -> Header | Malformed | None:
    """§2.2: signature, version and command, family, length, addresses, and extensions that are passed over."""
    if len(received) < V2_FIXED_OCTETS:
        return None
    command, family = received[12], received[13]
    length = int.from_bytes(received[14:16], "big")
    octets = V2_FIXED_OCTETS + length
    if command not in (_LOCAL, _PROXY):
        return Malformed("version 2 with an unknown command")
    if octets > limits.PROXY_HEADER_OCTETS_MAX:
        return Malformed("version 2 that is too long")
    if len(received) < octets:
        return None
    if command == _LOCAL or family in (_UNSPEC, _UNIX_STREAM):
        return Header(octets, None, 0)
    addresses = bytes(received[V2_FIXED_OCTETS:octets])
    if family == _TCP4 and length >= 12:
        return Header(octets, IPv4Address(addresses[:4]), int.from_bytes(addresses[8:10], "big"))
    if family == _TCP6 and length >= 36:
        return Header(octets, _unmapped(IPv6Address(addresses[:16])), int.from_bytes(addresses[32:34], "big"))
    return Malformed("version 2 with an unknown family, or too short for its own")


def _port(word: bytes) -> int | None:
    """§2.1: decimal, no leading zero."""
    if not word.isdigit() or len(word) > 5 or (word[:1] == b"0" and word != b"0"):
        return None
    return int(word) if int(word) <= 0xFFFF else None


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
