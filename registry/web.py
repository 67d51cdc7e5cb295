"""The web server of the citizen page and the API: uvicorn, bounded, silent about who asked what, stopped without loss.

A connection is kept for another request only if the application does not say `connection: close`; it does to
everybody who has not proved who they are.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from registry.limits import (
    CONNECTIONS_MAX,
    DRAIN_SECONDS,
    HEADER_BYTES_MAX,
    HEADER_SECONDS_MAX,
    KEPT_CONNECTIONS_MAX,
    KEPT_SECONDS_MAX,
)


class WebServer(uvicorn.Server):
    """`run(sockets)` serves until SIGTERM or SIGINT, then lets open requests end for DRAIN_SECONDS."""

    def __init__(self, app: Any, host: str, port: int, *, certificate: tuple[Path, Path] | None = None) -> None:
        """`certificate`: the files of TLS, of certificate and key; None: none."""
        cert_file, key_file = (None, None) if certificate is None else certificate
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=partial(_Bounded, set()),  # type: ignore[arg-type]
            ws="none",
            ssl_certfile=cert_file,
            ssl_keyfile=key_file,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips="127.0.0.1,::1",  # who else writes X-Forwarded-For may be anybody
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=int(KEPT_SECONDS_MAX),
            timeout_graceful_shutdown=int(DRAIN_SECONDS),
        )
        super().__init__(config)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal that was obeyed is not raised again: the caller has things to close."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


class HeadersTooLong(Exception):
    """A request line and headers above HEADER_BYTES_MAX."""


class _Bounded(HttpToolsProtocol):
    """The headers of a request are short and here HEADER_SECONDS_MAX after the connection, or after their first octet.

    So nobody occupies a connection by saying nothing, or little by little, which uvicorn by itself allows; bodies have
    a deadline of their own (`registry.forms`). Of connections that wait for another request there are few enough to
    leave room for citizens.
    """

    def __init__(self, kept: set[HttpToolsProtocol], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._kept = kept
        self._deadline: asyncio.TimerHandle | None = None
        self._in_headers = False
        self._octets = 0  # read while in them, in pieces that hold nothing else
        self._others = False  # whether this piece does
        self._size = 0  # of those that are whole

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._kept.discard(self)
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._expect_headers()
        self._others = False
        super().data_received(data)
        if self._in_headers and not self._others:
            self._octets += len(data)
            if self._octets > HEADER_BYTES_MAX and not self.transport.is_closing():
                self.send_400_response("Too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True
        self._octets = self._size = 0

    def on_url(self, url: bytes) -> None:
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._measure(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._in_headers = False
        self._others = True
        super().on_headers_complete()
        if self not in self._kept and len(self._kept) >= KEPT_CONNECTIONS_MAX:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._others = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._kept.add(self)

    def _measure(self, octets: int) -> None:
        self._size += octets
        if self._size > HEADER_BYTES_MAX:
            raise HeadersTooLong

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS_MAX, self._late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        self.transport.close()
