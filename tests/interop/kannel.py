"""Kannel as the ESME: its bearerbox bound at izinli, its smsbox for whoever sends by HTTP.

application ──HTTP──▶ smsbox ──▶ bearerbox ──SMPP──▶ izinli;  delivery reports and messages of citizens come back so
"""

from __future__ import annotations

import asyncio
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.conftest import accepts, eventually, free_port, require
from tests.gateway.smpp.support import LOGIN

CONFIGURATION = """\
group = core
admin-port = {admin}
admin-password = test
smsbox-port = {box}
box-allow-ip = "127.0.0.1"
sms-resend-freq = 1
sms-resend-retry = 20

group = smsc
smsc = smpp
smsc-id = izinli
host = 127.0.0.1
port = {port}
smsc-username = {name}
smsc-password = {password}
system-type = ""
interface-version = 34
transceiver-mode = true
enquire-link-interval = 1
reconnect-delay = 1
{options}

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {http}
mo-recode = true

group = sendsms-user
username = test
password = test
max-messages = 10
concatenation = true

group = sms-service
keyword = default
get-url = "http://127.0.0.1:{told}/mo?from=%p&to=%P&text=%a"
max-messages = 0
"""
DELIVERED, FAILED, QUEUED, ACCEPTED, REFUSED = 1, 2, 4, 8, 16
"""What a delivery report says (Kannel's user guide, “Delivery reports”)."""


class Kannel:
    """Both boxes. `told`: the paths that they asked for of the application, queries parsed, in their order."""

    def __init__(self, log: Path, http: int, admin: int, told_port: int) -> None:
        self.told: list[tuple[str, dict[str, str]]] = []
        self._log = log
        self._http = http
        self._admin = admin
        self._told_port = told_port

    def send(self, text: str, to: str, sender: str = "ORNEK", **fields: str) -> str:
        """What the smsbox says to an application that sends one; a report comes of everything (`reports`)."""
        report = f"http://127.0.0.1:{self._told_port}/report?to={to.lstrip('+')}&type=%d&says=%A"
        query = {"username": "test", "password": "test", "from": sender, "to": to, "text": text, "charset": "UTF-8"}
        query |= {"dlr-mask": "31", "dlr-url": report} | fields
        url = f"http://127.0.0.1:{self._http}/cgi-bin/sendsms?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            said = answer.read().decode()
        assert isinstance(said, str)
        return said

    def reports(self, to: str) -> list[int]:
        """The types of the delivery reports about a message to this number."""
        return [int(query["type"]) for path, query in self.told if path == "/report" and query["to"] == to]

    def messages(self) -> list[dict[str, str]]:
        """Of citizens."""
        return [query for path, query in self.told if path == "/mo"]

    def log(self) -> str:
        """The bearerbox's."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def status(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}/status.txt?password=test", timeout=60) as answer:
            said = answer.read().decode()
        assert isinstance(said, str)
        return said

    async def application(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers every GET with nothing to say."""
        request = await reader.readuntil(b"\r\n\r\n")
        url = urllib.parse.urlsplit(request.split(b" ", 2)[1].decode("latin-1"))
        self.told.append((url.path, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


@asynccontextmanager
async def kannel(directory: Path, port: int, options: str = "") -> AsyncIterator[Kannel]:
    """Bound at `port`; `options` are lines of its smsc group."""
    bearerbox, smsbox = require("bearerbox"), require("smsbox")
    admin, box, http, told = (free_port() for _ in range(4))
    one = Kannel(directory / "bearerbox.log", http, admin, told)
    file = directory / "kannel.conf"
    name, password = LOGIN
    file.write_text(
        CONFIGURATION.format(
            admin=admin, box=box, http=http, told=told, port=port, name=name, password=password, options=options
        )
    )
    server = await asyncio.start_server(one.application, "127.0.0.1", told)
    boxes: list[subprocess.Popen[bytes]] = []

    def start(program: str, listens: int) -> None:
        with (directory / f"{Path(program).name}.log").open("wb") as log:
            boxes.append(subprocess.Popen([program, str(file)], stdout=log, stderr=log, cwd=directory))
        eventually(lambda: accepts(listens), within=60, what=program, every=0.05)

    def stop() -> None:
        for each in reversed(boxes):
            each.terminate()
        for each in reversed(boxes):
            try:
                each.wait(30)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()

    def bound() -> None:
        eventually(lambda: "izinli[izinli]" in one.status() and "(online" in one.status(), within=60, every=0.05)

    try:
        await asyncio.to_thread(start, bearerbox, box)
        await asyncio.to_thread(start, smsbox, http)
        await asyncio.to_thread(bound)
        yield one
    finally:
        await asyncio.to_thread(stop)
        server.close()
