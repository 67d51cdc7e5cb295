"""What stands between a socket and the connection of a door: the PROXY header, then TLS.

    socket ──octets──▶ Front ──[PROXY header]──[TLS]──▶ connection
             ◀────────────────────────[TLS]────────────

To the socket it is the protocol, to the connection the transport. The connection learns of its client when the header
is read and, with implicit TLS, when the handshake is done; with STARTTLS it has the client first and asks for TLS then.
Listeners that need neither have no front.

Nothing is kept here: plain text goes on as it is decrypted, cipher text as it is made, and who must wait is told by the
socket's own buffers. TLS stands on `ssl.MemoryBIO` and not on `loop.start_tls`, because a load balancer's header and
the first octets of the handshake may come in one read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Protocol, cast

from gateway import limits, proxied, tls


class Keeper(Protocol):
    """What a front asks of the door."""

    fronts: set[Front]
    certificates: tls.Certificates | None
    implicit_tls: bool
    now: Callable[[], float]

    def is_proxy(self, transport: asyncio.BaseTransport) -> bool:
        """Whether this socket's other end writes a PROXY header."""

    def crowded(self) -> bool:
        """Whether there is no room for another client."""

    def admits(self, peer: IPv4Address | IPv6Address | None) -> bool:
        """Whether this client may come in."""

    def peer(self, transport: asyncio.BaseTransport) -> IPv4Address | IPv6Address | None:
        """Whom a transport leads to."""

    def count(self, kind: str) -> None:
        """Count a fault."""

    def note_empty(self) -> None:
        """A front went away."""


class Front(asyncio.Protocol, asyncio.Transport):
    """One socket's. `connection` may have `secured()`, which is called when a STARTTLS handshake is done."""

    def __init__(self, door: Keeper, connection: asyncio.Protocol) -> None:
        super().__init__()
        self._door = door
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._handed_over = False
        self._header = bytearray()
        self._wants_header = False
        self._peername: tuple[str, int] | None = None  # what the header said
        self._tls: tls.Layer | None = None
        self._closing = False
        self._deadline = float("inf")

    # the socket's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        door = self._door
        self._wants_header = door.is_proxy(transport)
        if door.crowded() and not door.implicit_tls:
            self._wants_header = False
            self._hand_over()  # to be told so
        elif door.crowded():
            door.count("too_many_sessions")
            self._transport.abort()
        elif self._wants_header:
            self._wait(limits.PROXY_HEADER_S)
        else:
            self._identified()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._wants_header:
            data = self._read_header(data)
            if not data:
                return
        if self._tls is None:
            self._connection.data_received(data)
        elif not self._tls.ended:
            self._decrypt(self._tls, data)

    def eof_received(self) -> bool:
        if not self._handed_over or (self._tls is not None and not self._tls.established):
            return False
        return bool(self._connection.eof_received())

    def pause_writing(self) -> None:
        """The client does not read: neither does the connection, nor a handshake."""
        if self._handed_over:
            self._connection.pause_writing()
        elif self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._handed_over:
            self._connection.resume_writing()
        elif self._transport is not None:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._forget()
        if self._handed_over:
            self._connection.connection_lost(exc)

    # what the door tells, until the connection is there

    def sweep(self, now: float) -> None:
        if self._deadline < now:
            self._door.count("tls_failed" if self._tls is not None else "bad_proxy_header")
            self.abort()

    # the connection's transport

    def start_tls(self) -> None:
        """From the client's next octet on it is TLS; `secured()` follows, or the end."""
        assert self._door.certificates is not None
        self._tls = tls.Layer(self._door.certificates.context)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._transport is None:
            return
        if self._tls is None:
            self._transport.write(data)
        elif self._tls.established and not self._closing:  # in a handshake there is no way to say anything
            self._tls.send(data)
            self._transport.write(self._tls.output())

    def close(self) -> None:
        if self._closing or self._transport is None:
            return
        self._closing = True
        if self._tls is not None:
            self._tls.close()
            self._transport.write(self._tls.output())
        self._transport.close()

    def abort(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def is_closing(self) -> bool:
        return self._closing or self._transport is None or self._transport.is_closing()

    def pause_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`peername` is the client's, whoever passed it on; `ssl_object` is None before TLS."""
        if name == "peername" and self._peername is not None:
            return self._peername
        if name == "ssl_object":
            return self._tls.ssl_object if self._tls is not None and self._tls.established else default
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    # steps

    def _read_header(self, data: bytes) -> bytes:
        """What follows the header; nothing before it is whole."""
        self._header += data
        header = proxied.read(self._header)
        if isinstance(header, proxied.Malformed):
            self._door.count("bad_proxy_header")
            self.abort()
        if not isinstance(header, proxied.Header):
            return b""
        rest = bytes(self._header[header.octets :])
        self._header.clear()
        self._wants_header = False
        if header.peer is not None:
            self._peername = (str(header.peer), header.port)
        self._identified()
        return b"" if self.is_closing() else rest

    def _identified(self) -> None:
        """It is known whose connection this is."""
        if not self._door.implicit_tls:
            self._hand_over()
        elif self._door.admits(self._door.peer(self)):
            self._wait(limits.TLS_HANDSHAKE_S)
            self.start_tls()
        else:
            self._door.count("not_allowed")
            self.abort()

    def _decrypt(self, layer: tls.Layer, data: bytes) -> None:
        assert self._transport is not None
        established = layer.established
        try:
            plain = layer.receive(data)
        except ssl.SSLError:
            self._door.count("tls_failed")
            self._transport.write(layer.output())  # the alert
            self._closing = True
            self._transport.close()
            return
        if due := layer.output():
            self._transport.write(due)
        if layer.established and not established:
            if not self._handed_over:
                self._hand_over()
            else:
                self._connection.secured()  # type: ignore[attr-defined]
        if plain and not self.is_closing():
            self._connection.data_received(plain)
        if layer.ended and not self.is_closing() and not self._connection.eof_received():
            self.close()

    def _hand_over(self) -> None:
        self._forget()
        self._handed_over = True
        self._connection.connection_made(self)

    def _wait(self, seconds: float) -> None:
        self._deadline = self._door.now() + seconds
        self._door.fronts.add(self)

    def _forget(self) -> None:
        self._deadline = float("inf")
        self._door.fronts.discard(self)
        self._door.note_empty()
