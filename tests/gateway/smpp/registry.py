"""A real registry for the gateway to hand rejections to: its web server in a thread, its ledger and index as files."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import text

from filters.link import LinkMinter
from filters.model import Status
from registry.citizen import create_app
from registry.ledger import Ledger
from registry.publish import Publisher, open_index
from registry.web import WebServer
from tests.conftest import eventually, free_port
from tests.registry.support import BRANDS, KEY, LINK_KEY

SECRET = bytes(range(32))


class Registry:
    """Can be stopped and started again on its port."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ledger = Ledger.open("sqlite", directory, KEY)
        self.writer = open_index("sqlite", directory, self.ledger.fingerprint.check_value())
        self.publisher = Publisher(self.ledger, self.writer)
        self.publisher.ensure()
        self._server: WebServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        app = create_app(self.ledger, self.publisher, LinkMinter({0: LINK_KEY}, 0), BRANDS, internal_secret=SECRET)
        sock = socket.create_server(("127.0.0.1", self.port))
        server = self._server = WebServer(app, "127.0.0.1", self.port)
        self._thread = threading.Thread(target=lambda: server.run(sockets=[sock]), daemon=True)
        self._thread.start()
        eventually(lambda: server.started, within=90, what="the registry")

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(30)
            assert not self._thread.is_alive()
            self._server = self._thread = None

    def rejected(self) -> list[tuple[int, str]]:
        """(brand, number) of the rejections in the log, each once for both recipient types."""
        query = (
            "SELECT brand, recipient, count(*) FROM consent_event WHERE status = :ret AND source = 'HS_MESAJ' "
            "GROUP BY brand, recipient ORDER BY min(seq)"
        )
        with self.ledger._engine.connect() as connection:
            rows = connection.execute(text(query), {"ret": Status.RET}).all()
        assert all(count == 2 for _, _, count in rows)
        return [(brand, recipient) for brand, recipient, _ in rows]


@contextmanager
def serving(directory: Path) -> Iterator[Registry]:
    """A registry that answers."""
    registry = Registry(directory)
    with closing(registry.ledger), closing(registry.writer):
        registry.start()
        try:
            yield registry
        finally:
            registry.stop()
