"""The web server of the citizen page: uvicorn, bounded, silent about who asked for what, stopped without loss."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from registry.limits import CONNECTIONS_MAX, DRAIN_SECONDS, HEADER_BYTES_MAX, HEADER_SECONDS_MAX


class WebServer(uvicorn.Server):
    """`run(sockets)` serves until SIGTERM or SIGINT, then lets open requests end for DRAIN_SECONDS."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=_OneRequest,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            headers=[("connection", "close")],
            proxy_headers=True,
            forwarded_allow_ips="127.0.0.1,::1",  # who else writes X-Forwarded-For may be anybody
            limit_concurrency=CONNECTIONS_MAX,
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
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


class _OneRequest(H11Protocol):
    """A connection carries one request, whose headers are here in HEADER_SECONDS_MAX; its body has a deadline too.

    So nobody occupies a connection by saying nothing, which uvicorn by itself allows before the first request.
    """

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEADER_SECONDS_MAX, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def _late(self) -> None:
        if not self.cycle:
            self.transport.close()
