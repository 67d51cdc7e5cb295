"""Somebody who is told of moves: a real HTTPS server that keeps what it hears and answers as it is told to."""

from __future__ import annotations

import json
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.certificates import make_authority

TEST_RECIPIENT = "pushtest@iys.org.tr"


@dataclass
class Receiver:
    """`status` is the answer of all that follow; while `slow` is set the answer comes octet by octet, for ever."""

    port: int
    trust: ssl.SSLContext
    heard: list[tuple[str, str, list[dict[str, Any]]]] = field(default_factory=list)  # (path, credentials, moves)
    status: int = 200
    slow: bool = False
    location: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/hook"

    @property
    def moves(self) -> list[dict[str, Any]]:
        """All that it took, without test records."""
        return [move for _, _, moves in self.heard for move in moves if move["recipient"] != TEST_RECIPIENT]

    def reset(self) -> None:
        self.heard.clear()
        self.status, self.slow, self.location = 200, False, ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that does not trust us hangs up: that is what some tests are about."""


@contextmanager
def receiving(directory: Path) -> Iterator[Receiver]:
    authority = make_authority(directory)
    certificate, key = authority.issue("localhost")
    there = Receiver(0, ssl.create_default_context(cafile=authority.ca_file))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if there.slow:
                self._drip()
                return
            said = b64decode(self.headers["authorization"].removeprefix("Basic ")).decode()
            if there.status == 200:
                there.heard.append((self.path, said, json.loads(body)["list"]))
            self.send_response(there.status)
            if there.location:
                self.send_header("location", there.location)
            self.send_header("content-length", "0")
            self.end_headers()

        def _drip(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nx-long: ")
            while not there.released.wait(0.05):
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = _Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    there.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield there
    finally:
        there.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
