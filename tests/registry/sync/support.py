"""Two izinli: one is the national system, over real HTTP, the other keeps step with it; and a bad line between them."""

from __future__ import annotations

import atexit
import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from filters.model import Channel, RecipientType, Status
from filters.passwords import SALT_OCTETS, make
from registry.index.embedded import SqliteIndexWriter
from registry.ledger import Ledger
from registry.national.app import create_api
from registry.national.rates import Rates
from registry.national.rest import Manners
from registry.national.state import Api, Options
from registry.publish import Publisher
from registry.rules import Move
from registry.schema import LEDGER_FILE, consent_event
from registry.sync.brands import registering
from registry.sync.loop import Sync
from registry.sync.outbox import oldest_due
from registry.sync.settings import Login, National, SyncedBrand
from registry.web import WebServer
from tests.conftest import accepts, eventually, free_port
from tests.registry.national.support import Clock
from tests.registry.support import BRAND, BRANDS, KEY, fold, may_be_sent, number

USER = "api@firma.test"
PASSWORD = b"a password of these tests"
HASH = make(PASSWORD, bytes(SALT_OCTETS))
FREE = Rates(per_second=0, tokens_per_hour=0, status_per_hour=0, history_per_hour=0)
PUSHER = Login("pushuser", b"pushpass")
SYNCED = SyncedBrand(BRAND, BRAND, Login(USER, PASSWORD), PUSHER)
DAY = "2026-03-03 10:00:00"  # yesterday, in time
LATER = "2026-03-03 11:00:00"


@dataclass
class There:
    """The national system."""

    ledger: Ledger
    writer: SqliteIndexWriter
    publisher: Publisher
    api: Api
    port: int
    clock: Clock

    def holds(self, one: Move) -> Status | None:
        return fold(self.ledger, one)

    def record(self, *moves: Move, origin: str = "link") -> None:
        """What citizens (link) or somebody else (api) said there."""
        entries = [(self.ledger.fingerprint(one.brand, one.channel, one.recipient), one) for one in moves]
        self.ledger.record(entries, origin=origin, now=self.clock())
        self.publisher.tick()

    def events(self) -> list[str]:
        return events(self.ledger)


@dataclass
class Here:
    """Who keeps step."""

    ledger: Ledger
    writer: SqliteIndexWriter
    publisher: Publisher
    sync: Sync
    clock: Clock

    def say(self, *moves: Move, origin: str = "declare") -> None:
        """What is recorded here first."""
        entries = [(self.ledger.fingerprint(one.brand, one.channel, one.recipient), one) for one in moves]
        self.ledger.record(entries, origin=origin, now=self.clock())
        self.publisher.tick()

    def stands(self, one: Move) -> Status | None:
        return fold(self.ledger, one)

    def passes(self, one: Move) -> bool:
        self.publisher.tick()
        return may_be_sent(self.writer, self.ledger, one)

    def events(self) -> list[str]:
        return events(self.ledger)

    def settled(self, within: float = 60) -> None:
        """Send everything and hear what became of it."""

        def done() -> bool:
            self.sync.push(SYNCED)
            with self.ledger.engine.connect() as connection:
                return not oldest_due(connection, BRAND)

        eventually(done, within=within, what="the result of every upload", every=0.05)


def events(ledger: Ledger) -> list[str]:
    """In their order: who, what, origin."""
    columns = [consent_event.c[name] for name in ("recipient", "status", "origin")]
    with ledger.engine.connect() as connection:
        rows = connection.execute(consent_event.select().with_only_columns(*columns).order_by(consent_event.c.seq))
        return [f"{recipient[-3:]} {status} {origin}" for recipient, status, origin in rows]


@cache
def _empty() -> Path:
    """An empty ledger; to migrate one for each test takes longer than the tests."""
    directory = Path(tempfile.mkdtemp(prefix="izinli-empty-ledger-"))
    atexit.register(shutil.rmtree, directory)
    Ledger.open("sqlite", directory, KEY).close()
    return directory / LEDGER_FILE


