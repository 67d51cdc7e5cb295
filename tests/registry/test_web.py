"""Connections: one request of a citizen each, many of the API's callers, and all of it bounded."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from filters.link import LinkMinter
from registry import web
from registry.citizen import create_app
from registry.index.embedded import SqliteIndexWriter
from registry.ledger import Ledger
from registry.limits import HEADER_BYTES_MAX
from registry.national.app import beside, create_api
from registry.national.state import Api, Options
from registry.publish import Publisher
from registry.web import WebServer
from tests.registry.national.support import BRANDS, CLIENT, FREE, HASH, IYS, PASSWORD
from tests.registry.support import KEY, LINK_KEY, NOW
from tests.waiting import eventually

LOGIN = {"username": CLIENT, "password": PASSWORD, "grant_type": "password"}
PATH = f"/sps/{IYS}/brands"


@pytest.fixture
def port(sqlite_ledger: Ledger, tmp_path: Any) -> Iterator[int]:
    """A registry's page and API in a thread."""
    writer = SqliteIndexWriter(tmp_path / "index.sqlite", sqlite_ledger.fingerprint.check_value())
    publisher = Publisher(sqlite_ledger, writer)
    publisher.ensure()
    api = Api(sqlite_ledger, publisher, BRANDS, KEY, Options(FREE))
    api.access.add(CLIENT, HASH, {IYS: True}, NOW)
    page = create_app(sqlite_ledger, publisher, LinkMinter({0: LINK_KEY}, 0), BRANDS)
    sock = socket.create_server(("127.0.0.1", 0))
    server = WebServer(beside(page, create_api(api)), "127.0.0.1", 0)
    thread = threading.Thread(target=lambda: server.run(sockets=[sock]))
    thread.start()
    eventually(lambda: server.started, within=90, what="the server's start")
    yield sock.getsockname()[1]
    server.should_exit = True
    thread.join(30)
    api.close()
    writer.close()


@pytest.fixture
def client(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    yield connection
    connection.close()


def ask(client: http.client.HTTPConnection, method: str, path: str, token: str = "") -> tuple[int, str]:
    """(status, what the answer says of the connection)."""
    client.request(method, path, headers={"authorization": f"Bearer {token}"} if token else {})
    answer = client.getresponse()
    answer.read()
    return answer.status, answer.getheader("connection", "")


def token_of(port: int) -> str:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    client.request("POST", "/oauth2/token", json.dumps(LOGIN), {"content-type": "application/json"})
    said: dict[str, str] = json.loads(client.getresponse().read())
    client.close()
    return said["access_token"]


def test_a_connection_carries_many_requests_of_a_known_caller(port: int, client: http.client.HTTPConnection) -> None:
    token = token_of(port)
    client.connect()
    sock = client.sock
    for _ in range(20):
        assert ask(client, "GET", PATH, token) == (200, "")
    assert client.sock is sock, "it was not kept"


@pytest.mark.parametrize("path", ["/livez", "/r/forged", "/nowhere", "/docs", "/openapi.json", PATH, "/oauth2/token"])
def test_i7_of_anybody_else_it_carries_one(client: http.client.HTTPConnection, path: str) -> None:
    method = "POST" if path.endswith("token") else "GET"
    assert ask(client, method, path)[1] == "close"


def raw(port: int, *pieces: bytes) -> bytes:
    """What comes back until the connection is closed; each piece is sent when there is an answer to those before."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        found = b""
        for number, piece in enumerate(pieces):
            while found.count(b"}]") < number:  # the end of a list of brands
                found += sock.recv(65536)
            sock.sendall(piece)
        while data := sock.recv(65536):
            found += data
        return found


def request(token: str, end: bytes = b"\r\n") -> bytes:
    return f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n".encode() + end


def test_i7_a_kept_connection_that_says_nothing_is_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    token = token_of(port)
    monkeypatch.setattr(web, "HEADER_SECONDS_MAX", 0.2)
    assert raw(port, request(token), b"\r\n").startswith(b"HTTP/1.1 200 ")  # an odd line end is the start of a request


def test_i7_headers_of_a_further_request_have_a_deadline_too(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    token = token_of(port)
    monkeypatch.setattr(web, "HEADER_SECONDS_MAX", 0.2)
    found = raw(port, request(token), request(token, b"X-Slow: "))
    assert found.count(b"HTTP/1.1 200 ") == 1


@pytest.mark.parametrize("after", [0, 1], ids=["first", "further"])
@pytest.mark.parametrize("whole", [True, False])
def test_i7_headers_are_bounded_in_every_request(port: int, after: int, whole: bool) -> None:
    token = token_of(port)
    long = request(token, b"X-Long: " + b"a" * (HEADER_BYTES_MAX + 1) + (b"\r\n\r\n" if whole else b""))
    found = raw(port, *[request(token)] * after, long)
    assert found.count(b"HTTP/1.1 200 ") == after
    assert found.count(b"HTTP/1.1 400 ") == 1


def test_i7_so_many_connections_are_kept_and_no_more(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "KEPT_CONNECTIONS_MAX", 2)
    token = token_of(port)
    clients = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(3)]
    assert [ask(client, "GET", PATH, token) for client in clients] == [(200, ""), (200, ""), (200, "close")]
    clients[0].close()
    eventually(lambda: ask(clients[2], "GET", PATH, token) == (200, ""), within=90, what="room for another one")
    for client in clients:
        client.close()


def test_pipelined_requests_are_answered_in_their_order(port: int) -> None:
    token = token_of(port)
    found = raw(port, request(token) * 3 + request("x"))
    assert [found.count(b"HTTP/1.1 %d " % status) for status in (200, 401)] == [3, 1]
    assert found.rindex(b"HTTP/1.1 200 ") < found.index(b"HTTP/1.1 401 ")
