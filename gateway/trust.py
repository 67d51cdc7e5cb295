"""Whom we trust when we connect to a next hop in TLS, and files of it that others renew.

A file that changed is read again by the next connection; one that cannot be used then is named in the log, and what was
read before stays in force: a certificate half copied must not stop the messages.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from gateway.config import Upstream
from gateway.log import logger

T = TypeVar("T")


class Renewed(Generic[T]):
    """What `read` makes of the file at `path`. `read` raises OSError or ValueError (ssl.SSLError is an OSError)."""

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self._path = path
        self._read = read
        self._mark: tuple[int, int, int] | None = None
        self._value: T | None = None

    def current(self) -> T:
        """Of the file as it is now. Raises what `read` raises when nothing was ever read."""
        try:
            status = self._path.stat()
            mark = (status.st_mtime_ns, status.st_size, status.st_ino)
            if mark == self._mark and self._value is not None:
                return self._value
            self._mark = mark
            self._value = self._read(self._path)
        except (OSError, ValueError) as error:
            if self._value is None:
                raise
            logger.warning(
                "file cannot be used, its former content stays in force", file=str(self._path), why=str(error)
            )
        return self._value


class Trust:
    """That of one `[upstream.…]`, where its `tls` is not "none"."""

    def __init__(self, upstream: Upstream) -> None:
        self._verifies = upstream.tls == "verify"
        self._name = upstream.tls_name
        self._ca = Renewed(upstream.ca_file, _trusting) if upstream.ca_file and self._verifies else None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """For one handshake. Raises OSError."""
        if self._ca is not None:
            return self._ca.current()
        if self._context is None:
            self._context = ssl.create_default_context() if self._verifies else _unverified()
        return self._context

    def name(self, host: str) -> str | None:
        """Whose certificate `host` has to show, and what it is asked for (SNI)."""
        return self._name or host or None


def _trusting(ca_file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_file))


def _unverified() -> ssl.SSLContext:
    """`tls = "encrypt"`: safe from listeners, not from whoever stands in between."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
