"""A company on its way in and out: it applies, proves its addresses by what our own doors carry, is approved, sends, is
suspended.
"""

from __future__ import annotations

import asyncio
import json
import re
import smtplib
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from filters.model import Kind, Outcome
from gateway.demo.house import House
from gateway.demo.messages import RECEIPTS_SENDER, Mail
from gateway.demo.sink import Sink
from gateway.demo.smsc import Smsc
from tests.conftest import RedisServer, eventually_async
from tests.registry.providers.support import APPLICATION, EMAIL, MOBILE, TCKN

pytestmark = pytest.mark.interop

SENDER = "duyuru@kampanya.firma.example.com.tr"
CONSENTED = "ayse.yilmaz@example.com.tr"
REGISTRY = """[registry]
onboarding = true
api = true
mail_relay = "127.0.0.1:2525"
mail_from = "basvuru@bilgi.example.com.tr"
smpp_relay = "127.0.0.1:2775"
smpp_account = "basvuru"
smpp_password_file = "keys/marka.pass"
smpp_sender = "BASVURU"
"""
ACCOUNT = """[[account]]
system_id = "basvuru"
password_file = "keys/marka.pass"
upstream_system_id = "izinli2"
upstream_password_file = "keys/smsc.pass"

[[stream]]
name = "basvuru"
match = { account = "basvuru" }
kind = "informational"
upstream = "smsc"

[[stream]]
name = "kampanya"
"""
STREAM = """
[[stream]]
name = "yeni"
match = { mail_from_domain = "kampanya.firma.example.com.tr" }
brand = %d
kind = "commercial"
upstream = "relay"
"""


