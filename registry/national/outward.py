"""Requests to addresses that a caller of the API has chosen: https only, never into our own network, never for long.

The name is resolved once and the connection goes to an address that was looked at, so a name that changes its mind in
between leads nowhere (SSRF by DNS rebinding). Redirects are not followed. Proxies of the environment are not used.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from registry.limits import PUSH_SECONDS, PUSH_URL_CHARACTERS_MAX

HTTPS_PORT: Final = 443
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class Unreachable(Exception):
    """There was no answer; the text says why, without the address."""


class TooSlow(Unreachable):
    """Not in time."""


class BadUrl(ValueError):
    """`secure`: whether it is https at least."""

    def __init__(self, text: str, *, secure: bool) -> None:
        super().__init__(text)
        self.secure = secure


@dataclass(frozen=True, slots=True)
class Target:
    """Where to."""

    host: str
    port: int
    path: str  # with the query


def read_url(url: str) -> Target:
    """Raises BadUrl."""
    if len(url) > PUSH_URL_CHARACTERS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise BadUrl("too long, or with characters that do not belong there", secure=True)
    try:
        parts = urlsplit(url)
        port = parts.port or HTTPS_PORT
    except ValueError:
        raise BadUrl("no web address", secure=True) from None
    if parts.scheme != "https":
        raise BadUrl("must begin with https", secure=False)
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment:
        raise BadUrl("needs a host, and may have neither a user nor a fragment", secure=True)
    query = f"?{parts.query}" if parts.query else ""
    return Target(parts.hostname, port, (parts.path or "/") + query)


def is_public(address: str) -> bool:
    """Whether an IP address is anybody's on the Internet, also behind what carries IPv4 in IPv6."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast


class Outward:
    """Posts JSON. Thread-safe."""

    def __init__(
        self,
        *,
        private: bool = False,
        context: ssl.SSLContext | None = None,
        seconds: float = PUSH_SECONDS,
        resolve: Callable[..., list[Any]] = socket.getaddrinfo,
    ) -> None:
        """`private` allows addresses of our own network; `context` says whom to trust, by default the system's CAs."""
        self._private = private
        self._context = context or ssl.create_default_context()
        self._seconds = seconds
        self._resolve = resolve

    def post(self, url: str, body: bytes, user: str, password: str) -> int:
        """The status of the answer. Raises Unreachable; TooSlow after `seconds`, the look-up of the name aside."""
        target = read_url(url)
        address = self._address(target)
        deadline = time.monotonic() + self._seconds
        connection = _Pinned(target, address, self._context, self._seconds)
        headers = {
            "authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode(),
            "content-type": "application/json",
            "user-agent": "izinli",
        }
        # each wait of the socket has its own deadline, but whoever drips octets never meets it
        watch = threading.Timer(self._seconds, connection.abort)
        watch.daemon = True
        watch.start()
        try:
            connection.request("POST", target.path, body, headers)
            status = connection.getresponse().status
            if connection.aborted:  # where headers end with the connection, http.client takes them for whole
                raise TimeoutError
            return status
        except (OSError, http.client.HTTPException, ValueError) as fault:
            if isinstance(fault, TimeoutError) or time.monotonic() >= deadline:
                raise TooSlow(f"no answer in {self._seconds:g} s") from None
            raise Unreachable(type(fault).__name__) from None
        finally:
            watch.cancel()
            connection.close()

    def _address(self, target: Target) -> tuple[int, tuple[Any, ...]]:
        try:
            found = self._resolve(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as fault:
            raise Unreachable(f"the name was not found: {type(fault).__name__}") from None
        if not found:
            raise Unreachable("the name has no address")
        if not self._private and not all(is_public(str(one[4][0])) for one in found):
            raise Unreachable("an address of our own network")
        return found[0][0], found[0][4]


class _Pinned(http.client.HTTPSConnection):
    """A connection to an address that was chosen before; the certificate is checked against the name."""

    def __init__(
        self, target: Target, address: tuple[int, tuple[Any, ...]], context: ssl.SSLContext, seconds: float
    ) -> None:
        super().__init__(target.host, target.port, context=context, timeout=seconds)
        self._family, self._place = address
        self._trust = context
        self.aborted = False

    def connect(self) -> None:
        raw = socket.socket(self._family, socket.SOCK_STREAM)
        raw.settimeout(self.timeout)
        self.sock = raw
        raw.connect(self._place)
        # by hand: while `wrap_socket` shakes hands, nothing could be shut down
        self.sock = wrapped = self._trust.wrap_socket(raw, server_hostname=self.host, do_handshake_on_connect=False)
        if self.aborted:
            raise TimeoutError
        wrapped.do_handshake()

    def abort(self) -> None:
        """End whatever is being waited for; for another thread."""
        self.aborted = True
        sock = self.sock
        if sock is not None:
            with suppress(OSError):  # not connected yet: that has a deadline of its own; or not any more
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