@contextmanager
def open_ledger(url: str, directory: Path, **options: Any) -> Iterator[tuple[Ledger, SqliteIndexWriter, Publisher]]:
    directory.mkdir(parents=True, exist_ok=True)
    if url == "sqlite" and not (directory / LEDGER_FILE).exists():
        shutil.copyfile(_empty(), directory / LEDGER_FILE)
    ledger = Ledger.open(url, directory, KEY, **options)
    writer = SqliteIndexWriter(directory / "index.sqlite", ledger.fingerprint.check_value())
    publisher = Publisher(ledger, writer)
    publisher.ensure()
    try:
        yield ledger, writer, publisher
    finally:
        writer.close()
        ledger.close()


@contextmanager
def there(directory: Path, clock: Clock, *, rates: Rates = FREE, url: str = "sqlite") -> Iterator[There]:
    """A national system that tells moves without delay."""
    with open_ledger(url, directory) as (ledger, writer, publisher):
        options = Options(rates, clock=clock, manners=Manners(changes_delay=timedelta(0)))
        api = Api(ledger, publisher, BRANDS, KEY, options)
        api.access.add(USER, HASH, {BRAND: True}, clock())
        port = free_port()
        server = WebServer(create_api(api), "127.0.0.1", port)
        thread = threading.Thread(target=server.run, daemon=True)
        api.start()
        thread.start()
        eventually(lambda: accepts(port), within=30, what="the national system")
        try:
            yield There(ledger, writer, publisher, api, port, clock)
        finally:
            server.should_exit = True
            thread.join(30)
            api.close()


@contextmanager
def here(directory: Path, port: int, clock: Clock, *, url: str = "sqlite", **changed: Any) -> Iterator[Here]:
    national = National(f"http://127.0.0.1:{port}", (SYNCED,), result_s=0, per_second=0, timeout_s=20)
    national = replace(national, **changed)
    with open_ledger(url, directory, registering=registering(national)) as (ledger, writer, publisher):
        sync = Sync(national, ledger, publisher, KEY, clock)
        try:
            yield Here(ledger, writer, publisher, sync, clock)
        finally:
            sync.close()


@dataclass
class Line:
    """Passes requests on, or does what a test says: `rules(method, path)` gives an answer (status, body), "cut" (taken,
    and the answer is lost), "drop" (not even taken), or None."""

    port: int
    upstream: int
    rules: Callable[[str, str], Any] = lambda method, path: None
    asked: list[tuple[str, str]] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)

    def count(self, part: str) -> int:
        return sum(part in path for _, path in self.asked)


def error(code: str, **more: Any) -> dict[str, Any]:
    return {"errors": [{"code": code, "message": "", **more}]}


@contextmanager
def line(upstream: int) -> Iterator[Line]:
    made = Line(0, upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: object) -> None:
            """Silent."""

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            made.asked.append((self.command, self.path))
            wanted = made.rules(self.command, self.path)
            if wanted == "drop":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return None
            if isinstance(wanted, tuple):
                return self._answer(wanted[0], json.dumps(wanted[1]).encode())
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host",)}
            with httpx.Client(trust_env=False, timeout=60) as client:
                url = f"http://127.0.0.1:{made.upstream}{self.path}"
                answer = client.request(self.command, url, content=body, headers=headers)
            made.answered.append(answer.status_code)
            if wanted == "cut":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return None
            return self._answer(answer.status_code, answer.content)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _any

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def mail(index: int, status: Status, date: str = DAY, source: str = "HS_WEB") -> Move:
    return Move(BRAND, Channel.EPOSTA, b"kisi%d@example.test" % index, RecipientType.BIREYSEL, status, source, date)


def row(
    index: int, status: str, date: str, *, transaction: str, source: str = "IYS_WEB", **more: Any
) -> dict[str, Any]:
    """As the national system pushes a move."""
    return {
        "iysCode": BRAND,
        "brandCode": BRAND,
        "consentDate": date,
        "creationDate": date,
        "source": source,
        "recipient": number(index).decode(),
        "recipientType": "BIREYSEL",
        "status": status,
        "type": "MESAJ",
        "transactionId": transaction,
        **more,
    }