@dataclass
class Town:
    """Both planes, a next hop for mail and one for SMS."""

    house: House
    sink: Sink
    smsc: Smsc

    async def ask(self, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """GET, or POST of JSON."""
        return await asyncio.to_thread(_ask, self.house.url("registry") + path, body)

    async def provider(self, *arguments: str) -> str:
        """What `izinli provider …` prints."""
        command = self.house.command("provider")
        whole = [*command[:4], arguments[0], *command[4:], *arguments[1:]]
        done = await asyncio.to_thread(subprocess.run, whole, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    async def send(self, sender: str, recipient: str) -> tuple[int, bytes]:
        """What the door says to a mail."""
        content = Mail(recipient, "yeni", Kind.COMMERCIAL, Outcome.PASS, sender=sender).content()
        return await asyncio.to_thread(_send, self.house.config.listeners[0].bind.port, sender, recipient, content)

    async def sms(self) -> str:
        texts: list[str] = []

        def look() -> bool:
            texts.extend(self.smsc.take_texts())
            return bool(texts)

        await eventually_async(look, within=60, what="the code at the SMSC")
        return texts[0]


def _ask(url: str, body: Any) -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "accept": "application/json"}
    try:
        with urlopen(Request(url, data, headers), timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def _send(port: int, sender: str, recipient: str, content: bytes) -> tuple[int, bytes]:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        try:
            client.sendmail(sender, recipient, content, mail_options=["BODY=8BITMIME"])
        except smtplib.SMTPRecipientsRefused as refused:
            return refused.recipients[recipient]
        except smtplib.SMTPResponseException as refused:
            return refused.smtp_code, bytes(refused.smtp_error)
        return 250, b""


@asynccontextmanager
async def town(directory: Path, index: tuple[str, str]) -> AsyncIterator[Town]:
    edits = [index, ("[registry] ", f"{REGISTRY}#"), ('[[stream]]\nname = "kampanya"\n', ACCOUNT)]
    house = House(directory, edits)
    login = {"izinli": "", "izinli2": ""}
    for account in house.config.accounts.values():
        login[account.upstream_system_id.decode()] = account.upstream_password.decode()
    ports = {name: house.config.upstreams[name].hosts[0].port for name in ("relay", "smsc")}
    async with Sink(ports["relay"]) as sink, Smsc(login, ports["smsc"]) as smsc:
        try:
            for plane in ("registry", "gateway"):
                house.start(plane)
            await asyncio.gather(house.ready("registry"), house.ready("gateway"))
            yield Town(house, sink, smsc)
        finally:
            await asyncio.to_thread(house.close)


async def verified(town: Town) -> str:
    """Apply, and give back what came by SMS and by mail."""
    status, told = await town.ask("/providers", APPLICATION)
    assert (status, told["status"], told["sent"]) == (201, "applied", {"mobile": "done", "email": "done"})
    code = re.search(r"onay kodunuz: (\d{6}) ", await town.sms())
    assert code is not None
    assert town.smsc.messages[-1].dest == MOBILE.removeprefix("+")
    mine = f"/providers/{told['id']}"
    assert (await town.ask(f"{mine}/code", {"code": "x"}))[1]["errors"][0]["code"] == "H1052"
    status, after = await town.ask(f"{mine}/code", {"code": code[1]})
    assert (status, after["confirmed"]) == (200, {"mobile": True, "email": False})
    await eventually_async(lambda: bool(town.sink.messages), within=60, what="the link at the next hop")
    assert town.sink.messages[0].rcpt_to == (EMAIL,)
    link = re.search(rb"http://\S+(/providers/confirm/[\w-]+)", town.sink.messages[0].content.replace(b"=\r\n", b""))
    assert link is not None
    page = await asyncio.to_thread(_page, town.house.url("registry") + link[1].decode(), None)
    assert "<button" in page
    assert (await town.ask(mine))[1]["status"] == "applied", "opening a link changes nothing"
    assert "onaylandı" in await asyncio.to_thread(_page, town.house.url("registry") + link[1].decode(), b"")
    assert (await town.ask(mine))[1]["status"] == "verified"
    return mine


def _page(url: str, body: bytes | None) -> str:
    with urlopen(Request(url, body), timeout=60) as answer:
        return str(answer.read().decode())


async def test_a_company_comes_in_sends_is_suspended_and_sends_again(tmp_path: Path, redis_server: RedisServer) -> None:
    async with town(tmp_path / "house", ('url = "sqlite"', f'url = "{redis_server.url}"')) as there:
        house = there.house
        mine = await verified(there)
        secret = tmp_path / "credentials"
        await there.provider("approve", "1", "--reason", "papers in order", "--credentials-file", str(secret))
        status, told = await there.ask(mine)
        assert (status, told["status"], told["iysCode"]) == (200, "approved", 900_000)
        assert secret.stat().st_mode & 0o777 == 0o600
        user, password = re.findall(r"= (\S+)", secret.read_text())
        login = {"username": user, "password": password, "grant_type": "password"}
        assert (await there.ask("/oauth2/token", login))[0] == 200

        consents = tmp_path / "consents.csv"
        header = "recipient,type,status,source,recipientType,consentDate\n"
        consents.write_text(f"{header}{CONSENTED},EPOSTA,ONAY,HS_WEB,BIREYSEL,2026-01-05 10:00:00\n")
        command = house.command("import", "--brand", "900000", str(consents))
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
        house.config.path.write_text(house.config.path.read_text() + STREAM % 900_000)
        await asyncio.to_thread(house.stop, "gateway")
        house.start("gateway")
        await house.ready("gateway")
        there.sink.messages.clear()
        assert (await there.send(SENDER, CONSENTED))[0] == 250
        assert b"Mersis: 0123456789000015" in there.sink.messages[0].content

        assert "in effect" in await there.provider("suspend", "1", "--reason", "complaints")
        code, text = await there.send(SENDER, CONSENTED)
        assert (code, text.split(b":")[0]) == (550, b"5.7.1 suspended")
        assert (await there.send(RECEIPTS_SENDER, CONSENTED))[0] == 250, "what is not commercial goes"
        await there.provider("resume", "1", "--reason", "settled")
        assert (await there.send(SENDER, CONSENTED))[0] == 250

        shown = json.loads(await there.provider("show", "1", "--json"))
        done = [(one["action"], one["reason"]) for one in shown["changes"]]
        assert done[-3:] == [("approve", "papers in order"), ("suspend", "complaints"), ("resume", "settled")]
        everything = "".join(path.read_text(errors="replace") for path in house.directory.glob("*.log"))
        assert TCKN not in everything + json.dumps(shown) + password
        assert MOBILE not in everything
        assert EMAIL not in everything
