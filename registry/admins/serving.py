"""The admins' pages as the registry serves them: on a listener of their own, in a thread of their own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from registry.limits import DRAIN_SECONDS
from registry.log import logger
from registry.web import WebServer

_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class AdminPages:
    """Where they are. `url`: as browsers see it; `certificate`: the files of TLS, of certificate and key."""

    host: str
    port: int
    url: str
    certificate: tuple[Path, Path] | None = None


@contextmanager
def served(app: FastAPI, where: AdminPages) -> Iterator[int]:
    """Serve until the block ends, then let open requests end; the port. Raises OSError."""
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    with socket.create_server((where.host, where.port), family=family, backlog=_BACKLOG) as sock:
        server = WebServer(app, where.host, where.port, certificate=where.certificate)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, name="admins", daemon=True)
        thread.start()
        port: int = sock.getsockname()[1]
        logger.info("admin_pages_started", port=port, url=where.url)
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join(DRAIN_SECONDS + 1)
