"""TLS of our own side: certificates that may change under way, and one connection's cryptography without sockets.

TLS 1.2 or newer (RFC 8996), with the ciphers Python chooses. Renewed certificates are noticed by their files' state, so
nothing has to be told; a pair that cannot be used leaves the old one in place.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from gateway import limits
from gateway.log import logger

_READ_OCTETS: Final = 256 * limits.KIB
_State = tuple[tuple[int, int, int, int], ...]


def server_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """What one pair of PEM files gives. Raises OSError (ssl.SSLError is one): missing, no match, encrypted, not PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(cert_file, key_file, password="")  # an encrypted key is a fault, not a question
    return context


class Certificates:
    """A pair of files, and the context that new connections use. The constructor raises what `server_context` does."""

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._files = (cert_file, key_file)
        self._state = self._look()
        self._look_at = 0.0
        self.context = server_context(cert_file, key_file)

    def refresh(self, now: float) -> bool:
        """Take a changed pair, now and then; `now` in seconds of any steady clock. False: it cannot be used.

        Two files cannot change in one moment: a half-changed pair is refused like any other that does not fit, and
        looked at again when the other half comes.
        """
        if now < self._look_at:
            return True
        self._look_at = now + limits.TLS_RELOAD_S
        state = self._look()
        if state == self._state:
            return True
        self._state = state
        try:
            self.context = server_context(*self._files)
        except OSError as error:
            logger.error("certificate cannot be used, the old one stays", file=str(self._files[0]), why=str(error))
            return False
        logger.info("certificate reloaded", file=str(self._files[0]))
        return True

    def _look(self) -> _State:
        return tuple(_state_of(path) for path in self._files)


class Layer:
    """The server's side of one TLS connection: cipher text in and out, plain text out and in."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl_object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        self.ended = False  # the peer said close_notify: nothing more comes

    def receive(self, data: bytes) -> bytes:
        """Plain text that `data` brings. Raises ssl.SSLError: the connection is of no use, and `output` says why."""
        self._incoming.write(data)
        if not self.established:
            try:
                self.ssl_object.do_handshake()
            except ssl.SSLWantReadError:
                return b""
            self.established = True
        chunks = []
        try:
            while chunk := self.ssl_object.read(_READ_OCTETS):
                chunks.append(chunk)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def send(self, plain: bytes | bytearray | memoryview) -> None:
        """Encrypt; the result is in `output`. Only once established."""
        self.ssl_object.write(plain)

    def close(self) -> None:
        """Say close_notify (RFC 8446 §6.1)."""
        if not self.established:
            return
        try:
            self.ssl_object.unwrap()
        except ssl.SSLError:
            return  # said; the peer's own is not waited for

    def output(self) -> bytes:
        """Cipher text to send."""
        return self._outgoing.read()


def _state_of(path: Path) -> tuple[int, int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0, 0)
    return (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
